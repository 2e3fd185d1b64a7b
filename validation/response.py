"""Measure comparisons of two scans against the bars: ``python -m validation.response``.

Simulated patients are scanned once and then again after known courses of their disease: other breath, other
place on the table, other noise, in some other slices. Every follow-up is measured in a process of its own and
its figures are kept, so that a run that was stopped goes on where it was. Three parts:

``pairs``      whole chests, detection and completeness included
``rescan``     many small pairs on which nothing changed: coverage and width of the interval
``impossible`` what must be refused

The lungs slide along nothing here; registration against a chest wall that stands still is measured by
``python -m validation.registration``.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from validation.cases import ROOT, cache_folder

PIXEL_MM = 0.8
SHAPE = (300, 416, 416)
N_NODULES = 1200


@dataclass(frozen=True)
class Pair:
    """One follow-up of one patient."""

    name: str
    row: str
    patient: int
    course: Mapping[str, Any] = field(default_factory=dict)
    slice_mm: float = 1.0
    repeat: int = 0


def _pairs() -> tuple[Pair, ...]:
    courses: dict[str, dict[str, Any]] = {
        "zero": {"kept_share": 0.0, "lesion_factor": 0.5},
        "five": {"kept_share": 0.05, "lesion_factor": 0.6},
        "third": {"kept_share": 0.3, "lesion_factor": 0.7},
        "shrunk": {"kept_share": 0.6, "volume_factor": 0.5, "lesion_factor": 0.8},
        "same": {},
        "grown": {"volume_factor": 1.5, "lesion_factor": 1.2},
        "more": {"n_new": 600, "lesion_factor": 1.1},
    }
    a, b = 901_001, 901_002
    found = [
        Pair(f"{n}-{p % 10}", "same protocol", p, courses[n])
        for p, names in (
            (a, ("zero", "five", "third", "shrunk", "same", "grown")),
            (b, ("third", "same", "more")),
        )
        for n in names
    ]
    found += [
        Pair(f"thick-{n}-{p % 10}", "1.0 against 2.5 mm", p, courses[n], slice_mm=2.5, repeat=1)
        for p, names in ((a, ("zero", "five", "third", "same", "grown")), (b, ("third", "same", "more")))
        for n in names
    ]
    found += [
        Pair(f"breath-{percent}-{p % 10}-{k}", "inspiration", p, {"inspiration": percent / 100}, repeat=k)
        for p, k in ((a, 2), (b, 3), (b, 4), (a, 5))
        for percent in (85, 70)
    ]
    return tuple(found)


PAIRS = _pairs()


def _protocol(slice_mm: float) -> Any:
    from miliary.image.simulate import ScanProtocol

    n = round(SHAPE[0] / slice_mm)
    return ScanProtocol((n, *SHAPE[1:]), (slice_mm, PIXEL_MM, PIXEL_MM), slice_thickness_mm=slice_mm)


def _load_patient(seed: int) -> dict[str, Any]:
    """A patient with the measured baseline; made once, kept in the cache."""
    from miliary.followup import make_exam
    from miliary.image.simulate import DominantLesion, NodulePopulation
    from miliary.image.simulate.scan_pair import draw_patient, scan_patient
    from miliary.pipeline import find_nodules

    path = cache_folder() / f"response-patient-{seed}.pkl"
    if path.exists():
        return dict(pickle.loads(path.read_bytes()))  # noqa: S301  written below
    protocol = _protocol(1.0)
    population = NodulePopulation(N_NODULES, (1.2, 3.2))
    patient = draw_patient(protocol, seed=seed, population=population, lesion=DominantLesion())
    scan = scan_patient(patient, protocol)
    start = time.perf_counter()
    exam = make_exam("baseline", scan.scan, find_nodules(scan.scan))
    made = {"patient": patient, "exam": exam, "truth": scan.truth, "seconds": time.perf_counter() - start}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(made, protocol=5))
    return made


def measure_pair(pair: Pair) -> dict[str, Any]:
    """Figures of one pair."""
    from miliary.followup import compare_scans, make_exam
    from miliary.image.simulate import Course
    from miliary.image.simulate.scan_pair import follow_patient
    from miliary.pipeline import find_nodules

    made = _load_patient(pair.patient)
    scan, origin, motion = follow_patient(
        made["patient"], _protocol(pair.slice_mm), course=Course(**pair.course), repeat=pair.repeat
    )
    start, before = time.perf_counter(), time.process_time()
    exam = make_exam("followup", scan.scan, find_nodules(scan.scan))
    found = compare_scans(made["exam"], exam, days_between=91)
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - before}
    truth, later = made["truth"], scan.truth
    least = found.min_diameter_mm
    ratio, count = found.total.volume_ratio, found.total.count_ratio
    return {
        "name": pair.name,
        "row": pair.row,
        "verdict": found.comparability.verdict.value,
        "reasons": list(found.comparability.reasons),
        "volume_ratio": ratio.value,
        "ci95": [ratio.low, ratio.high],
        "count_ratio": count.value,
        "category": found.category.value,
        "true_ratio": _total(later, 0.0) / _total(truth, 0.0),
        "true_ratio_at_least": _total(later, least) / _total(truth, least),
        "true_count_ratio": _number(later, found.count_diameter_mm) / _number(truth, found.count_diameter_mm),
        "min_diameter_mm": least,
        "count_diameter_mm": found.count_diameter_mm,
        "tre_mm": _tre(found.transform, motion, later),
        "agreement": found.registration["agreement"],
        **_score_matches(found, made["truth"], later, origin),
        "lesion_mm": [found.lesion.baseline_mm, found.lesion.followup_mm],
        "true_lesion_mm": [_lesion(truth), _lesion(later)],
        "n_opacities": len(found.opacities),
        "seconds": seconds,
        "stages": {s.name: round(s.seconds, 2) for s in found.stages},
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _rows(truth: Mapping[str, Any], least_mm: float) -> Any:
    return (truth["kind"] == "nodule") & (truth["diameter_mm"] >= least_mm)


def _total(truth: Mapping[str, Any], least_mm: float) -> float:
    return float(np.sum(truth["volume_mm3"][_rows(truth, least_mm)]))


def _number(truth: Mapping[str, Any], least_mm: float) -> int:
    return int(_rows(truth, least_mm).sum())


def _points(truth: Mapping[str, Any]) -> Any:
    return np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=1).astype(np.float64)


def _lesion(truth: Mapping[str, Any]) -> float | None:
    sizes = truth["diameter_mm"][truth["kind"] == "lesion"]
    return float(sizes[0]) if len(sizes) else None


def _tre(transform: Any, motion: Any, later: Mapping[str, Any]) -> float | None:
    """Mean error at the true places of nodules that are there on both scans [mm]."""
    points = _points(later)[later["kind"] == "nodule"]
    if not len(points):
        return None
    return float(np.linalg.norm(transform.apply(motion.apply(points)) - points, axis=1).mean())


def _score_matches(
    found: Any, truth: Mapping[str, Any], later: Mapping[str, Any], origin: Any
) -> dict[str, Any]:
    """Precision of the pairs given, and recall among nodules that were reported on both scans."""
    first, second = _truth_of(found.baseline, truth), _truth_of(found.followup, later)
    tracks = found.tracks
    pairs = (tracks["baseline_id"] > 0) & (tracks["followup_id"] > 0)
    n_right = 0
    for i, j in zip(tracks["baseline_id"][pairs], tracks["followup_id"][pairs], strict=True):
        one, other = first.get(int(i), -1), second.get(int(j), -1)
        n_right += one >= 0 and other >= 0 and int(origin[other]) == one + 1
    seen_before = {row + 1 for row in first.values() if row >= 0}
    possible = {int(origin[row]) for row in second.values() if row >= 0} & seen_before
    return {"n_pairs": int(pairs.sum()), "n_right": n_right, "n_possible": len(possible)}


def _truth_of(exam: Any, truth: Mapping[str, Any]) -> dict[int, int]:
    from miliary.image.pair.match import match_points

    reach = np.maximum(1.5, truth["diameter_mm"] / 2)
    row = match_points(exam.nodules.position_lps_mm, _points(truth), reach_mm=reach)
    return dict(zip((int(i) for i in exam.nodules["id"]), (int(r) for r in row), strict=True))


# --- nothing changed, many small pairs -------------------------------------------------------------------


def measure_rescans(seed: int, n_pairs: int) -> list[dict[str, Any]]:
    """Small pairs of one patient, both scans fresh: only noise and a shift of less than a voxel differ.

    A block of lung of about 1.2 L with 1,000 nodules and more. The registration is the true one.
    """
    from miliary import followup
    from miliary.image.simulate import Course, NodulePopulation, ScanProtocol
    from miliary.image.simulate.scan_pair import draw_patient, follow_patient
    from miliary.model.ct_result import Lungs
    from miliary.pipeline import find_nodules

    protocol = ScanProtocol((160, 168, 168), (1.0, PIXEL_MM, PIXEL_MM), center_lps_mm=(-75.0, 10.0, 130.0))
    population = NodulePopulation(1300, (1.2, 3.2))
    patient = draw_patient(protocol, seed=seed, population=population)
    rng = np.random.default_rng(seed)
    results = []
    for number in range(n_pairs):
        exams, motions, truths = [], [], []
        for half in range(2):
            shift = tuple(float(v) for v in rng.uniform(-0.5, 0.5, 3))
            scan, _, motion = follow_patient(
                patient, protocol, course=Course(shift_lps_mm=shift), repeat=2 * number + half + 1
            )
            lungs = Lungs(scan.lung_labels, scan.scan.grid.voxel_volume_mm3)
            exams.append(followup.make_exam(str(half), scan.scan, find_nodules(scan.scan, lung_mask=lungs)))
            motions.append(motion)
            truths.append(scan.truth)
        found = _compare_known(exams, motions)
        ratio = found.total.volume_ratio
        least = found.min_diameter_mm
        results.append(
            {
                "name": f"{seed}-{number}",
                "row": "rescan",
                "volume_ratio": ratio.value,
                "ci95": [ratio.low, ratio.high],
                "n_reported": [len(e.nodules) for e in exams],
                "true_ratio": _total(truths[1], least) / _total(truths[0], least),
                "verdict": found.comparability.verdict.value,
                "is_corrected": found.is_corrected,
            }
        )
        print(json.dumps(results[-1]), flush=True)
    return results


def _compare_known(exams: Sequence[Any], motions: Sequence[Any]) -> Any:
    """Compare with the true map: each scan's motion leads to the chest as drawn."""
    from miliary import followup
    from miliary.image.pair.register import Registration
    from miliary.model.scan import Grid
    from miliary.model.transform import Transform

    first, second = motions
    low, high = np.array([-170.0, -140.0, 20.0]), np.array([40.0, 160.0, 240.0])
    n = np.ceil((high - low) / 10.0).astype(int) + 1
    grid = Grid((int(n[2]), int(n[1]), int(n[0])), (10.0,) * 3, tuple(float(v) for v in low))
    nodes = grid.lps_from_index(np.moveaxis(np.indices(grid.shape_zyx), 0, -1).reshape(-1, 3).astype(float))
    there = second.invert_points(first.apply(nodes))
    field_mm = np.nan_to_num(there - nodes).reshape(*grid.shape_zyx, 3).astype(np.float32)
    transform = Transform(np.eye(3), np.zeros(3), grid, field_mm)
    known = Registration(transform, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1000, 0.0)
    original = followup.register_lungs
    followup.register_lungs = lambda *_, **__: known
    try:
        return followup.compare_scans(exams[0], exams[1])
    finally:
        followup.register_lungs = original


