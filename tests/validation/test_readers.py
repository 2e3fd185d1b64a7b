"""Readers' marks are read from the XML of LIDC and merged into nodules."""

from __future__ import annotations

import numpy as np
import pytest

from miliary.model.scan import Grid, Scan
from validation.readers import ReaderMark, measure_peak, merge_marks, read_marks, summarize

GRID = Grid((10, 40, 40), (2.5, 0.8, 0.8), (-16.0, -12.0, -100.0))


def session(*nodules: str) -> str:
    inside = "".join(f"<unblindedReadNodule>{rois}</unblindedReadNodule>" for rois in nodules)
    return f"<readingSession>{inside}<nonNodule><locus/></nonNodule></readingSession>"


def roi(z: float, *points: tuple[int, int], inclusion: str = "TRUE") -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return f"<roi><imageZposition>{z}</imageZposition><inclusion>{inclusion}</inclusion>{edges}</roi>"


def read(*sessions: str) -> list[ReaderMark]:
    content = f'<LidcReadMessage xmlns="http://www.nih.gov">{"".join(sessions)}</LidcReadMessage>'
    return list(read_marks(content.encode(), Scan(np.zeros(GRID.shape_zyx, np.int16), GRID)))


def test_points_and_outlines_are_read_in_place_and_holes_left_out():
    square = [(10, 20), (20, 20), (20, 30), (10, 30)]
    outline = roi(-95.0, *square) + roi(-92.5, *square) + roi(-95.0, (15, 25), (16, 25), inclusion="FALSE")
    point, body = read(session(roi(-90.0, (5, 6))), session(outline))
    assert (point.reader, point.extent_mm, body.reader) == (0, None, 1)
    assert point.position_lps_mm == pytest.approx([-16.0 + 5 * 0.8, -12.0 + 6 * 0.8, -90.0])
    assert body.position_lps_mm == pytest.approx([-16.0 + 15 * 0.8, -12.0 + 25 * 0.8, -93.75])
    assert body.extent_mm == pytest.approx(10 * 0.8 * 2**0.5)


def test_marks_of_several_readers_are_one_nodule():
    marks = [
        ReaderMark(0, np.zeros(3), None),
        ReaderMark(1, np.array([2.9, 0.0, 0.0]), None),
        ReaderMark(1, np.array([0.0, 9.0, 0.0]), 20.0),
        ReaderMark(2, np.array([0.0, 40.0, 0.0]), None),
    ]
    merged = merge_marks(marks)
    assert sorted(tuple(sorted(nodule.readers)) for nodule in merged) == [(0, 1), (2,)]
    alone = merge_marks(marks[:1] + marks[3:])
    assert [len(nodule.readers) for nodule in alone] == [1, 1]


def test_the_peak_is_looked_for_near_the_mark_only():
    voxels = np.full(GRID.shape_zyx, -860, np.int16)
    voxels[5, 20, 21] = -200
    voxels[5, 20, 30] = 300
    scan = Scan(voxels, GRID)
    assert measure_peak(scan, GRID.lps_from_index(np.array([5.0, 20.0, 20.0]))) == -200.0


def test_found_is_counted_by_the_number_of_readers():
    row = {"extent_mm": None, "peak_hu": -400.0, "nodule_id": None, "lesion_id": None}
    text = summarize(
        [{**row, "n_readers": 4, "nodule_id": 3}, {**row, "n_readers": 4}, {**row, "n_readers": 1}], []
    )
    assert "marks below 3 mm, 4 of 4 readers: 1 of 2 found; peaks [-400, -400] HU" in text
    assert "marks below 3 mm, 1 of 4 readers: 0 of 1 found" in text
