"""What `miliary ct --check` says of an input that is not measured yet."""

from __future__ import annotations

import json
import math
from pathlib import Path


def show_preview(scan: Path, *, series: str | None, n_threads: int | None, as_json: bool) -> None:
    """Print what would be read of an input, which series was chosen and what would be warned of.

    Raises
    ------
    ScanReadError, ScanGeometryError
        It would be refused.
    """
    from miliary.exchange.ct_read import preview_ct
    from miliary.exchange.folders.exam_read import is_ct_result

    if is_ct_result(scan):
        print("an earlier result: its kept volume would be measured anew")
        return
    found = preview_ct(scan, series=series, n_threads=n_threads)
    grid, acquisition = found.grid, found.acquisition
    if as_json:
        content = {
            "kind": "miliary.check",
            "shape_zyx": list(grid.shape_zyx),
            "spacing_zyx_mm": list(grid.spacing_zyx_mm),
            "source_format": acquisition.source_format,
            "n_files": acquisition.n_files,
            "slice_thickness_mm": acquisition.slice_thickness_mm,
            "kernel": acquisition.kernel,
            "series_choice": acquisition.series_choice,
            "other_series": found.others,
            "warnings": [{"code": w.code, "message": w.message} for w in found.warnings],
        }
        print(json.dumps(content, ensure_ascii=False, allow_nan=False))
        return
    shape, step = grid.shape_zyx, grid.spacing_zyx_mm
    print(
        f"{'would be read':<16}{shape[0]} slices of {shape[1]} x {shape[2]} pixels "
        f"({acquisition.source_format})"
    )
    print(
        f"{'voxels':<16}{' x '.join(f'{s:.4g}' for s in step)} mm (z, y, x), "
        f"{math.prod(shape) / 1e6:.3g} million"
    )
    print(f"{'length':<16}{shape[0] * step[0]:.0f} mm")
    if acquisition.series_choice:
        print(f"{'series':<16}{acquisition.series_choice}")
    if found.others:
        print(f"{'beside it':<16}{found.others}")
    for warning in found.warnings:
        print(f"{'warning':<16}{warning.code}: {warning.message}")
    if not found.warnings:
        print(f"{'warnings':<16}none")
