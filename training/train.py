"""Train the classifier, the first step of `make train` (`training.make_all`).

``python -m training.train --out FOLDER/classifier.npz`` trains one by itself, as for validation with a
patient left out; `MILIARY_WEIGHTS` names it to the program.

Tables of candidates are made once per recipe and kept in a work folder; boosted trees are fitted on all of
them. Calibration and operating point come from models that never saw the anatomy they judge (folds by
anatomy; each patient is one). ``--without PATIENT`` leaves a patient out altogether.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from miliary.image.anatomy import regions, segmentation
from miliary.image.anatomy.lung_box import crop_to_lungs
from miliary.image.nodules import features, find, judge, operating_point
from miliary.image.quality.blur import estimate_psf
from miliary.image.quality.noise import estimate_noise
from training.scans import Recipe, TrainingScan, find_data, list_recipes, make_scan

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

WORK_FOLDER = Path.home() / ".cache" / "miliary-training"
THRESHOLD = 0.32
HIT_MM = 1.0
MAX_NEGATIVES = 45_000
FIT_NEGATIVES = 18_000
REAL_SHARE = 0.5
N_FOLDS = 3
N_INSERTED = 3
REFERENCE_PRIOR = 0.02
# Share of nodules that the screen may lose.
SCREEN_LOSS = 0.004
# Share of the nodules that would be reported, in a scan full of them, that the shipped floor may lose. The
# judge is fitted on what passes the looser floor above: what lies between is not reported anyway.
REPORTED_LOSS = 0.002
SCREEN_ROUNDS = 80
# Raw score of what the screen drops.
DROPPED = -30.0
PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "num_leaves": 63,
    "learning_rate": 0.06,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.35,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
}


@dataclass(frozen=True)
class Table:
    """Candidates of one scan: features, label (1 nodule, 0 not), weight, position [mm] and the truth."""

    recipe: Recipe
    features: F32
    quick: F32
    label: F32
    weight: F32
    position_mm: F64
    truth_mm: F64
    truth_diameter_mm: F64
    lung_litres: float


def make_table(scan: TrainingScan, recipe: Recipe) -> Table:
    """Find the candidates of a scan, measure their features and label them by the truth."""
    mask, _ = segmentation.find_lungs(scan.scan)
    noise, psf = estimate_noise(scan.scan, mask), estimate_psf(scan.scan)
    box = crop_to_lungs(scan.scan, mask)
    spacing = np.asarray(box.spacing_zyx_mm)
    smooth = find.smooth_finest(box)
    candidates = find.find_candidates(box, smooth)
    quick = features.measure_quick_features(smooth, candidates, box)
    depth = regions.measure_depth(box.labels, box.spacing_zyx_mm, candidates.index_zyx)
    table = features.measure_features(smooth, candidates, box, depth_mm=depth, noise=noise, psf=psf)
    position = candidates.index_zyx * spacing
    start = np.asarray(box.start_zyx)
    truth = (scan.scan.grid.index_from_lps(scan.position_lps_mm) - start) * spacing
    ignore = (scan.scan.grid.index_from_lps(scan.ignore_lps_mm) - start) * spacing
    label, used = _label(position, truth, scan.diameter_mm, ignore, scan.ignore_mm)
    rng = np.random.default_rng(recipe.seed)
    negative = np.flatnonzero(used & (label == 0))
    keep_negative = negative
    if len(negative) > MAX_NEGATIVES:
        keep_negative = np.sort(rng.choice(negative, MAX_NEGATIVES, replace=False))
    rows = np.sort(np.concatenate([np.flatnonzero(used & (label == 1)), keep_negative]))
    weight = np.where(label == 1, 1.0, len(negative) / max(1, len(keep_negative)))[rows]
    litres = float((mask.labels > 0).sum()) * mask.voxel_volume_mm3 / 1e6
    return Table(
        recipe,
        table[rows],
        quick[rows],
        label[rows].astype(np.float32),
        weight.astype(np.float32),
        position[rows],
        truth,
        scan.diameter_mm,
        litres,
    )


def _label(
    position: F64, truth: F64, diameter: F64, ignore: F64, ignore_mm: F64
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Label of each candidate, and whether it is used: second marks of a nodule and lesions are not."""
    label = np.zeros(len(position), dtype=np.int64)
    used = np.ones(len(position), dtype=bool)
    if len(ignore):
        for center, radius in zip(ignore, ignore_mm, strict=True):
            used &= ((position - center) ** 2).sum(axis=1) > radius**2
    if len(truth):
        distance, nearest = cKDTree(truth).query(position)
        near = distance <= np.maximum(HIT_MM, 0.5 * diameter[nearest])
        used &= ~near
        order = np.argsort(distance, kind="stable")
        order = order[near[order]]
        _, firsts = np.unique(nearest[order], return_index=True)
        best = order[firsts]
        label[best], used[best] = 1, True
        used &= ~((label == 1) & (diameter[nearest] < 0.9))
    return label, used


