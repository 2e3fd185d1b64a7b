"""Large lesions: found, outlined and measured against drawn truth, and never seen where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from miliary.image.figures.lesion_figure import render_lesions
from miliary.image.lesions.field import LesionField
from miliary.image.lesions.large_lesions import LesionsFound, find_lesions
from miliary.image.lesions.opacities import (
    OpaqueTissue,
    UndecidedOpacity,
    find_thick_parts,
    measure_opaque,
    warn_opacities,
    warn_opaque,
)
from miliary.image.lesions.rays import list_directions
from miliary.image.lesions.reader_diameters import correct_lesions
from miliary.image.lesions.surface import fit_surface
from miliary.model.corrections import AppliedCorrections, Correction, CorrectionKind, CorrectionSet
from miliary.model.ct_result import Lungs, Psf
from miliary.model.lesion import Attachment, LesionAttenuation
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize_lesion
from miliary.model.scan import Grid, Scan, Side, Zone
from miliary.model.vocabulary import Origin

SHAPE, SPACING = (60, 100, 110), (1.25, 0.8, 0.8)
SIGMA_MM = 0.6
PSF = Psf(SIGMA_MM, SIGMA_MM)
MIDDLE = np.array([30.3, 48.6, 52.2])


def distance(middle: np.ndarray) -> np.ndarray:
    z, y, x = (((np.arange(n) - m) * s) ** 2 for n, m, s in zip(SHAPE, middle, SPACING, strict=True))
    return np.sqrt(z[:, None, None] + y[:, None] + x)


def make_chest(*, noise_hu: float = 20.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """One right lung in soft tissue with a branching vessel; attenuation before blur, and labels."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:-4, 8:-8, 8:-8] = 1
    hu = np.where(labels > 0, -860.0, 40.0)
    trunk = np.hypot(*np.meshgrid(np.arange(SHAPE[1]) - 85, np.arange(SHAPE[2]) - 20, indexing="ij")) < 4
    hu[:, trunk] = 40.0
    hu[28:32, 80:85, 20:90] = 40.0
    return hu, labels


def blur(hu: np.ndarray, *, noise_hu: float = 20.0, seed: int = 1) -> np.ndarray:
    seen = ndimage.gaussian_filter(hu, SIGMA_MM / np.asarray(SPACING))
    return seen + np.random.default_rng(seed).normal(0, noise_hu, SHAPE)


def find(hu: np.ndarray, labels: np.ndarray, **more: object) -> tuple[LesionsFound, Scan]:
    scan = Scan(np.rint(blur(hu)).astype(np.int16), Grid(SHAPE, SPACING, (-50.0, -20.0, 100.0)))
    return find_lesions(scan, Lungs(labels, scan.grid.voxel_volume_mm3), psf=PSF, **more), scan


def test_a_lung_with_vessels_has_no_lesion():
    found, _ = find(*make_chest())
    assert found.lesions == ()
    assert not found.contains(np.array([[30.0, 50.0, 50.0]])).any()


@pytest.mark.parametrize(("diameter", "wall"), [(12.0, 2.0), (19.0, 4.0), (28.0, 2.5)])
def test_a_cavitary_lesion_is_measured_between_voxels(diameter, wall):
    hu, labels = make_chest()
    away = distance(MIDDLE)
    hu[away < diameter / 2] = 40.0
    hu[away < diameter / 2 - wall] = -980.0
    found, scan = find(hu, labels)
    (lesion,) = found.lesions
    assert lesion.long_axis_mm == pytest.approx(diameter, abs=0.7)
    assert lesion.short_axis_mm == pytest.approx(diameter, abs=0.7)
    assert lesion.wall.mean_mm == pytest.approx(wall, abs=0.3)
    assert lesion.wall.min_mm <= lesion.wall.mean_mm <= lesion.wall.max_mm
    assert lesion.volume_mm3 == pytest.approx(np.pi / 6 * diameter**3, rel=0.08)
    assert lesion.wall.cavity_volume_mm3 == pytest.approx(np.pi / 6 * (diameter - 2 * wall) ** 3, rel=0.12)
    assert lesion.centroid_lps_mm == pytest.approx(tuple(scan.grid.lps_from_index(MIDDLE)), abs=0.4)
    assert (lesion.side, lesion.attachment) == (Side.RIGHT, Attachment.NONE)
    ends = np.asarray(lesion.long_axis_ends_lps_mm)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(lesion.long_axis_mm)
    assert ends[0, 2] == ends[1, 2]


