"""Where slices lie is read from position and orientation alone; what is no regular stack is refused."""

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.model.scan import Acquisition, Grid
from tests.exchange.scans import (
    SPACING,
    bright_point_lps_mm,
    edit,
    edit_all,
    files_by_position,
    phantom_grid,
    phantom_hu,
    write_phantom,
)

# Directions of slice, row and column index. The phantom is written along them and must come back.
ORIENTATIONS = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "axial, prone (rows and columns reversed)": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "axial, feet first (slices and columns reversed)": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "rows and columns exchanged": ((0, 0, -1), (1, 0, 0), (0, 1, 0)),
}


def codes(scan):
    return [warning.code for warning in scan.warnings]


@pytest.mark.parametrize("axes", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_any_orientation_gives_the_same_point_and_canonical_axes(tmp_path, axes):
    voxels = phantom_hu((24, 40, 48))
    grid = Grid(voxels.shape, SPACING, (12.5, -7.75, 55.0), tuple(tuple(map(float, a)) for a in axes))
    write_phantom(tmp_path / "ct", voxels=voxels, grid=grid)
    scan = read_ct(tmp_path / "ct")
    np.testing.assert_allclose(
        bright_point_lps_mm(scan.voxels_hu, scan.grid), bright_point_lps_mm(voxels, grid), atol=1e-6
    )
    np.testing.assert_allclose(scan.grid.axes_lps, ((0, 0, 1), (0, 1, 0), (1, 0, 0)), atol=1e-9)
    assert np.sort(scan.voxels_hu, axis=None).tolist() == np.sort(voxels, axis=None).tolist()


@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_oblique_stacks_keep_their_points(tmp_path_factory, turn):
    axes = np.eye(3)[::-1] @ Rotation.from_rotvec(turn).as_matrix()
    voxels = phantom_hu((16, 20, 24))
    grid = Grid(voxels.shape, SPACING, (12.5, -7.75, 55.0), tuple(map(tuple, axes.tolist())))
    folder = tmp_path_factory.mktemp("oblique") / "ct"
    write_phantom(folder, voxels=voxels, grid=grid)
    scan = read_ct(folder)
    np.testing.assert_allclose(
        bright_point_lps_mm(scan.voxels_hu, scan.grid), bright_point_lps_mm(voxels, grid), atol=1e-4
    )


def test_names_instance_numbers_and_repeated_instance_uids_do_not_matter(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    expected = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(expected.voxels_hu, voxels)
    rng = np.random.default_rng(2)
    for i, path in enumerate(rng.permutation(files_by_position(tmp_path / "ct"))):
        folder = tmp_path / "mixed" / str(i % 3)
        folder.mkdir(parents=True, exist_ok=True)
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.InstanceNumber = int(rng.integers(100))
        dataset.save_as(folder / f"IM{i}", enforce_file_format=True)
    mixed = read_ct(tmp_path / "mixed")
    np.testing.assert_array_equal(mixed.voxels_hu, voxels)
    assert mixed.grid == expected.grid


def test_gantry_tilt_is_refused_with_its_angle(tmp_path):
    write_phantom(tmp_path / "ct")
    for i, path in enumerate(files_by_position(tmp_path / "ct")):

        def shear(dataset, height=i * SPACING[0]):
            shift = height * np.tan(np.radians(12.0))
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, round(float(y) + shift, 6), z]

        edit(path, shear)
    with pytest.raises(ScanGeometryError, match=r"image-\d+\.dcm.*12\.0 degrees \(gantry tilt\).*export"):
        read_ct(tmp_path / "ct")


def test_a_named_but_corrected_tilt_is_a_warning(tmp_path):
    write_phantom(tmp_path / "ct")
    edit_all(tmp_path / "ct", lambda d: setattr(d, "GantryDetectorTilt", 15))
    assert codes(read_ct(tmp_path / "ct")) == ["gantry_tilt_corrected"]


@pytest.mark.parametrize("removed", [[9], [9, 10, 11]])
def test_missing_slices_are_refused_naming_the_neighbors(tmp_path, removed):
    write_phantom(tmp_path / "ct")
    files = files_by_position(tmp_path / "ct")
    for index in removed:
        files[index].unlink()
    with pytest.raises(ScanGeometryError) as caught:
        read_ct(tmp_path / "ct")
    message = str(caught.value)
    assert message.startswith(f"{len(removed)} slice")
    assert files[8].name in message
    assert files[removed[-1] + 1].name in message


def test_jitter_is_tolerated_uneven_spacing_is_not(tmp_path):
    voxels = write_phantom(tmp_path / "ct")

    def move(dataset, by):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + by]

    middle = files_by_position(tmp_path / "ct")[11]
    edit(middle, lambda d: move(d, 0.01))
    assert codes(read_ct(tmp_path / "ct")) == []
    edit(middle, lambda d: move(d, 0.09))
    scan = read_ct(tmp_path / "ct")
    assert codes(scan) == ["uneven_positions"]
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    edit(middle, lambda d: move(d, 0.5))
    with pytest.raises(ScanGeometryError, match="unevenly spaced"):
        read_ct(tmp_path / "ct")