def load_tables(recipes: Sequence[Recipe], work: Path, data: Path | None) -> list[Table]:
    """Tables of all recipes, made where the work folder does not hold them yet."""
    work.mkdir(parents=True, exist_ok=True)
    out = []
    for recipe in recipes:
        path = work / f"{recipe.name}.npz"
        if not path.is_file():
            start = time.perf_counter()
            table = make_table(make_scan(recipe, data), recipe)
            np.savez(
                path,
                **{k: getattr(table, k) for k in Table.__dataclass_fields__ if k != "recipe"},
            )
            print(
                f"{recipe.name}: {int(table.label.sum())} nodules of {len(table.truth_mm)}, "
                f"{len(table.label)} candidates, {time.perf_counter() - start:.0f} s",
                flush=True,
            )
        with np.load(path) as arrays:
            values = {k: arrays[k] for k in Table.__dataclass_fields__ if k != "recipe"}
        out.append(Table(recipe=recipe, **{**values, "lung_litres": float(values["lung_litres"])}))
    return out


def fit_trees(
    tables: Sequence[Table], screen: tuple[lightgbm.Booster, float], *, seed: int, rounds: int
) -> lightgbm.Booster:
    """Boosted trees on what passes the screen; simulated and real scans weigh as much in total."""
    real = np.array([t.recipe.patient is not None for t in tables])
    scale = np.ones(len(tables))
    if real.any() and not real.all():
        scale[real] = REAL_SHARE / (1 - REAL_SHARE) * (~real).sum() / real.sum()
    kept = [_pass_screen(t, screen) for t in tables]
    weight = np.concatenate([t.weight[rows] * s for t, rows, s in zip(tables, kept, scale, strict=True)])
    dataset = lightgbm.Dataset(
        np.concatenate([t.features[rows] for t, rows in zip(tables, kept, strict=True)]),
        np.concatenate([t.label[rows] for t, rows in zip(tables, kept, strict=True)]),
        weight=weight / weight.mean(),
        free_raw_data=True,
    )
    return lightgbm.train({**PARAMETERS, "seed": seed}, dataset, rounds)


def _pass_screen(table: Table, screen: tuple[lightgbm.Booster, float]) -> npt.NDArray[np.int64]:
    model, floor = screen
    return np.flatnonzero(np.asarray(model.predict(table.quick, raw_score=True)) >= floor)


def fit_screen(tables: Sequence[Table], *, seed: int) -> tuple[lightgbm.Booster, float]:
    """Small trees on the quick features, and the floor that keeps all but `SCREEN_LOSS` of the nodules."""
    rng = np.random.default_rng(seed)
    kept = [_thin(t, rng) for t in tables]
    quick = np.concatenate([t.quick[rows] for t, rows in zip(tables, kept, strict=True)])
    label = np.concatenate([t.label[rows] for t, rows in zip(tables, kept, strict=True)])
    parameters = {
        **PARAMETERS,
        "seed": seed,
        "num_leaves": 15,
        "learning_rate": 0.15,
        "feature_fraction": 1.0,
    }
    model = lightgbm.train(parameters, lightgbm.Dataset(quick, label), SCREEN_ROUNDS)
    raw = np.asarray(model.predict(quick, raw_score=True))
    floor = float(np.quantile(raw[label == 1], SCREEN_LOSS))
    print(f"screen: {np.mean(raw[label == 0] >= floor):.3f} of the rest kept")
    return model, floor


def find_reported_floor(
    tables: Sequence[Table],
    score: Callable[[Table], tuple[F64, F64]],
    calibration: dict[str, float],
    threshold: float,
) -> float:
    """Stricter floor of the screen: all but `REPORTED_LOSS` of the nodules that are reported pass it.

    `score` gives the raw scores of screen and judge for all rows of a table.
    """
    share = logit(judge.PRIOR_LIMITS[1]) - logit(calibration["prior"])
    # No scan's threshold is lowered below the end of the tail (`operating_point`).
    lowest = min(logit(threshold) - share, operating_point.TAIL[1])
    least = (lowest - calibration["offset"]) / calibration["slope"]
    scores = []
    for table in tables:
        screen, raw = score(table)
        scores.append(screen[(table.label == 1) & (raw >= least)])
    return float(np.quantile(np.concatenate(scores), REPORTED_LOSS))