def draw_cavity(hu: np.ndarray, middle: np.ndarray, *, diameter: float, wall: float) -> None:
    away = distance(middle)
    hu[away < diameter / 2] = 40.0
    hu[away < diameter / 2 - wall] = -980.0


def draw_tube(hu: np.ndarray, middle: np.ndarray, way: tuple[float, float, float], radius: float) -> None:
    """A vessel through the whole lung, hidden where gas already is."""
    unit = np.asarray(way) / np.linalg.norm(way)
    points = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    offset = (points - middle) * np.asarray(SPACING)
    aside = np.linalg.norm(offset - (offset @ unit)[..., None] * unit, axis=-1)
    hu[(aside < radius) & (hu < 0.0) & (hu > -900.0)] = 40.0


def test_a_vessel_that_leaves_a_cavity_hides_nothing():
    hu, labels = make_chest()
    middle = np.array([30.0, 40.0, 26.0])
    draw_cavity(hu, middle, diameter=16.0, wall=2.0)
    draw_tube(hu, middle, (0.0, 0.0, 1.0), 2.0)
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.long_axis_mm == pytest.approx(16.0, abs=1.3)
    assert lesion.wall.mean_mm == pytest.approx(2.0, abs=0.3)


def test_a_thick_vessel_out_of_a_cavity_is_left_out():
    hu, labels = make_chest()
    middle = np.array([30.0, 40.0, 26.0])
    draw_cavity(hu, middle, diameter=22.0, wall=3.0)
    draw_tube(hu, middle, (0.0, 0.0, 1.0), 4.5)
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.long_axis_mm == pytest.approx(22.0, abs=2.0)


def test_one_ray_that_never_leaves_a_vessel_is_no_veto():
    hu, labels = make_chest()
    middle = np.array([30.0, 40.0, 26.0])
    draw_cavity(hu, middle, diameter=22.0, wall=3.0)
    # Along one of the 200 rays.
    rays = list_directions(200)
    draw_tube(hu, middle, tuple(rays[rays[:, 2].argmax()]), 2.5)
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.long_axis_mm == pytest.approx(22.0, abs=1.3)


@pytest.mark.parametrize("radius", [2.0, 3.0])
def test_a_vessel_along_a_cavity_is_left_out(radius):
    hu, labels = make_chest()
    draw_cavity(hu, MIDDLE, diameter=19.0, wall=3.0)
    draw_tube(hu, MIDDLE - np.array([0.0, (9.5 + 0.5 * radius) / 0.8, 0.0]), (0.3, 0.1, 1.0), radius)
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.long_axis_mm == pytest.approx(19.0, abs=1.2)
    assert lesion.volume_mm3 == pytest.approx(np.pi / 6 * 19.0**3, rel=0.1)


def test_vessels_on_several_sides_of_a_cavity_hide_nothing():
    hu, labels = make_chest()
    draw_cavity(hu, MIDDLE, diameter=19.0, wall=3.0)
    for aside in ((0.0, -1.0, 0.0), (0.0, 0.6, -0.8), (1.0, 0.0, 0.0)):
        way = (0.3, 0.1, 1.0) if aside[0] == 0.0 else (0.0, 1.0, 0.7)
        draw_tube(hu, MIDDLE + np.array(aside) * 11.0 / np.asarray(SPACING), way, 3.0)
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.long_axis_mm == pytest.approx(19.0, abs=2.0)


