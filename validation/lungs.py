"""Lungs of real chests: against masks that were looked at, and of crops against the crop of the mask.

Run from the repository root::

    python -m validation.lungs masks             Dice with the masks in validation/masks
    python -m validation.lungs crops             every crop of every scan; goes on where it was stopped
    python -m validation.lungs crops --scan NAME --only round,one
    python -m validation.lungs keep NAME         keep the mask that is found now, once it was looked at

The masks are kept at 4 mm. Each is that of the program, looked at on slices 10 mm apart and from the front;
``NOTES`` says what was seen. None was redrawn by hand: they tell a change, not how far the program is from a
second reader. A crop is what a narrow field of view, a partial
scan, a rotation or a resampling makes of a scan: its truth is the same part of the whole scan's mask.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.errors import MiliaryError
from miliary.exchange.ct_read import read_ct
from miliary.image.anatomy.segmentation import find_lungs
from miliary.model.scan import Grid, Scan
from validation.cases import cache_folder, data_folder

Labels = npt.NDArray[np.uint8]
Part = tuple[Scan, Labels]

MASKS = Path(__file__).parent / "masks"
MASK_MM, BAR_MASK, BAR_CROP, SLIVER_ML = 4.0, 0.97, 0.98, 6.0
NOTES = {
    "cmb-crc-msb-01068": "right on every slice; the table is out, the tips of both domes are out",
    "cptac-c3n-00247": "right on every slice; the blurred tip of the left dome is left out",
    "lidc-idri-0003": "right; slices 26 and 38: the blurred domes are cut out less smoothly than by hand",
    "lidc-idri-0314": "right; the consolidated right upper lobe is left out and said to be opaque",
    "lung-pet-ct-dx-a0001": "right; the mass of the left upper lobe is left out and said to be opaque",
    "lidc-idri-0001": "right on every slice (validation: looked at, not tuned on)",
    "lungfcp-01-0001": "right on every slice (validation: looked at, not tuned on)",
}


def read_whole(name: str) -> Scan:
    """One of the real scans."""
    return read_ct(data_folder() / name / "dicom.zip")


def measure_dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Overlap of two masks; 1 where both are empty."""
    total = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2.0 * int(np.count_nonzero(one & other)) / total if total else 1.0


def sample_mask(labels: Labels, grid: Grid) -> Labels:
    """The voxels of a mask about 4 mm apart."""
    steps = tuple(slice(None, None, max(1, round(MASK_MM / s))) for s in grid.spacing_zyx_mm)
    return labels[steps]


def list_crops(scan: Scan, labels: Labels) -> Iterator[tuple[str, Part]]:
    """Every crop with its name and its true mask."""
    yield from _crop_boxes(scan, labels)
    yield from _crop_rounds(scan, labels)
    yield from _turn(scan, labels)
    for scale in (0.55, 0.38, 0.3):
        spacing = tuple(scale * s for s in scan.grid.spacing_zyx_mm)
        yield f"scaled {scale}", (Scan(scan.voxels_hu, Grid(labels.shape, spacing)), labels)  # type: ignore[arg-type]
    mirrored = labels[:, :, ::-1]
    yield (
        "flipped",
        _part(scan, scan.voxels_hu[:, :, ::-1], np.where(mirrored > 0, 3 - mirrored, 0).astype(np.uint8)),
    )


def _part(scan: Scan, voxels: npt.NDArray[Any], labels: Labels) -> Part:
    grid = Grid(labels.shape, scan.grid.spacing_zyx_mm)  # type: ignore[arg-type]
    return Scan(np.ascontiguousarray(voxels), grid), labels


