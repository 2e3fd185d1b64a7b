"""NIfTI, NRRD and MetaImage in and out; SimpleITK judges what is written."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from miliary.errors import OutputError, ScanGeometryError, ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.exchange.volumes.volume_file import write_label_volume, write_volume
from miliary.model.scan import Grid, SourceOrder
from tests.exchange.scans import SPACING, bright_point_lps_mm, phantom_grid, phantom_hu

FORMATS = ["nii", "nii.gz", "nrrd", "mha"]


def itk_image(voxels, *, spacing=SPACING, origin=(-31.5, -22.25, 104.5), direction=None):
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(np.asarray(direction, dtype=float).ravel().tolist())
    return image


def write_itk(path, voxels, **geometry):
    sitk.WriteImage(itk_image(voxels, **geometry), str(path))
    return path


def itk_bright_point(path):
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = np.unravel_index(int(voxels.argmax()), voxels.shape)
    return np.array(image.TransformIndexToPhysicalPoint((int(x), int(y), int(z))))


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_itk_writes_is_read(tmp_path, suffix):
    voxels = phantom_hu()
    scan = read_ct(write_itk(tmp_path / f"ct.{suffix}", voxels))
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert scan.voxels_hu.dtype == np.int16
    np.testing.assert_allclose(scan.grid.origin_lps_mm, (-31.5, -22.25, 104.5))
    assert scan.grid.spacing_zyx_mm == SPACING
    assert scan.warnings == ()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_written_itk_reads(tmp_path, suffix, dtype):
    voxels = phantom_hu().astype(dtype) + dtype(0.25 if dtype is np.float32 else 0)
    path = tmp_path / f"ct.{suffix}"
    write_volume(path, voxels, phantom_grid())
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    np.testing.assert_allclose(image.GetSpacing(), SPACING[::-1], atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), phantom_grid().origin_lps_mm, atol=1e-4)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-6)
    np.testing.assert_array_equal(read_ct(path).voxels_hu, voxels)


@given(
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
    st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    st.sampled_from(FORMATS),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_direction_keeps_points_and_labels_go_back_on_the_files_grid(
    tmp_path_factory, permutation, flips, turn, suffix
):
    folder = tmp_path_factory.mktemp("volume")
    voxels = phantom_hu()
    direction = Rotation.from_rotvec(turn).as_matrix()[:, list(permutation)] * np.where(flips, -1.0, 1.0)
    # Thin enough along every axis to be the slice axis after reordering.
    path = write_itk(folder / f"ct.{suffix}", voxels, spacing=(2.0, 1.5, 1.25), direction=direction)
    scan = read_ct(path)
    np.testing.assert_allclose(
        bright_point_lps_mm(scan.voxels_hu, scan.grid), itk_bright_point(path), atol=1e-3
    )
    assert (np.diag(np.array(scan.grid.axes_lps)[:, ::-1]) > 0.7).all()
    write_label_volume(
        folder / "labels.nii.gz", (scan.voxels_hu > 500).astype(np.uint8), scan.grid, scan.source_order
    )
    labels = sitk.ReadImage(str(folder / "labels.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), voxels > 500)
    np.testing.assert_allclose(labels.GetOrigin(), sitk.ReadImage(str(path)).GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(labels.GetDirection(), direction.ravel(), atol=1e-5)
    np.testing.assert_allclose(labels.GetSpacing(), SPACING[::-1], atol=1e-5)


def test_scaling_of_nifti_is_applied(tmp_path):
    voxels = phantom_hu()
    path = tmp_path / "ct.nii"
    write_volume(path, voxels + np.int16(1024), phantom_grid())
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([1.0, -1024.0], "<f4").tobytes()
    path.write_bytes(bytes(data))
    np.testing.assert_array_equal(read_ct(path).voxels_hu, voxels)
    data[112:120] = np.array([np.nan, 0.0], "<f4").tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(ScanReadError, match="implausible HU"):
        read_ct(path)


def test_big_endian_and_four_dimensions_of_one_volume(tmp_path):
    voxels = phantom_hu()
    image = sitk.JoinSeries([itk_image(voxels)])
    sitk.WriteImage(image, str(tmp_path / "four.nii"))
    np.testing.assert_array_equal(read_ct(tmp_path / "four.nii").voxels_hu, voxels)
    sitk.WriteImage(image, str(tmp_path / "four.nrrd"))
    np.testing.assert_array_equal(read_ct(tmp_path / "four.nrrd").voxels_hu, voxels)


def test_a_file_without_orientation_is_read_with_a_warning(tmp_path):
    path = write_itk(tmp_path / "ct.nii", phantom_hu())
    data = bytearray(path.read_bytes())
    data[252:256] = bytes(4)
    path.write_bytes(bytes(data))
    assert [w.code for w in read_ct(path).warnings] == ["orientation_unknown"]


def test_padding_becomes_minus_1024(tmp_path):
    voxels = phantom_hu()
    padded = voxels.copy()
    padded[:, :3] = -3024
    scan = read_ct(write_itk(tmp_path / "ct.nii.gz", padded))
    assert (scan.voxels_hu[:, :3] == -1024).all()
    np.testing.assert_array_equal(scan.voxels_hu[:, 3:], voxels[:, 3:])


def test_whole_numbers_in_floats_become_int16(tmp_path):
    scan = read_ct(write_itk(tmp_path / "ct.nii.gz", phantom_hu().astype(np.float64)))
    assert scan.voxels_hu.dtype == np.int16


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused(tmp_path, suffix, value):
    voxels = phantom_hu().astype(np.float32)
    voxels[3, 3, 3] = value
    path = write_itk(tmp_path / f"ct.{suffix}", voxels)
    with pytest.raises(ScanReadError, match=rf"ct\.{suffix} holds NaN or infinite"):
        read_ct(path)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_files_are_refused(tmp_path, capfd, suffix, keep, compressed):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(itk_image(phantom_hu()), str(path), useCompression=compressed)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ScanReadError, match=rf"ct\.{suffix}") as caught:
        read_ct(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", FORMATS)
def test_text_under_the_name_of_a_volume_is_refused(tmp_path, suffix):
    path = tmp_path / f"ct.{suffix}"
    path.write_text("not a volume " * 100)
    with pytest.raises(ScanReadError, match=rf"ct\.{suffix}"):
        read_ct(path)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_several_volumes_and_colors_are_refused(tmp_path, suffix):
    series = sitk.JoinSeries([itk_image(phantom_hu()), itk_image(phantom_hu(seed=1))])
    sitk.WriteImage(series, str(tmp_path / f"time.{suffix}"))
    with pytest.raises(ScanReadError, match="dimensions"):
        read_ct(tmp_path / f"time.{suffix}")
    color = sitk.GetImageFromArray(np.zeros((12, 20, 20, 3), np.uint8), isVector=True)
    sitk.WriteImage(color, str(tmp_path / f"color.{suffix}"))
    with pytest.raises(ScanReadError, match="color"):
        read_ct(tmp_path / f"color.{suffix}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v + 1024, "implausible HU"),
        (lambda v: (v > 0).astype(np.uint8), "implausible HU"),
        (lambda v: v.astype(np.uint16), "16-bit overflow"),
        (lambda v: v * 0, "every voxel is 0"),
    ],
)
def test_what_is_not_hu_is_refused(tmp_path, change, message):
    path = write_itk(tmp_path / "ct.nii.gz", change(phantom_hu()))
    with pytest.raises(ScanReadError, match=message):
        read_ct(path)


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((24, 40, 48), (6.0, 1.0, 1.0), "6 mm apart"),
        ((24, 40, 48), (1.0, 1.0, 1.0), "over 24 mm"),
        ((8, 40, 48), (5.0, 1.0, 1.0), "only 8 slices"),
    ],
)
def test_too_coarse_or_too_short_is_refused(tmp_path, shape, spacing, message):
    path = write_itk(tmp_path / "ct.nii.gz", phantom_hu(shape), spacing=spacing)
    with pytest.raises(ScanGeometryError, match=message):
        read_ct(path)


def test_a_volume_file_has_no_series(tmp_path):
    path = write_itk(tmp_path / "ct.nii.gz", phantom_hu())
    with pytest.raises(ScanReadError, match="no series to choose"):
        read_ct(path, series=2)


def test_sheared_axes_are_refused(tmp_path):
    path = write_itk(tmp_path / "ct.nii", phantom_hu())
    data = bytearray(path.read_bytes())
    srow = np.frombuffer(bytes(data[280:328]), "<f4").reshape(3, 4).copy()
    srow[0, 1] += 0.3
    data[280:328] = srow.tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(ScanGeometryError, match="sheared"):
        read_ct(path)


def test_a_folder_of_volume_files_points_to_the_file(tmp_path):
    write_itk(tmp_path / "ct.nii.gz", phantom_hu())
    with pytest.raises(ScanReadError, match=r"ct\.nii\.gz, a volume file; give that file itself"):
        read_ct(tmp_path)


def test_labels_of_a_large_run_are_small(tmp_path):
    labels = np.zeros((50, 100, 100), np.uint8)
    labels[10:40, 20:80, 20:80] = 1
    grid = Grid(labels.shape, (1.0, 1.0, 1.0))
    write_label_volume(tmp_path / "l.nii.gz", labels, grid, SourceOrder())
    assert (tmp_path / "l.nii.gz").stat().st_size < 10_000
    with gzip.open(tmp_path / "l.nii.gz") as file:
        assert len(file.read()) == 352 + labels.size


def test_writing_where_it_cannot_be_is_an_output_error(tmp_path):
    for name in ("missing/ct.nii.gz", "missing/ct.mha"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_volume(tmp_path / name, phantom_hu(), phantom_grid())
    with pytest.raises(OutputError, match="unknown volume format"):
        write_volume(tmp_path / "ct.tif", phantom_hu(), phantom_grid())
    with pytest.raises(OutputError, match="NIfTI"):
        write_label_volume(
            tmp_path / "l.mha", np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), (1, 1, 1)), SourceOrder()
        )
