"""The contact sheet shows the mark in the middle of every view, the right way up."""

from __future__ import annotations

import numpy as np

from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Grid, Scan
from validation.marks import TILE, crop_views, render_sheet, sample_marks


def _scan() -> Scan:
    voxels = np.full((40, 60, 70), -900, dtype=np.int16)
    voxels[19:22, 29:32, 34:37] = 100
    voxels[20, 30, 35] = 400
    voxels[26, 30, 35] = 300  # 6 mm above
    voxels[20, 30, 45] = 200  # 8 mm to the left of the patient, the right of the picture
    return Scan(voxels, Grid(voxels.shape, (1.0, 0.8, 0.8), (-10.0, 5.0, 100.0)))


def _middle_of(view: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(view.argmax(), view.shape)
    return int(row), int(column)


def test_the_mark_is_in_the_middle_and_the_head_is_up() -> None:
    scan = _scan()
    slab, axial, coronal, sagittal = crop_views(scan, scan.grid.lps_from_index([20, 30, 35]))
    for view in (slab, axial, coronal, sagittal):
        assert view.shape == (TILE, TILE)
        assert np.abs(np.array(_middle_of(view)) - TILE / 2).max() <= 2
    above = coronal[: TILE // 2 - 8, TILE // 2 - 3 : TILE // 2 + 3]
    assert above.max() > 150
    assert coronal[TILE // 2 + 8 :, TILE // 2 - 3 : TILE // 2 + 3].max() < 100
    assert axial[:, TILE // 2 + 10 :].max() > 100
    assert axial[:, : TILE // 2 - 10].max() < 100


def test_the_sample_is_seeded_and_without_repeats() -> None:
    chosen = sample_marks(500, 60, 3)
    np.testing.assert_array_equal(chosen, sample_marks(500, 60, 3))
    assert len(set(chosen.tolist())) == 60
    assert len(sample_marks(5, 60, 3)) == 5
    assert len(sample_marks(0, 60, 3)) == 0


def test_a_sheet_has_room_for_every_mark() -> None:
    scan = _scan()
    point = scan.grid.lps_from_index([20, 30, 35])
    values = {c.name: np.array(["", ""] if c.dtype is object else [0, 0], dtype=c.dtype) for c in COLUMNS}
    values |= {f"{axis}_mm": np.full(2, point[i]) for i, axis in enumerate("xyz")}
    sheet = np.asarray(render_sheet(scan, Nodules(values), np.array([0, 1])))
    assert (sheet[:, : sheet.shape[1] // 3].max(), sheet[:, sheet.shape[1] // 3 :].max()) >= (200, 200)
    assert render_sheet(scan, Nodules.empty(), np.array([], dtype=int)).size[1] > 0
