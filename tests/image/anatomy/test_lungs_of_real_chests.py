"""Lungs of real chests: volumes and places checked by eye on axial, coronal and sagittal pictures.

The recipe was written on 2026-11-27 from pictures of the masks of every scan. Scans marked as validation are
looked at and never tuned on.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from miliary.exchange.ct_read import read_ct
from miliary.exchange.volumes.metaimage import read_metaimage
from miliary.image.anatomy.segmentation import find_lungs
from miliary.model.scan import Side

pytestmark = pytest.mark.realdata

AIR, RIGHT, LEFT = 0, 1, 2


@dataclass(frozen=True)
class Recipe:
    """Volumes [mL], lowest and highest slice by side, warnings, and places (z, y, x) with their label."""

    right_ml: float
    left_ml: float
    slices: tuple[tuple[int, int], tuple[int, int]]
    codes: frozenset[str] = frozenset()
    places: dict[str, tuple[tuple[int, int, int], int]] = field(default_factory=dict)


RECIPES = {
    # The air of the table lies wholly inside the field; the bases are cut off.
    "cmb-crc-msb-01068": Recipe(
        2479,
        1995,
        ((0, 87), (0, 89)),
        frozenset({"lungs_cut_off"}),
        {
            "right lung": ((56, 265, 173), RIGHT),
            "left lung": ((56, 265, 365), LEFT),
            "trachea": ((56, 250, 241), AIR),
            "table": ((56, 446, 241), AIR),
            "aortic arch": ((56, 190, 252), AIR),
        },
    ),
    "cptac-c3n-00247": Recipe(
        2668,
        1894,
        ((1, 91), (8, 90)),
        frozenset(),
        {"right lung": ((56, 265, 140), RIGHT), "left lung": ((56, 265, 390), LEFT)},
    ),
    "lidc-idri-0003": Recipe(
        2813,
        3094,
        ((7, 121), (11, 121)),
        frozenset(),
        {
            "right lung": ((79, 265, 180), RIGHT),
            "left lung": ((79, 265, 380), LEFT),
            "stomach": ((4, 260, 270), AIR),
            "table": ((79, 470, 256), AIR),
        },
    ),
    # The right upper lobe is consolidated, the right lung small, its base high.
    "lidc-idri-0314": Recipe(
        941,
        1922,
        ((61, 221), (12, 249)),
        frozenset({"lung_volume_ratio", "opaque_lung"}),
        {"right lung": ((155, 265, 190), RIGHT), "consolidation": ((229, 290, 190), AIR)},
    ),
    # A mass of the left upper lobe on mediastinum and pleura; the lungs meet behind the breastbone.
    "lung-pet-ct-dx-a0001": Recipe(
        3208,
        2310,
        ((2, 55), (5, 55)),
        frozenset({"opaque_lung"}),
        {
            "right lung": ((36, 265, 180), RIGHT),
            "left lung": ((36, 265, 380), LEFT),
            "mass": ((46, 330, 340), AIR),
            "right lung before the heart": ((38, 190, 262), RIGHT),
        },
    ),
    # Validation.
    "lidc-idri-0001": Recipe(
        1985,
        1763,
        ((20, 119), (32, 125)),
        frozenset(),
        {"right lung": ((75, 265, 180), RIGHT), "left lung": ((75, 265, 380), LEFT)},
    ),
    "lungfcp-01-0001": Recipe(
        694,
        603,
        ((0, 79), (0, 78)),
        frozenset({"lungs_cut_off"}),
        {"right lung": ((30, 265, 180), RIGHT), "left lung": ((30, 265, 360), LEFT)},
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_lungs_of_a_real_chest(data_dir, name):
    recipe = RECIPES[name]
    found, warnings = find_lungs(read_ct(data_dir / name / "dicom.zip"))
    assert {warning.code for warning in warnings} == recipe.codes
    assert found.volume_ml(Side.RIGHT) == pytest.approx(recipe.right_ml, rel=0.02)
    assert found.volume_ml(Side.LEFT) == pytest.approx(recipe.left_ml, rel=0.02)
    for label, (low, high) in zip((RIGHT, LEFT), recipe.slices, strict=True):
        filled = np.flatnonzero((found.labels == label).any(axis=(1, 2)))
        assert abs(filled[0] - low) <= 3
        assert abs(filled[-1] - high) <= 3
    labels = {place: int(found.labels[index]) for place, (index, _) in recipe.places.items()}
    assert labels == {place: label for place, (_, label) in recipe.places.items()}


@pytest.mark.parametrize("name", ["baseline", "followup"])
def test_the_right_lung_of_a_crop_agrees_with_masks_made_by_others(data_dir, name):
    """Validation: 115 x 160 x 130 voxels round one lung, whose inner side the crop cuts."""
    folder = data_dir / "elastix-3dct-lung-pair"
    found, warnings = find_lungs(read_ct(folder / f"3DCT_lung_{name}.mha"))
    mask = read_metaimage(folder / f"3DCT_lung_{name}_mask.mha").values > 0
    own = found.labels == RIGHT
    assert 2.0 * np.count_nonzero(own & mask) / (np.count_nonzero(own) + np.count_nonzero(mask)) > 0.98
    assert not (found.labels == LEFT).any()
    assert {"single_lung", "lung_touches_field_edge"} <= {warning.code for warning in warnings}