def test_a_cavity_whose_wall_has_a_gap_is_found():
    hu, labels = make_chest()
    draw_cavity(hu, MIDDLE, diameter=22.0, wall=2.5)
    gap = MIDDLE + np.array([0.0, 9.8, 0.0]) / np.asarray(SPACING)
    hu[(distance(gap) < 2.2) & (distance(MIDDLE) < 11.0)] = -980.0
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.is_cavitary
    assert lesion.long_axis_mm == pytest.approx(22.0, abs=1.0)


def test_a_bronchus_in_the_hilum_is_no_lesion():
    hu, labels = make_chest()
    z, y, x = np.meshgrid(
        *[(np.arange(n) - m) * s for n, m, s in zip(SHAPE, MIDDLE, SPACING, strict=True)], indexing="ij"
    )
    hu[(y / 9) ** 2 + (z / 9) ** 2 + (x / 24) ** 2 < 1] = 40.0
    hu[(np.hypot(y, z) < 3.5) & (np.abs(x) < 12)] = -980.0
    assert find(hu, labels)[0].lesions == ()


def test_a_surface_is_not_pulled_outward_by_what_stands_out():
    rng = np.random.default_rng(3)
    unit = rng.normal(size=(300, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    truth = 10.0 + 1.5 * unit[:, 0] ** 2 - 0.8 * unit[:, 1] * unit[:, 2]
    seen = truth + rng.normal(0, 0.15, len(unit))
    stands_out = unit @ np.array([0.6, 0.0, 0.8]) > 0.8
    seen[stands_out] += 5.0
    _, level = fit_surface(unit, seen)
    assert np.abs(level - truth)[~stands_out].max() < 0.5
    assert np.abs(level - truth)[stands_out].max() < 1.0


def test_axes_of_an_ellipsoid_keep_their_direction():
    hu, labels = make_chest()
    z, y, x = np.meshgrid(
        *[(np.arange(n) - m) * s for n, m, s in zip(SHAPE, MIDDLE, SPACING, strict=True)], indexing="ij"
    )
    u, v = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    hu[(u / 10) ** 2 + (v / 6) ** 2 + (z / 8) ** 2 < 1] = 50.0
    (lesion,) = find(hu, labels)[0].lesions
    assert not lesion.is_cavitary
    assert lesion.long_axis_mm == pytest.approx(20.0, abs=0.7)
    assert lesion.short_axis_mm == pytest.approx(12.0, abs=0.7)
    assert lesion.density_hu == pytest.approx(50.0, abs=15.0)
    along = np.subtract(*lesion.long_axis_ends_lps_mm)
    across = np.subtract(*lesion.short_axis_ends_lps_mm)
    assert abs(along @ across) < 0.1 * np.linalg.norm(along) * np.linalg.norm(across)
    assert abs(along[0] - along[1]) < 0.25 * np.linalg.norm(along)


def test_a_mass_on_the_pleura_ends_at_the_lung():
    hu, labels = make_chest()
    hu[distance(np.array([30.0, 12.0, 52.0])) < 9.0] = 40.0
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.attachment is Attachment.PLEURA
    # Of the ball of 18 mm the cap in the chest wall is cut off: from row 8 on it is lung.
    assert lesion.long_axis_mm == pytest.approx(18.0, abs=1.5)
    assert lesion.volume_mm3 < 0.9 * np.pi / 6 * 18.0**3


def test_small_nodules_and_their_clusters_are_no_lesion():
    hu, labels = make_chest()
    rng = np.random.default_rng(4)
    for middle in rng.uniform([8, 14, 30], [52, 70, 100], (150, 3)):
        hu[distance(middle) < rng.uniform(0.8, 1.6)] = 40.0
    assert find(hu, labels)[0].lesions == ()


def test_under_eight_millimeters_it_is_a_nodule():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 3.5] = 40.0
    assert find(hu, labels)[0].lesions == ()


def test_a_seed_measures_what_would_not_be_found_and_replaces_what_is():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 3.5] = 40.0
    _, scan = find(hu, labels)
    seed = tuple(scan.grid.lps_from_index(MIDDLE + np.array([1.0, 1.5, 0.0])))
    (lesion,) = find(hu, labels, seeds_lps_mm=[seed])[0].lesions
    assert lesion.origin is Origin.CORRECTED
    assert lesion.long_axis_mm == pytest.approx(7.0, abs=0.7)
    hu[distance(MIDDLE) < 8.0] = 40.0
    assert len(find(hu, labels, seeds_lps_mm=[seed])[0].lesions) == 1