def test_identical_duplicates_are_dropped_with_a_warning(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    for path in files_by_position(tmp_path / "ct")[3:6]:
        (tmp_path / "ct" / f"copy-of-{path.name}").write_bytes(path.read_bytes())
    scan = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert codes(scan) == ["duplicated_slices"]
    assert scan.acquisition.n_files == len(voxels)


def test_different_slices_at_one_position_are_refused(tmp_path):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[7]
    other = tmp_path / "ct" / "other.dcm"
    other.write_bytes(path.read_bytes())
    edit(other, lambda d: setattr(d, "PixelData", bytes(len(d.PixelData))))
    with pytest.raises(ScanGeometryError, match=rf"{path.name} and other\.dcm are different slices"):
        read_ct(tmp_path / "ct")


def _interleave(folder, *, keys, shift_mm):
    """Two scans of one series UID, the second shifted along z."""
    first = write_phantom(folder / "a", seed=1)
    second = phantom_hu((20, 40, 48), seed=9)
    write_phantom(folder / "b", voxels=second, seed=1)
    for name, key in zip("ab", keys, strict=True):

        def mark(dataset, key=key, shift=0.0 if name == "a" else shift_mm):
            dataset.AcquisitionNumber = key
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, float(z) + shift]

        edit_all(folder / name, mark)
    return first


@pytest.mark.parametrize("shift_mm", [0.0, 0.5, 1.0])
def test_interleaved_acquisitions_are_untangled_by_their_number(tmp_path, shift_mm):
    first = _interleave(tmp_path, keys=(1, 2), shift_mm=shift_mm)
    scan = read_ct(tmp_path)
    np.testing.assert_array_equal(scan.voxels_hu, first)
    assert codes(scan) == ["interleaved_acquisitions"]
    assert "2 acquisitions (44 slices)" in scan.warnings[0].message


@pytest.mark.parametrize("shift_mm", [0.0, 0.5])
def test_interleaved_acquisitions_that_nothing_tells_apart_are_refused(tmp_path, shift_mm):
    _interleave(tmp_path, keys=(1, 1), shift_mm=shift_mm)
    with pytest.raises(ScanGeometryError):
        read_ct(tmp_path)


def test_a_gap_between_acquisitions_is_not_passed_over(tmp_path):
    write_phantom(tmp_path / "ct", voxels=phantom_hu((44, 20, 24)))
    files = files_by_position(tmp_path / "ct")
    for i, path in enumerate(files):
        edit(path, lambda d, number=1 if i < 20 else 2: setattr(d, "AcquisitionNumber", number))
    for path in files[20:24]:
        path.unlink()
    with pytest.raises(ScanGeometryError, match="4 slices are missing"):
        read_ct(tmp_path / "ct")


def test_mixed_orientation_is_refused(tmp_path):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[4]
    edit(path, lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    with pytest.raises(ScanGeometryError, match="differently oriented"):
        read_ct(tmp_path / "ct")


def test_mixed_matrix_is_refused(tmp_path):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[4]
    edit(path, lambda d: setattr(d, "PixelSpacing", [0.5, 0.5]))
    with pytest.raises(ScanGeometryError, match=r"pixel spacing.*export"):
        read_ct(tmp_path / "ct")


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_without_geometry_is_refused_by_name(tmp_path, tag):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[4]
    edit(path, lambda d: delattr(d, tag))
    with pytest.raises(ScanReadError, match=rf"{path.name} has no .*{tag}"):
        read_ct(tmp_path / "ct")


@pytest.mark.parametrize(
    ("shape", "spacing", "problem"),
    [
        ((24, 40, 48), (6.0, 1.0, 1.0), "6 mm apart"),
        ((24, 40, 48), (2.0, 5.5, 5.5), "5.5 mm apart"),
        ((9, 40, 48), (4.0, 1.0, 1.0), "only 9 slices"),
        ((24, 40, 48), (1.0, 1.0, 1.0), "over 24 mm"),
        ((1, 40, 48), (1.0, 1.0, 1.0), "single slice"),
    ],
)
def test_too_coarse_or_too_short_is_refused(tmp_path, shape, spacing, problem):
    write_phantom(tmp_path / "ct", voxels=phantom_hu(shape), grid=Grid(shape, spacing))
    with pytest.raises(ScanGeometryError, match=problem):
        read_ct(tmp_path / "ct")


@pytest.mark.parametrize(
    ("thickness", "step", "expected"),
    [
        (2.0, 2.0, []),
        (3.0, 1.5, ["overlapping_slices"]),
        (5.0, 5.0, ["thick_slices"]),
        (1.0, 2.0, ["gaps_between_slices"]),
    ],
)
def test_warnings_about_slice_thickness(tmp_path, thickness, step, expected):
    write_phantom(
        tmp_path / "ct",
        grid=Grid((24, 40, 48), (step, 1.0, 1.0)),
        acquisition=Acquisition(slice_thickness_mm=thickness),
    )
    assert codes(read_ct(tmp_path / "ct")) == expected


def test_the_grid_written_is_the_grid_read(tmp_path):
    write_phantom(tmp_path / "ct")
    scan = read_ct(tmp_path / "ct")
    expected = phantom_grid()
    assert scan.grid.shape_zyx == expected.shape_zyx
    assert scan.grid.spacing_zyx_mm == expected.spacing_zyx_mm
    assert scan.grid.origin_lps_mm == expected.origin_lps_mm
    assert scan.grid.axes_lps == expected.axes_lps