def _thin(table: Table, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows of all nodules and of some of the rest."""
    negative = np.flatnonzero(table.label == 0)
    share = min(1.0, FIT_NEGATIVES / max(1, len(negative)))
    kept = negative[rng.random(len(negative)) < share]
    return np.sort(np.concatenate([np.flatnonzero(table.label == 1), kept]))


def split_folds(tables: Sequence[Table]) -> list[list[int]]:
    """Indices of the tables of each fold; an anatomy is in one fold only, patients are spread."""
    groups = sorted({t.recipe.group for t in tables}, key=lambda g: (g.startswith("simulated"), g))
    fold = {group: k % N_FOLDS for k, group in enumerate(groups)}
    return [[i for i, t in enumerate(tables) if fold[t.recipe.group] == k] for k in range(N_FOLDS)]


def fit_calibration(raws: Sequence[F64], tables: Sequence[Table]) -> tuple[float, float]:
    """Slope and offset that make raw scores log-odds at `REFERENCE_PRIOR`, each scan at its own share."""
    shares = [np.clip((t.label * t.weight).sum() / t.weight.sum(), 1e-5, 0.5) for t in tables]
    shift = np.concatenate(
        [np.full(len(r), logit(s) - logit(REFERENCE_PRIOR)) for r, s in zip(raws, shares, strict=True)]
    )
    raw = np.concatenate(raws)
    passed = raw > DROPPED
    label = np.concatenate([t.label for t in tables])
    weight = np.concatenate([t.weight for t in tables])
    raw, shift, label, weight = raw[passed], shift[passed], label[passed], weight[passed]

    def loss(p: F64) -> float:
        z = p[0] * raw + p[1] + shift
        return float((weight * (np.logaddexp(0, z) - label * z)).sum() / weight.sum())

    best = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(best.x[0]), float(best.x[1])


def score_table(table: Table, score: F64, threshold: float) -> dict[str, Any]:
    """Sensitivity by diameter, false marks per litre and precision of one scan at a threshold."""
    # Negatives were sampled when the table was made; here each stands for as many as it was drawn from.
    whole = np.repeat(score, np.maximum(1, np.round(table.weight)).astype(int))
    _, share = judge.estimate_probability(whole, REFERENCE_PRIOR)
    probability = expit(score + logit(share) - logit(REFERENCE_PRIOR))
    rows = judge.select_reported(table.position_mm, probability, threshold)
    out: dict[str, Any] = {"name": table.recipe.name, "share": share, "marks": len(rows)}
    false = table.weight[rows][table.label[rows] == 0].sum()
    if len(table.truth_mm) and len(rows):
        distance, _ = cKDTree(table.position_mm[rows]).query(table.truth_mm)
        hit = distance <= np.maximum(1.5, 0.5 * table.truth_diameter_mm)
        for low, high in ((1.0, 1.5), (1.5, 2.0), (2.0, 3.0)):
            bin_ = (table.truth_diameter_mm >= low) & (table.truth_diameter_mm < high)
            if bin_.any():
                out[f"sens_{low}"] = float(hit[bin_].mean())
    out["false_per_litre"] = float(false) / table.lung_litres
    return out


def flatten(model: lightgbm.Booster) -> dict[str, npt.NDArray[Any]]:
    """All trees as flat arrays, see `miliary.image.nodules.judge.Trees`."""
    feature: list[int] = []
    split: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []

    def add(node: dict[str, Any]) -> int:
        here = len(feature)
        feature.append(node.get("split_feature", 0))
        split.append(node.get("threshold", 0.0))
        value.append(node.get("leaf_value", 0.0))
        left.append(-1)
        right.append(-1)
        if "left_child" in node:
            left[here] = add(node["left_child"])
            right[here] = add(node["right_child"])
        return here

    roots = [add(tree["tree_structure"]) for tree in model.dump_model()["tree_info"]]
    limits = np.asarray(split)
    # The comparison is made in float32: the largest float32 not above the threshold decides the same.
    single = limits.astype(np.float32)
    single = np.where(single > limits, np.nextafter(single, np.float32(-np.inf)), single)
    return {
        "feature": np.asarray(feature, dtype=np.int16),
        "split": single.astype(np.float32),
        "left": np.asarray(left, dtype=np.int32),
        "right": np.asarray(right, dtype=np.int32),
        "value": np.asarray(value, dtype=np.float32),
        "roots": np.asarray(roots, dtype=np.int32),
    }


def write_weights(
    screen: lightgbm.Booster, second: lightgbm.Booster, path: Path, card: dict[str, Any]
) -> None:
    """The trees as npz and their card as JSON beside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{name}_{field}": values
        for name, model in (("screen", screen), ("judge", second))
        for field, values in flatten(model).items()
    }
    np.savez_compressed(path, **arrays)
    card = {**card, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


def change_threshold(out: Path, *, threshold: float, work: Path) -> None:
    """Write the classifier in use with another threshold and the floor of the screen that follows from it.

    Parameters
    ----------
    out : Path
        The npz to write; its JSON goes beside it.
    threshold : float
        Probability from which a candidate is reported.
    work : Path
        Folder of the tables of candidates; those that are missing are made.

    Raises
    ------
    SystemExit
        Scans that the trees were trained on are missing.
    """
    in_use = json.loads(judge.WEIGHTS_PATH.with_suffix(".json").read_text("utf-8"))
    data = find_data()
    recipes = list_recipes(
        n_simulated=in_use["n_simulated"], n_inserted=in_use.get("n_inserted", N_INSERTED), data=data
    )
    recipes = [recipe for recipe in recipes if recipe.patient in (None, *in_use["patients"])]
    missing = sorted(set(in_use["patients"]) - {recipe.patient for recipe in recipes})
    if missing:
        raise SystemExit(f"scans that the trees were trained on are missing: {', '.join(missing)}")
    tables = load_tables(recipes, work, data)
    classifier = judge.read_classifier()
    floor = find_reported_floor(
        tables,
        lambda t: (classifier.screen.sum_leaves(t.quick), classifier.judge.sum_leaves(t.features)),
        in_use["calibration"],
        threshold,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(judge.WEIGHTS_PATH, out)
    content = {**in_use, "threshold": threshold, "screen_floor": floor}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make tables, fit, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")
    parser.add_argument("--work", type=Path, default=WORK_FOLDER)
    parser.add_argument("--simulated", type=int, default=40)
    parser.add_argument("--inserted", type=int, default=N_INSERTED)
    parser.add_argument("--without", default=None, help="patient left out")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--folds", type=int, default=N_FOLDS, help="folds that calibration is made on")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tables-only", action="store_true")
    parser.add_argument("--no-folds", action="store_true", help="take the calibration of the packaged card")
    args = parser.parse_args(arguments)
    data = find_data()
    recipes = [
        r
        for r in list_recipes(n_simulated=args.simulated, n_inserted=args.inserted, data=data)
        if r.patient is None or r.patient != args.without
    ]
    tables = load_tables(recipes, args.work, data)
    if args.tables_only:
        return
    if args.no_folds:
        calibration = json.loads(judge.WEIGHTS_PATH.with_suffix(".json").read_text())["calibration"]
        report = []
    else:
        calibration, report = cross_fit(tables, args)
    screen = fit_screen(tables, seed=args.seed)
    model = fit_trees(tables, screen, seed=args.seed, rounds=args.rounds)
    floor = find_reported_floor(
        tables,
        lambda t: (
            np.asarray(screen[0].predict(t.quick, raw_score=True)),
            np.asarray(model.predict(t.features, raw_score=True)),
        ),
        calibration,
        args.threshold,
    )
    card = {
        "features": list(features.FEATURE_NAMES),
        "quick_features": list(features.QUICK_NAMES),
        "screen_floor": floor,
        "screen_floor_of_training": screen[1],
        "calibration": calibration,
        "threshold": args.threshold,
        "seed": args.seed,
        "rounds": args.rounds,
        "parameters": PARAMETERS,
        "patients": sorted({t.recipe.patient for t in tables if t.recipe.patient}),
        "n_simulated": args.simulated,
        "n_inserted": args.inserted,
        "n_candidates": int(sum(len(t.label) for t in tables)),
        "n_nodules": int(sum(t.label.sum() for t in tables)),
        # Marks and sensitivities of the report are at this threshold.
        "unseen_anatomy_threshold": args.threshold,
        "unseen_anatomy": report,
    }
    write_weights(screen[0], model, args.out, card)
    print(f"written: {args.out.name}")


def cross_fit(tables: list[Table], args: argparse.Namespace) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Calibration and figures from models that never saw the anatomy they judge."""
    raws: list[F64] = []
    judged: list[Table] = []
    for fold in split_folds(tables)[: args.folds]:
        rest = [t for i, t in enumerate(tables) if i not in fold]
        screen = fit_screen(rest, seed=args.seed)
        model = fit_trees(rest, screen, seed=args.seed, rounds=args.rounds)
        for table in (tables[i] for i in fold):
            raw = np.full(len(table.label), DROPPED)
            rows = _pass_screen(table, screen)
            raw[rows] = np.asarray(model.predict(table.features[rows], raw_score=True))
            raws.append(raw)
            judged.append(table)
    slope, offset = fit_calibration(raws, judged)
    calibration = {"slope": slope, "offset": offset, "prior": REFERENCE_PRIOR}
    print(f"calibration: slope {slope:.3f}, offset {offset:.3f}")
    report = []
    for raw, table in zip(raws, judged, strict=True):
        row = score_table(table, slope * raw + offset, args.threshold)
        report.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
        print(report[-1], flush=True)
    np.savez(args.work / "unseen.npz", **{t.recipe.name: r for t, r in zip(judged, raws, strict=True)})
    return calibration, report


if __name__ == "__main__":
    main()
