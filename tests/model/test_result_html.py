"""A result as a person meets it in Python: one line, a picture with numbers, spheres on the grid."""

import numpy as np
import pytest

from miliary.model.nodules import Nodules, Tracks


def test_every_noun_is_one_line(make_result, small_scan):
    result = make_result()
    for noun in (result, small_scan, result.nodules, Nodules.empty(), Tracks.empty()):
        assert "\n" not in repr(noun)
        assert len(repr(noun)) < 160
    assert repr(result).startswith(f"CtResult({len(result.burden):,} nodules")
    assert repr(small_scan).startswith("Scan(" + " x ".join(map(str, small_scan.grid.shape_zyx)))


def test_a_notebook_shows_numbers_and_the_picture(make_result):
    from dataclasses import replace

    result = replace(make_result(), preview_rgb=np.zeros((20, 30, 3), dtype=np.uint8))
    shown = result._repr_html_()
    assert repr(result) in shown
    assert 'src="data:image/png;base64,' in shown
    assert "<img" not in replace(result, preview_rgb=None)._repr_html_()


def test_painted_nodules_have_their_number_and_about_their_volume(make_result, make_nodules):
    from dataclasses import replace

    result = make_result()
    spacing = result.grid.spacing_zyx_mm
    center = result.grid.lps_from_index([s // 2 for s in result.grid.shape_zyx])
    one = make_nodules(1, x_mm=[center[0]], y_mm=[center[1]], z_mm=[center[2]], diameter_mm=[12.0])
    painted = replace(result, nodules=one).paint()
    assert painted.shape == result.grid.shape_zyx
    assert set(np.unique(painted)) == {0, int(one["id"][0])}
    volume = np.count_nonzero(painted) * float(np.prod(spacing))
    assert volume == pytest.approx(np.pi / 6 * 12.0**3, rel=0.15)


def test_even_the_smallest_nodule_is_painted(make_result, make_nodules):
    from dataclasses import replace

    result = make_result()
    center = result.grid.lps_from_index([s // 2 for s in result.grid.shape_zyx])
    one = make_nodules(1, x_mm=[center[0]], y_mm=[center[1]], z_mm=[center[2]], diameter_mm=[0.1])
    assert np.count_nonzero(replace(result, nodules=one).paint()) == 1


def test_a_simulated_scan_in_place_of_a_scan_says_what_to_give(small_scan):
    from types import SimpleNamespace

    from miliary import find_nodules

    with pytest.raises(TypeError, match=r"takes a Scan, found a SimpleNamespace; give its \.scan"):
        find_nodules(SimpleNamespace(scan=small_scan))