def _find_box(labels: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    box = ndimage.find_objects(labels.astype(np.uint8))[0]
    return [(s.start, s.stop) for s in box]


def _crop_boxes(scan: Scan, labels: Labels) -> Iterator[tuple[str, Part]]:
    """Apices, bases, the middle; square fields round both lungs, one lung and one half."""
    (z0, z1), (y0, y1), (x0, x1) = _find_box(labels > 0)
    sy, sx = scan.grid.spacing_zyx_mm[1:]
    height = z1 - z0

    def cut(z: slice, y: slice, x: slice) -> Part:
        return _part(scan, scan.voxels_hu[z, y, x], labels[z, y, x])

    whole = slice(None)
    for share in (0.25, 0.1):
        yield f"apices {share:.0%}", cut(slice(z1 - int(share * height), None), whole, whole)
        yield f"bases {share:.0%}", cut(slice(0, z0 + int(share * height)), whole, whole)
    yield "middle 30%", cut(slice(z0 + int(0.35 * height), z0 + int(0.65 * height)), whole, whole)
    for mm in (8, 3, 0, -5, -15):
        p, q = round(mm / sy), round(mm / sx)
        yield f"square {mm} mm", cut(whole, slice(max(0, y0 - p), y1 + p), slice(max(0, x0 - q), x1 + q))
    for label, side in ((1, "right"), (2, "left")):
        _, (b0, b1), (a0, a1) = _find_box(labels == label)
        for mm in (10, 0, -8):
            p, q = round(mm / sy), round(mm / sx)
            yield (
                f"one {side} {mm} mm",
                cut(whole, slice(max(0, b0 - p), b1 + p), slice(max(0, a0 - q), a1 + q)),
            )
        middle = (x0 + x1) // 2
        yield f"half {side}", cut(whole, whole, slice(None, middle) if label == 1 else slice(middle, None))


def _crop_rounds(scan: Scan, labels: Labels) -> Iterator[tuple[str, Part]]:
    """Round fields: round both lungs with three kinds of padding, and within one lung."""
    _, sy, sx = scan.grid.spacing_zyx_mm
    y, x = np.mgrid[: labels.shape[1], : labels.shape[2]]

    def cut(center: tuple[float, float], radius: float, fill: int) -> Part:
        outside = np.hypot((y - center[0]) * sy, (x - center[1]) * sx) > radius
        voxels, own = scan.voxels_hu.copy(), labels.copy()
        voxels[:, outside], own[:, outside] = fill, 0
        rows, columns = (np.flatnonzero((~outside).any(axis=axis)) for axis in (1, 0))
        view = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return _part(scan, voxels[view], own[view])

    _, rows, columns = _find_box(labels > 0)
    center = (sum(rows) / 2.0, sum(columns) / 2.0)
    shown = (labels > 0).any(axis=0)
    reach = float(np.hypot((y - center[0]) * sy, (x - center[1]) * sx)[shown].max())
    for mm in (8, 3, 0, -8, -20):
        yield f"round {mm} mm", cut(center, reach + mm, -1024)
    for mm in (3, -8):
        yield f"round {mm} mm, fill 0", cut(center, reach + mm, 0)
    for label, side in ((1, "right"), (2, "left")):
        _, rows, columns = _find_box(labels == label)
        for radius in (80, 60):
            yield f"within {side} {radius} mm", cut((sum(rows) / 2, sum(columns) / 2), radius, -1024)


def _turn(scan: Scan, labels: Labels) -> Iterator[tuple[str, Part]]:
    """Rotated in plane with two kinds of fill."""
    for angle in (7, 20):
        for fill in (0, -1024):
            turn: dict[str, Any] = {"axes": (1, 2), "reshape": False, "prefilter": False}
            voxels = ndimage.rotate(scan.voxels_hu, angle, order=1, cval=fill, **turn)
            yield (
                f"turned {angle}, fill {fill}",
                _part(scan, voxels, ndimage.rotate(labels, angle, order=0, **turn)),
            )


def measure_part(part: Part) -> dict[str, Any]:
    """What is found in a crop, against its truth."""
    scan, truth = part
    unit_ml = scan.grid.voxel_volume_mm3 / 1000.0
    row: dict[str, Any] = {"truth_ml": [round(np.count_nonzero(truth == k) * unit_ml) for k in (1, 2)]}
    try:
        found, warnings = find_lungs(scan)
    except MiliaryError as error:
        return {**row, "refused": str(error)}
    own = found.labels
    row["found_ml"] = [round(np.count_nonzero(own == k) * unit_ml) for k in (1, 2)]
    row["dice"] = [round(measure_dice(own == k, truth == k), 4) for k in (1, 2)]
    row["dice_both"] = round(measure_dice(own > 0, truth > 0), 4)
    return {**row, "warnings": [warning.code for warning in warnings]}


def run_crops(names: list[str], only: list[str]) -> None:
    """Measure what is not measured yet, and show every crop below the bar."""
    results = cache_folder() / "lungs.json"
    done = json.loads(results.read_text()) if results.is_file() else {}
    for name in names:
        scan = read_whole(name)
        whole = find_lungs(scan)[0].labels
        rows = done.setdefault(name, {})
        for kind, part in list_crops(scan, whole):
            if kind in rows or (only and not any(word in kind for word in only)):
                continue
            rows[kind] = measure_part(part)
            results.parent.mkdir(parents=True, exist_ok=True)
            results.write_text(json.dumps(done, indent=1))
        met = [row for row in rows.values() if row.get("dice_both", 0.0) >= BAR_CROP]
        refused = sum("refused" in row for row in rows.values())
        print(f"{name}: {len(met)} of {len(rows)} at {BAR_CROP} and more, {refused} refused")
        for kind, row in rows.items():
            if row.get("dice_both", 0.0) < BAR_CROP:
                print(f"  {kind}: {row}")


def run_masks(names: list[str]) -> None:
    """Dice with the masks that were looked at."""
    for name in names:
        scan = read_whole(name)
        own = sample_mask(find_lungs(scan)[0].labels, scan.grid)
        kept = read_mask(name)
        dice = [measure_dice(own == label, kept == label) for label in (1, 2)]
        word = "met" if min(dice) >= BAR_MASK else "missed"
        print(f"{name}: right {dice[0]:.4f}, left {dice[1]:.4f} ({word}); {NOTES[name]}")


def read_mask(name: str) -> Labels:
    """A mask as it was kept."""
    with np.load(MASKS / f"{name}.npz") as stored:
        shape = tuple(stored["shape"])
        count = int(np.prod(shape))
        right, left = (np.unpackbits(stored[side], count=count).reshape(shape) for side in ("right", "left"))
    return (right + 2 * left).astype(np.uint8)


def keep_mask(name: str) -> None:
    """Keep what is found now; look at it first."""
    scan = read_whole(name)
    own = sample_mask(find_lungs(scan)[0].labels, scan.grid)
    MASKS.mkdir(exist_ok=True)
    np.savez_compressed(
        MASKS / f"{name}.npz", shape=own.shape, right=np.packbits(own == 1), left=np.packbits(own == 2)
    )


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    crops = commands.add_parser("crops")
    crops.add_argument("--scan", choices=NOTES)
    crops.add_argument("--only", default="")
    commands.add_parser("masks")
    commands.add_parser("keep").add_argument("name", choices=NOTES)
    given = parser.parse_args()
    if given.command == "crops":
        run_crops([given.scan] if given.scan else list(NOTES), [w for w in given.only.split(",") if w])
    elif given.command == "masks":
        run_masks(list(NOTES))
    else:
        keep_mask(given.name)


if __name__ == "__main__":
    main()
