import numpy as np
import pytest

from miliary.image.anatomy.lung_box import LungBox
from miliary.image.nodules.describe import describe_nodules
from miliary.image.nodules.features import FEATURE_NAMES
from miliary.image.nodules.measure import REFERENCE_HU, Fit
from miliary.model.ct_result import Noise, Psf
from miliary.model.nodules import COLUMN_NAMES
from miliary.model.scan import Grid

SPACING = (1.5, 0.8, 0.7)
GRID = Grid((40, 60, 80), SPACING, (-20.0, -30.0, 500.0))
START = (6, 8, 10)
# About 1.7 mm at half maximum, so that 3.3 mm and more is resolved.
PSF, NOISE = Psf(0.7, 0.8), Noise(20.0)


@pytest.fixture
def box():
    """Lung in the middle of the box: 5 to 24 by 6 to 43 by 7 to 28 is right, the rest left."""
    labels = np.zeros((30, 50, 60), dtype=np.uint8)
    labels[5:25, 6:44, 7:29] = 1
    labels[5:25, 6:44, 31:53] = 2
    return LungBox(np.full(labels.shape, -850, np.float32), labels, START, SPACING)


def _describe(box, *, index=((15, 25, 18),), is_clipped=False, width_ratio=1.0, branch=0.0, **given):
    """One row per index, a solid nodule of 4 mm deep in the lung unless said otherwise."""
    n = len(index)
    diameter = np.broadcast_to(np.asarray(given.pop("diameter", 4.0), dtype=float), n)
    background = -850.0
    excess = np.pi / 6 * diameter**3 * (REFERENCE_HU - background)
    fields = {
        "background_hu": background,
        "excess_hu_mm3": excess,
        "excess_hu_mm3_err": 0.1 * excess,
        "misfit": 1.0,
        "outlier_share": 0.0,
        "peak_hu": 0.0,
        "model_peak_hu": 0.0,
        **given,
    }
    fit = Fit(
        np.asarray(index, dtype=float).reshape(n, 3) * SPACING,
        **{k: np.broadcast_to(np.asarray(v, dtype=float), n).copy() for k, v in fields.items()},
    )
    table = np.zeros((n, len(FEATURE_NAMES)), dtype=np.float32)
    # What a solid ball of this size shows, after the blur and the smoothing of 0.5 mm.
    fwhm = 2.3548 * np.cbrt(0.7 * 0.7 * 0.8)
    expected = np.sqrt((0.92 * diameter) ** 2 + 0.8 * (fwhm**2 + (0.5 * 2.3548) ** 2))
    table[:, FEATURE_NAMES.index("width_mid")] = width_ratio * expected
    table[:, FEATURE_NAMES.index("branch1_3.3")] = branch
    return describe_nodules(
        fit, table, np.full(n, 0.9), box=box, grid=GRID, psf=PSF, noise=NOISE, is_clipped=is_clipped
    )


def test_no_marks_give_an_empty_table(box):
    found = _describe(box, index=np.empty((0, 3)))
    assert len(found) == 0
    assert tuple(found.columns) == COLUMN_NAMES


def test_columns_follow_from_the_fit(box):
    index = np.array([[15.0, 25.0, 18.0], [10.5, 20.2, 40.7]])
    found = _describe(box, index=index, diameter=[4.0, 3.0])
    assert found["id"].tolist() == [1, 2]
    assert found["id"].dtype == np.int64
    np.testing.assert_allclose(found["diameter_mm"], [4.0, 3.0])
    np.testing.assert_allclose(found["volume_mm3"], np.pi / 6 * np.array([64.0, 27.0]))
    np.testing.assert_allclose(found["volume_mm3_err"], 0.1 * found["volume_mm3"])
    # A third of the volume's relative error.
    np.testing.assert_allclose(found["diameter_mm_err"], 0.1 / 3 * found["diameter_mm"])
    np.testing.assert_allclose(found["excess_mass_mg"], 0.89 * found["volume_mm3"])
    expected = (index + START) * SPACING
    np.testing.assert_allclose(found["z_mm"], 500.0 + expected[:, 0])
    np.testing.assert_allclose(found["y_mm"], -30.0 + expected[:, 1])
    np.testing.assert_allclose(found["x_mm"], -20.0 + expected[:, 2])
    assert found["side"].tolist() == ["right", "left"]
    assert found["probability"].tolist() == [0.9, 0.9]