def test_a_seed_anywhere_in_a_body_that_was_found_measures_that_body():
    hu, labels = make_chest()
    draw_cavity(hu, MIDDLE, diameter=19.0, wall=3.0)
    found, scan = find(hu, labels)
    for off in ((0.0, 0.0, 0.0), (4.0, 5.0, 0.0), (0.0, -6.0, -6.0)):
        seed = tuple(scan.grid.lps_from_index(MIDDLE + np.array(off)))
        (lesion,) = find(hu, labels, seeds_lps_mm=[seed])[0].lesions
        assert lesion.origin is Origin.CORRECTED
        assert lesion.long_axis_mm == found.lesions[0].long_axis_mm


def test_of_a_seeded_body_from_which_much_runs_on_the_vessels_are_cut_off():
    """What is left of a lesion at a branching of vessels: by itself it is not told from the branching."""
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 5.5] = 40.0
    for way in ((0.2, 1.0, 0.3), (0.3, 0.1, 1.0)):
        draw_tube(hu, MIDDLE, way, 2.6)
    assert find(hu, labels)[0].lesions == ()
    _, scan = find(hu, labels)
    (lesion,) = find(hu, labels, seeds_lps_mm=[tuple(scan.grid.lps_from_index(MIDDLE))])[0].lesions
    assert lesion.long_axis_mm == pytest.approx(11.0, abs=2.5)


def test_a_seed_in_air_gives_nothing():
    hu, labels = make_chest()
    _, scan = find(hu, labels)
    seed = tuple(scan.grid.lps_from_index(np.array([15.0, 30.0, 60.0])))
    assert find(hu, labels, seeds_lps_mm=[seed])[0].lesions == ()


def test_points_inside_belong_to_the_lesion():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 8.0] = 40.0
    found, _ = find(hu, labels)
    points = MIDDLE + np.array([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 15.0, 0.0]])
    assert found.contains(points).tolist() == [True, True, False]


def test_turning_the_scan_around_changes_nothing():
    hu, labels = make_chest()
    away = distance(MIDDLE)
    hu[away < 9.0] = 40.0
    hu[away < 6.0] = -980.0
    seen = np.rint(blur(hu)).astype(np.int16)
    grid = Grid(SHAPE, SPACING)
    one = find_lesions(Scan(seen, grid), Lungs(labels, 0.8), psf=PSF).lesions[0]
    flipped = Scan(np.ascontiguousarray(seen[:, ::-1]), grid)
    two = find_lesions(flipped, Lungs(np.ascontiguousarray(labels[:, ::-1]), 0.8), psf=PSF).lesions[0]
    assert two.long_axis_mm == pytest.approx(one.long_axis_mm, abs=0.15)
    assert two.wall.mean_mm == pytest.approx(one.wall.mean_mm, abs=0.05)
    assert two.centroid_lps_mm[0] == pytest.approx(one.centroid_lps_mm[0], abs=0.1)


def test_a_reader_moves_the_ends():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 8.0] = 40.0
    found, _ = find(hu, labels)
    x, y, z = found.lesions[0].centroid_lps_mm
    ends = ((x - 6.0, y, z), (x + 6.0, y, z))
    given = [
        Correction(
            n,
            "2026-01-01T00:00:00Z",
            "ab",
            "scan",
            CorrectionKind.SET_LESION_ENDS,
            lesion_id=i,
            ends_lps_mm=ends,
        )
        for n, i in ((1, 1), (2, 5))
    ]
    lesions, applied = correct_lesions(found.lesions, CorrectionSet(tuple(given), 2), AppliedCorrections(2))
    assert lesions[0].long_axis_mm == pytest.approx(12.0)
    assert lesions[0].origin is Origin.CORRECTED
    assert lesions[0].volume_mm3 == found.lesions[0].volume_mm3
    assert (applied.n_lesions, applied.not_placed) == (1, (2,))
    # The same number, but ends that lie elsewhere: another lesion was meant.
    away = replace(given[0], ends_lps_mm=((x + 40.0, y, z), (x + 52.0, y, z)))
    lesions, applied = correct_lesions(found.lesions, CorrectionSet((away,), 1), AppliedCorrections(1))
    assert lesions == found.lesions
    assert (applied.n_lesions, applied.not_placed) == (0, (1,))


