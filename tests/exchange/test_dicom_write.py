"""What is written as DICOM is valid, marked as simulated, repeatable, and comes back."""

import numpy as np
import pydicom
import pytest

from miliary.errors import OutputError
from miliary.exchange.ct_read import read_ct
from miliary.exchange.dicom.write_ct import write_dicom_series
from miliary.model.scan import Acquisition, Grid
from tests.exchange.scans import files_by_position, phantom_grid, phantom_hu, write_phantom


def test_round_trip(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    scan = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert scan.grid == phantom_grid()
    assert scan.warnings == ()


def test_float_voxels_are_rounded_and_the_range_is_kept(tmp_path):
    voxels = phantom_hu().astype(np.float32) + 0.3
    voxels[5, 5, 5] = 30000.0
    voxels[5, 5, 6] = 70000.0
    write_phantom(tmp_path / "ct", voxels=voxels)
    found = read_ct(tmp_path / "ct").voxels_hu
    assert found[5, 5, 5] == 30000
    assert found[5, 5, 6] == 32767 - 1024
    np.testing.assert_array_equal(found[6:], np.rint(voxels[6:]))


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_phantom(tmp_path / name, seed=seed)
    content = {name: {p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())} for name in "abc"}
    assert content["a"] == content["b"]
    assert content["a"] != content["c"]


def test_headers_say_simulated_and_uids_are_unique(tmp_path):
    write_phantom(tmp_path / "ct")
    slices = [pydicom.dcmread(path) for path in files_by_position(tmp_path / "ct")]
    first = slices[0]
    assert first.SOPClassUID.name == "CT Image Storage"
    assert first.PatientName == "Simulated"
    assert first.PatientID.startswith("SIMULATED-")
    assert first.BodyPartExamined == "CHEST"
    assert list(first.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert len({s.SOPInstanceUID for s in slices}) == len(slices)
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    assert all(s.SOPInstanceUID == s.file_meta.MediaStorageSOPInstanceUID for s in slices)
    assert [s.InstanceNumber for s in slices] == list(range(1, len(slices) + 1))


def test_names_do_not_give_the_order_away(tmp_path):
    write_phantom(tmp_path / "ct")
    names = [path.name for path in files_by_position(tmp_path / "ct")]
    assert names != sorted(names)
    assert names != sorted(names, reverse=True)


def test_awkward_positions_fit_their_fields(tmp_path):
    voxels = phantom_hu()
    grid = Grid(voxels.shape, (2.0000001, 1.0 / 3.0, 0.7), (-123.456789012345, 1e-9, -1234.56789))
    write_phantom(tmp_path / "ct", voxels=voxels, grid=grid)
    found = read_ct(tmp_path / "ct").grid
    np.testing.assert_allclose(found.origin_lps_mm, grid.origin_lps_mm, atol=1e-6)
    np.testing.assert_allclose(found.spacing_zyx_mm, grid.spacing_zyx_mm, atol=1e-6)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not empty"):
        write_phantom(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "ct")


def test_a_wrong_shape_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="shape"):
        write_dicom_series(
            tmp_path, phantom_hu(), Grid((3, 4, 5), (1, 1, 1)), acquisition=Acquisition(), seed=0
        )