@pytest.mark.parametrize(
    ("diameter", "peak", "width_ratio", "expected"),
    [
        (4.0, 0.0, 1.0, "solid"),
        (4.0, 0.0, 1.15, "solid"),
        (4.0, -300.0, 1.4, "subsolid"),
        (4.0, 300.0, 1.0, "calcified"),
        (4.0, 300.0, 1.4, "calcified"),
        # Brighter than soft tissue by less than two sigma of noise is not calcium.
        (4.0, 190.0, 1.0, "solid"),
        (2.0, 0.0, 1.0, "unresolved"),
        (2.0, 0.0, 1.4, "unresolved"),
        (2.0, 300.0, 1.0, "calcified"),
    ],
)
def test_attenuation_classes(box, diameter, peak, width_ratio, expected):
    found = _describe(box, diameter=diameter, peak_hu=peak, width_ratio=width_ratio)
    assert found["attenuation"].tolist() == [expected]
    assert ("below_resolution" in found["flags"][0]) == (expected == "unresolved")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        ({"branch": 0.6}, "vessel_attached"),
        ({"branch": 0.3}, ""),
        ({"misfit": 4.0}, "fit_poor"),
        ({"is_clipped": True}, "clipped_hu"),
        ({"diameter": 2.0}, "below_resolution"),
        # Centres 0.7 mm under the surface of the lung, and just outside it.
        ({"index": ((15, 25, 7.5),)}, "pleura_attached"),
        ({"index": ((15, 25, 6),), "branch": 0.9}, "pleura_attached"),
        ({"misfit": 4.0, "is_clipped": True}, "fit_poor;clipped_hu"),
    ],
)
def test_flags(box, given, expected):
    assert _describe(box, **given)["flags"].tolist() == [expected]


def test_neighbors_that_touch_are_blended(box):
    index = np.array([[15, 25, 22], [15, 25, 22 - 4.8 / 0.7], [15, 25, 45]], dtype=float)
    assert _describe(box, index=index)["flags"].tolist() == ["blended", "blended", ""]
    assert _describe(box, index=index, diameter=3.6)["flags"].tolist() == ["", "", ""]


def test_nodules_at_the_ends_of_the_scan_are_marked(box):
    whole = LungBox(box.voxels_hu, np.ones_like(box.labels), (0, 0, 0), SPACING)
    index = np.array([[1.9, 25, 18], [2.1, 25, 50], [27.0, 25, 18]])
    flags = _describe(whole, index=index, diameter=4.0)["flags"]
    assert ["edge_of_scan" in f for f in flags] == [True, False, False]
    # In a box that ends with the scan, 3 mm before its last slice (index 39).
    late = LungBox(box.voxels_hu, np.ones_like(box.labels), (10, 0, 0), SPACING)
    index = np.array([[26.9, 25, 18], [27.1, 25, 50]])
    assert ["edge_of_scan" in f for f in _describe(late, index=index)["flags"]] == [False, True]


def test_distance_to_the_pleura_is_from_the_centre(box):
    found = _describe(box, index=((15, 25, 18), (15, 25, 10)))
    # The right lung spans x from 6.5 to 28.5.
    np.testing.assert_allclose(found["distance_to_pleura_mm"], [10.5 * 0.7, 3.5 * 0.7], atol=1.0)


def test_overshoot_that_the_model_explains_is_not_calcium(box):
    sharp = _describe(box, peak_hu=300.0, model_peak_hu=260.0)
    assert sharp["attenuation"][0] == "solid"
    dense = _describe(box, peak_hu=420.0, model_peak_hu=260.0)
    assert dense["attenuation"][0] == "calcified"