def test_the_summary_says_why_what_is_missing_is_missing():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 8.0] = 40.0
    lesion = replace(find(hu, labels)[0].lesions[0], lobe=None, lobe_reason="near a fissure")
    said = to_json(summarize_lesion(lesion))
    assert said["lobe"] == "not_determined"
    assert said["lobe_reason"] == "near a fissure"
    assert said["wall_thickness_mm"] is None
    assert said["wall_thickness_mm_reason"]
    assert said["zone"] in {zone.value for zone in Zone}


def test_the_close_up_shows_the_lesion_and_its_diameter():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 8.0] = 40.0
    found, scan = find(hu, labels)
    (figure,) = render_lesions(scan, found.lesions)
    assert figure.name == "lesion_1"
    rows, columns = figure.pixels.shape[:2]
    plain, drawn = figure.pixels[:, : columns // 3], figure.pixels[:, columns // 3 : 2 * columns // 3]
    is_yellow = (drawn[..., 0].astype(int) - drawn[..., 2]) > 100
    assert is_yellow.sum() > 0.9 * found.lesions[0].long_axis_mm / figure.pixel_mm
    assert not ((plain[..., 0].astype(int) - plain[..., 2]) > 100).any()
    assert plain[rows // 2, columns // 6].mean() > 200


def test_a_patch_that_fades_at_its_edge_is_no_lesion():
    hu, labels = make_chest()
    patch = np.clip((11.0 - distance(MIDDLE)) / 9.0, 0.0, 1.0)
    faint = hu + patch * (-40.0 - hu)
    assert find(faint, labels)[0].lesions == ()
    hu[distance(MIDDLE) < 7.0] = -40.0
    assert len(find(hu, labels)[0].lesions) == 1


def fill(hu: np.ndarray, labels: np.ndarray, middle: np.ndarray, radius_mm: float) -> np.ndarray:
    """A mass, and labels that leave it out, as the search for lungs does."""
    body = distance(middle) < radius_mm
    hu[body & (labels > 0)] = 40.0
    return np.where(body, 0, labels).astype(np.uint8)


@pytest.mark.parametrize(
    ("middle", "radius"), [((30.0, 50.0, 12.0), 13.0), ((30.0, 14.0, 55.0), 16.0), ((30.0, 50.0, 98.0), 15.0)]
)
def test_a_mass_on_a_wall_is_found_though_the_lungs_leave_it_out(middle, radius):
    hu, labels = make_chest()
    seen = fill(hu, labels, np.array(middle), radius)
    (lesion,) = find(hu, seen)[0].lesions
    assert lesion.attachment is not Attachment.NONE
    assert lesion.long_axis_mm == pytest.approx(2 * radius, rel=0.15)
    assert lesion.attenuation is LesionAttenuation.SOLID
    assert lesion.solid_axis_mm == lesion.long_axis_mm


@pytest.mark.parametrize(("core_mm", "kind"), [(0.0, "ground_glass"), (10.0, "part_solid")])
def test_ground_glass_is_measured_with_its_solid_part(core_mm, kind):
    hu, labels = make_chest()
    away = distance(MIDDLE)
    hu[away < 9.0] = -600.0
    hu[away < core_mm / 2] = 40.0
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.attenuation == kind
    assert lesion.long_axis_mm == pytest.approx(18.0, abs=1.0)
    assert lesion.solid_axis_mm == pytest.approx(core_mm, abs=1.0)
    summary = summarize_lesion(lesion)
    assert (summary.attenuation, summary.solid_axis_mm) == (kind, round(lesion.solid_axis_mm, 2))


def test_lung_that_gets_denser_toward_a_wall_is_no_ground_glass():
    hu, labels = make_chest()
    slope = np.clip((np.arange(SHAPE[1]) - 50) / 40.0, 0.0, 1.0) * 250.0
    hu = np.where(labels > 0, np.minimum(hu + slope[:, None], 40.0), hu)
    assert find(hu, labels)[0].lesions == ()


def test_thick_opaque_tissue_is_listed_and_said_with_its_place():
    labels = np.zeros((40, 50, 60), np.uint8)
    depth = np.zeros(labels.shape, np.float32)
    # A plate of 32 mm between two lungs' worth of air, and a hilum of 16 mm.
    depth[:, 20:36] = 2.0 * np.minimum(np.arange(1, 17), np.arange(16, 0, -1))[:, None]
    depth[18:22, 2:10, 2:10] = 8.0
    steps = np.full(3, 2.0)
    field = LesionField(
        np.zeros(labels.shape, np.float32), labels, labels == 0, np.zeros(3), np.ones(3), steps
    )
    opaque = OpaqueTissue(field, depth)
    (part,) = find_thick_parts(opaque)
    assert part.thickest[1] in (27, 28)
    assert part.volume_ml == pytest.approx(40 * 16 * 60 * 0.008, rel=0.01)
    (warning,) = warn_opacities([UndecidedOpacity((-12.0, 30.4, -61.0), part.volume_ml)])
    assert warning.code == "opacity_undecided"
    assert "--lesion=-12,30,-61" in warning.message
    assert warn_opacities([]) == ()


@pytest.mark.parametrize(
    ("sides", "shares"), [((1, 2), (0.5, 0.5)), ((1, 1), (1.0, 0.0)), ((2, 2), (0.0, 1.0))]
)
def test_opaque_lung_is_counted_by_side(sides, shares):
    """A plate of consolidation across the chest, under lungs that lie beside each other."""
    labels = np.zeros((40, 50, 60), np.uint8)
    labels[:, :20, :30], labels[:, :20, 30:] = sides
    depth = np.zeros(labels.shape, np.float32)
    depth[:, 20:36] = 2.0 * np.minimum(np.arange(1, 17), np.arange(16, 0, -1))[:, None]
    hu = np.zeros(labels.shape, np.float32)
    field = LesionField(hu, labels, labels == 0, np.zeros(3), np.ones(3), np.full(3, 2.0))
    opaque = OpaqueTissue(field, depth)
    found = measure_opaque(opaque, find_thick_parts(opaque), [])
    total = 40 * 16 * 60 * 0.008
    np.testing.assert_allclose((found.right_ml, found.left_ml), np.multiply(shares, total), rtol=0.02)
    (warning,) = warn_opaque(found, 3.0 * total)
    assert (warning.code, "(25%)" in warning.message) == ("lung_not_seen", True)
    assert warn_opaque(measure_opaque(opaque, [], []), 3000.0) == ()


def test_a_solid_lesion_counts_as_lung_that_is_not_seen():
    hu, labels = make_chest()
    hu[distance(MIDDLE) < 12.0] = 40.0
    found, _ = find(hu, labels)
    assert found.opaque.right_ml == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.1)


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ((30.0, 50.0, 76.0), Attachment.HILUM),
        ((48.0, 30.0, 76.0), Attachment.MEDIASTINUM),
        ((30.0, 50.0, 12.0), Attachment.PLEURA),
        ((7.0, 50.0, 45.0), Attachment.DIAPHRAGM),
    ],
)
def test_what_a_mass_lies_against_is_named(middle, expected):
    """Two lungs beside a mediastinum, and a mass on each of its four sides."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:-4, 8:-8, 8:80], labels[6:-4, 8:-8, 96:-2] = 1, 2
    hu = np.where(labels > 0, -860.0, 40.0)
    hu[distance(np.array(middle)) < 8.0] = 40.0
    (lesion,) = find(hu, labels)[0].lesions
    assert lesion.attachment is expected
