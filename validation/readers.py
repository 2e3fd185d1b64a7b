"""Readers' marks against the program's: ``python -m validation.readers real-0003 --out FOLDER``.

Four readers marked nodules below 3 mm by a point and outlined larger ones (LIDC). Points of different readers
within 3 mm are one nodule. Every mark of the program that no reader made is drawn and named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from miliary.model.ct_result import CtResult
from miliary.model.scan import Scan
from validation.cases import REAL, data_folder, read_real
from validation.marks import render_points, render_sheet

FloatArray = npt.NDArray[np.float64]
NAMESPACE = "{http://www.nih.gov}"
SAME_MM, FOUND_MM, PEAK_MM = 3.0, 3.0, 1.5


@dataclass(frozen=True)
class ReaderMark:
    """What one reader marked.

    Parameters
    ----------
    reader : int
    position_lps_mm : ndarray, shape (3,)
        The point, or the middle of the outlines.
    extent_mm : float or None
        Longest axial extent of the outlines; None of a point, a nodule below 3 mm.
    """

    reader: int
    position_lps_mm: FloatArray
    extent_mm: float | None


@dataclass(frozen=True)
class AgreedNodule:
    """Marks of several readers on one nodule; `position_lps_mm` is their middle."""

    readers: frozenset[int]
    position_lps_mm: FloatArray
    extent_mm: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, draw and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.readers", description=__doc__)
    parser.add_argument("scan", choices=["real-0003", "real-0001"], help="0001 is never tuned on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets and of marks.json")
    options = parser.parse_args(arguments)
    from miliary.pipeline import find_nodules

    case = next(case for case in REAL if case.name == options.scan)
    scan = read_real(case)
    (source,) = (data_folder() / str(case.settings["folder"])).glob("*.xml")
    agreed = merge_marks(list(read_marks(source.read_bytes(), scan)))
    result = find_nodules(scan, with_completeness=False)
    rows = compare(scan, result, agreed)
    unread = list_unread(result, agreed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.scan}.json").write_text(
        json.dumps({"readers": rows, "unread": unread}, indent=1)
    )
    chosen = np.array([row["row"] for row in unread], dtype=np.int64)
    render_sheet(scan, result.nodules, chosen).save(options.out / f"{options.scan}-unread.png")
    points = np.array([row["position_lps_mm"] for row in rows])
    sheet = render_points(scan, points, [_describe(row) for row in rows])
    sheet.save(options.out / f"{options.scan}-readers.png")
    print(summarize(rows, unread))
    return 0


def read_marks(content: bytes, scan: Scan) -> Iterator[ReaderMark]:
    """Nodules that each reader marked; what a reader called no nodule is left out.

    Parameters
    ----------
    content : bytes
        XML of the second reading of LIDC.
    scan : Scan
        The scan that was read, for the positions of its voxels.
    """
    root = ET.fromstring(content)  # noqa: S314 - a file of the validation's own
    for reader, session in enumerate(root.iter(f"{NAMESPACE}readingSession")):
        for nodule in session.iter(f"{NAMESPACE}unblindedReadNodule"):
            points, extent = [], 0.0
            for roi in nodule.iter(f"{NAMESPACE}roi"):
                if roi.findtext(f"{NAMESPACE}inclusion", "TRUE").strip() != "TRUE":
                    continue
                z = float(roi.findtext(f"{NAMESPACE}imageZposition", "nan"))
                edge = np.array([_read_point(edge) for edge in roi.iter(f"{NAMESPACE}edgeMap")])
                k = float(scan.grid.index_from_lps((*scan.grid.origin_lps_mm[:2], z))[0])
                step = np.asarray(scan.grid.spacing_zyx_mm)[[2, 1]]
                away = np.linalg.norm((edge[:, None] - edge[None]) * step, axis=-1)
                extent = max(extent, float(away.max()))
                points.append((k, *edge.mean(axis=0)[::-1]))
            if points:
                middle = scan.grid.lps_from_index(np.mean(points, axis=0))
                yield ReaderMark(reader, np.asarray(middle), extent if extent > 0.0 else None)


def _read_point(edge: ET.Element) -> tuple[float, float]:
    """Column and row of one point."""
    x, y = (float(edge.findtext(f"{NAMESPACE}{axis}Coord", "nan")) for axis in "xy")
    return x, y


def merge_marks(marks: Sequence[ReaderMark]) -> list[AgreedNodule]:
    """Marks within `SAME_MM`, or within half the larger extent, as one nodule each."""
    groups: list[list[ReaderMark]] = []
    for mark in sorted(marks, key=lambda mark: -(mark.extent_mm or 0.0)):
        near = [
            group
            for group in groups
            if any(
                float(np.linalg.norm(mark.position_lps_mm - other.position_lps_mm))
                <= max(SAME_MM, 0.5 * (other.extent_mm or 0.0))
                for other in group
            )
        ]
        if near:
            near[0].append(mark)
        else:
            groups.append([mark])
    merged = []
    for group in groups:
        extents = [mark.extent_mm for mark in group if mark.extent_mm is not None]
        middle = np.mean([mark.position_lps_mm for mark in group], axis=0)
        extent = float(np.median(extents)) if extents else None
        merged.append(AgreedNodule(frozenset(mark.reader for mark in group), middle, extent))
    return merged


def compare(scan: Scan, result: CtResult, agreed: Sequence[AgreedNodule]) -> list[dict[str, Any]]:
    """One row per nodule of the readers: how many agree, its brightness at the peak, and what found it."""
    marks = result.nodules.position_lps_mm
    rows = []
    for nodule in agreed:
        reach = max(FOUND_MM, 0.5 * (nodule.extent_mm or 0.0))
        away = np.linalg.norm(marks - nodule.position_lps_mm, axis=1) if len(marks) else np.array([np.inf])
        lesion = [
            x.id
            for x in result.lesions
            if np.linalg.norm(np.asarray(x.centroid_lps_mm) - nodule.position_lps_mm)
            <= max(reach, 0.5 * x.long_axis_mm)
        ]
        rows.append(
            {
                "n_readers": len(nodule.readers),
                "position_lps_mm": [round(float(v), 1) for v in nodule.position_lps_mm],
                "extent_mm": nodule.extent_mm,
                "peak_hu": measure_peak(scan, nodule.position_lps_mm),
                "nodule_id": int(result.nodules["id"][away.argmin()]) if away.min() <= reach else None,
                "lesion_id": lesion[0] if lesion else None,
            }
        )
    return sorted(rows, key=lambda row: (-row["n_readers"], -(row["extent_mm"] or 0.0)))


def measure_peak(scan: Scan, position_lps_mm: FloatArray) -> float:
    """Brightest voxel within `PEAK_MM` in plane and half a slice of a point [HU]."""
    spacing = np.asarray(scan.grid.spacing_zyx_mm)
    index = np.round(scan.grid.index_from_lps(position_lps_mm)).astype(int)
    reach = np.maximum(np.round([0.5 * spacing[0], PEAK_MM, PEAK_MM] / spacing), [0, 1, 1]).astype(int)
    view = tuple(slice(max(0, int(i - r)), int(i + r) + 1) for i, r in zip(index, reach, strict=True))
    return float(scan.voxels_hu[view].max())


def list_unread(result: CtResult, agreed: Sequence[AgreedNodule]) -> list[dict[str, Any]]:
    """Marks of the program that no reader made."""
    out = []
    for row, point in enumerate(result.nodules.position_lps_mm):
        is_read = any(
            np.linalg.norm(point - nodule.position_lps_mm) <= max(FOUND_MM, 0.5 * (nodule.extent_mm or 0.0))
            for nodule in agreed
        )
        if not is_read:
            out.append(
                {
                    "row": row,
                    "id": int(result.nodules["id"][row]),
                    "position_lps_mm": [round(float(v), 1) for v in point],
                    "diameter_mm": round(float(result.nodules["diameter_mm"][row]), 2),
                    "probability": round(float(result.nodules["probability"][row]), 3),
                    "attenuation": str(result.nodules["attenuation"][row]),
                    "flags": str(result.nodules["flags"][row]),
                }
            )
    return out


def _describe(row: dict[str, Any]) -> str:
    """Caption of a nodule of the readers."""
    size = "< 3 mm" if row["extent_mm"] is None else f"{row['extent_mm']:.0f} mm"
    is_found = row["nodule_id"] is not None or row["lesion_id"] is not None
    word = "found" if is_found else "not found"
    return f"{row['n_readers']} of 4, {size}, peak {row['peak_hu']:.0f} HU, {word}"


def summarize(rows: Sequence[dict[str, Any]], unread: Sequence[dict[str, Any]]) -> str:
    """Figures as text: found by number of readers, below 3 mm and outlined, and by brightness."""
    lines = []
    for name, chosen in (
        ("marks below 3 mm", [row for row in rows if row["extent_mm"] is None]),
        ("outlines", [row for row in rows if row["extent_mm"] is not None]),
    ):
        for n in sorted({row["n_readers"] for row in chosen}, reverse=True):
            group = [row for row in chosen if row["n_readers"] == n]
            found = [row for row in group if row["nodule_id"] is not None or row["lesion_id"] is not None]
            peaks = sorted(round(row["peak_hu"]) for row in group)
            lines.append(f"{name}, {n} of 4 readers: {len(found)} of {len(group)} found; peaks {peaks} HU")
    lines.append(f"marks of the program that no reader made: {len(unread)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