# --- running and reporting --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m validation.response", description=__doc__)
    parser.add_argument(
        "part", nargs="?", default="all", choices=("all", "pairs", "rescan", "impossible", "show")
    )
    parser.add_argument("--only", default="", help="pairs whose name holds this")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return _work(options.worker)
    if options.part in ("all", "pairs"):
        for pair in PAIRS:
            if options.only in pair.name:
                _run(f"pair:{pair.name}")
    if options.part in ("all", "rescan"):
        for seed in range(901_101, 901_109):
            _run(f"rescan:{seed}")
    if options.part in ("all", "impossible"):
        _run("impossible:all")
    print(render(read_figures()))
    return 0


def _place(job: str) -> Path:
    return cache_folder() / "response" / f"{job.replace(':', '-')}.json"


def _run(job: str) -> None:
    """One job in a process of its own, unless its figures are there."""
    path = _place(job)
    if path.exists():
        return
    start = time.perf_counter()
    words = [sys.executable, "-m", "validation.response", "--worker", job]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    state = "done" if path.exists() else f"FAILED: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    print(f"{job}: {time.perf_counter() - start:.0f} s {state}", flush=True)


def _work(job: str) -> int:
    kind, _, name = job.partition(":")
    if kind == "pair":
        figures: Any = measure_pair(next(pair for pair in PAIRS if pair.name == name))
    elif kind == "rescan":
        figures = measure_rescans(int(name), 7)
    else:
        from validation.impossible import measure_impossible

        figures = measure_impossible()
    path = _place(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(figures, indent=1) + "\n")
    draft.replace(path)
    return 0


def read_figures() -> dict[str, list[dict[str, Any]]]:
    """Figures of all jobs that are done, by part."""
    found: dict[str, list[dict[str, Any]]] = {"pair": [], "rescan": [], "impossible": []}
    for path in sorted((cache_folder() / "response").glob("*.json")):
        content = json.loads(path.read_text())
        found[path.name.partition("-")[0]] += content if isinstance(content, list) else [content]
    return found


def render(figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Rows of measured figures as text."""
    lines = []
    for row in ("same protocol", "1.0 against 2.5 mm", "inspiration"):
        mine = [f for f in figures["pair"] if f["row"] == row]
        lines += [f"{row}: {len(mine)} pairs", *map(_line, mine)]
        if mine:
            lines.append(_summary(mine))
    rescans = figures["rescan"]
    if rescans:
        inside = [f["ci95"][0] <= f["true_ratio"] <= f["ci95"][1] for f in rescans]
        width = [(f["ci95"][1] - f["ci95"][0]) / 2 / f["volume_ratio"] for f in rescans]
        off = [f["volume_ratio"] for f in rescans]
        lines.append(
            f"rescan: {len(rescans)} pairs, interval holds the truth in {np.mean(inside):.1%}, half-width "
            f"median {np.median(width):.3f}, largest {max(width):.3f}; "
            f"ratio {np.mean(off):.3f} +- {np.std(off):.3f}"
        )
    lines += [
        f"impossible: {f['name']}: {'refused' if f['is_refused'] else 'TAKEN'}: {f['message']}"
        for f in figures["impossible"]
    ]
    return "\n".join(lines)


def _line(f: Mapping[str, Any]) -> str:
    ratio = "none"
    if f["volume_ratio"] is not None:
        ratio = f"{f['volume_ratio']:.3f} ({f['ci95'][0]:.3f}-{f['ci95'][1]:.3f})"
    count = "none" if f["count_ratio"] is None else f"{f['count_ratio']:.3f}"
    tre = "-" if f["tre_mm"] is None else f"{f['tre_mm']:.2f}"
    return (
        f"  {f['name']:<16} {f['verdict']:<28} {ratio} true {f['true_ratio']:.3f} "
        f"({f['true_ratio_at_least']:.3f} from {f['min_diameter_mm']:.2f} mm); "
        f"count {count} true {f['true_count_ratio']:.3f}; "
        f"right/given/possible {f['n_right']}/{f['n_pairs']}/{f['n_possible']}; TRE {tre}; "
        f"lesion {f['lesion_mm']} true {f['true_lesion_mm']}; {f['category']}; "
        f"{f['seconds']['cpu']:.0f} s cpu, {f['peak_gb']:.1f} GB"
    )


def find_ratio_error(f: Mapping[str, Any]) -> float:
    """Error as part of what is allowed: 1.0 is 0.05 or 10 % on like scans, 0.10 or 20 % on unlike ones."""
    if f["volume_ratio"] is None:
        return float("inf")
    share = 2.0 if f["row"].startswith("1.0 against") else 1.0
    allowed = share * max(0.05, 0.1 * f["true_ratio"])
    return abs(f["volume_ratio"] - f["true_ratio"]) / allowed


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    errors = [find_ratio_error(f) for f in rows]
    worst = rows[int(np.argmax(errors))]
    matched = [f for f in rows if f["n_possible"] >= 20]
    precision = [f["n_right"] / max(f["n_pairs"], 1) for f in matched]
    recall = [f["n_right"] / f["n_possible"] for f in matched]
    refused = sum(f["volume_ratio"] is None for f in rows)
    lesions = [
        abs((f["lesion_mm"][1] - f["lesion_mm"][0]) - (f["true_lesion_mm"][1] - f["true_lesion_mm"][0]))
        if None not in (*f["lesion_mm"], *f["true_lesion_mm"])
        else float("nan")
        for f in rows
    ]
    return (
        f"  -> error over bar: median {np.median(errors):.2f}, worst {max(errors):.2f} ({worst['name']}); "
        f"refused {refused}; precision {_middle(precision)}, recall {_middle(recall)}; "
        f"lesion change error {_middle([v for v in lesions if np.isfinite(v)], is_error=True)}"
    )


def _middle(values: Sequence[float], *, is_error: bool = False) -> str:
    if not values:
        return "not measured"
    return f"median {np.median(values):.3f} (worst {(max if is_error else min)(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())
