"""What cannot be measured: one line that names it, exit code 2, nothing left behind."""

import re

import numpy as np
import pydicom
import pytest

from miliary.cli.main import main
from miliary.exchange.volumes.volume_file import write_volume
from miliary.model.scan import Grid
from tests.exchange.scans import edit, edit_all, files_by_position, phantom_grid, phantom_hu, write_phantom


def _head_hu():
    """A ball of brain in a shell of bone in air."""
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 for n in (60, 80, 80)), indexing="ij")
    radius = np.sqrt((z * 2.5) ** 2 + (y * 2.5) ** 2 + (x * 2.5) ** 2)
    return np.select([radius < 65, radius < 72], [35, 1000], -1000).astype(np.int16)


def empty_folder(place):
    (place / "ct").mkdir()
    return place / "ct"


def one_slice(place):
    write_phantom(place / "ct")
    for path in files_by_position(place / "ct")[1:]:
        path.unlink()
    return place / "ct"


def truncated_file(place):
    write_phantom(place / "ct")
    path = files_by_position(place / "ct")[7]
    path.write_bytes(path.read_bytes()[:-400])
    return place / "ct"


def text_named_dcm(place):
    (place / "ct").mkdir()
    (place / "ct/note.dcm").write_text("This is not DICOM.\n" * 40)
    return place / "ct"


def mr_series(place):
    def to_mr(dataset):
        dataset.Modality = "MR"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"

    write_phantom(place / "ct")
    edit_all(place / "ct", to_mr)
    return place / "ct"


def two_patients(place):
    write_phantom(place / "ct")
    for path in files_by_position(place / "ct")[10:]:
        edit(path, lambda dataset: setattr(dataset, "PatientID", "SECRET-2"))
    return place / "ct"


def missing_slices(place):
    write_phantom(place / "ct")
    for path in files_by_position(place / "ct")[8:11]:
        path.unlink()
    return place / "ct"


def overflow_rescale(place):
    """Values stored as unsigned numbers where the scanner meant signed ones."""
    voxels = write_phantom(place / "ct")
    wrapped = (voxels.astype(np.int32) % 65536).astype(np.uint16)

    for plane, path in zip(wrapped, files_by_position(place / "ct"), strict=True):
        dataset = pydicom.dcmread(path)
        dataset.PixelRepresentation, dataset.RescaleIntercept, dataset.RescaleSlope = 0, 0, 1
        dataset.PixelData = plane.tobytes()
        dataset.save_as(path, enforce_file_format=True)
    return place / "ct"


def head(place):
    voxels = _head_hu()
    write_phantom(place / "ct", voxels=voxels, grid=Grid(voxels.shape, (2.5, 2.5, 2.5)))
    return place / "ct"


def nan_nifti(place):
    voxels = phantom_hu().astype(np.float32)
    voxels[3, 4, 5] = np.nan
    write_volume(place / "ct.nii.gz", voxels, phantom_grid())
    return place / "ct.nii.gz"


def nothing_there(place):
    return place / "ct"


BAD = {
    empty_folder: r"ct is empty",
    one_slice: r"ct .*single slice",
    truncated_file: r"image-\d+\.dcm is truncated",
    text_named_dcm: r"note\.dcm is not a DICOM file",
    mr_series: r"ct .*no CT slices",
    two_patients: r"ct .*different patients",
    missing_slices: r"3 slices are missing between image-\d+\.dcm and image-\d+\.dcm",
    overflow_rescale: r"image-\d+\.dcm .*16-bit overflow",
    head: r"ct: .*lungs",
    nan_nifti: r"ct\.nii\.gz holds NaN",
    nothing_there: r"ct does not exist",
}


@pytest.mark.parametrize(("spoil", "message"), BAD.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capfd, spoil, message):
    scan = spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["ct", str(scan), "--out", str(tmp_path / "results" / "out")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    *progress, last = err.splitlines()
    assert re.match(rf"miliary: error: .*{message}.*[;,] \w+", last)
    assert all(line.startswith("  ") for line in progress)
    assert "SECRET" not in err
    assert str(tmp_path) not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unwritable_output_is_one_line(tmp_path, capfd):
    write_phantom(tmp_path / "ct")
    (tmp_path / "file").write_text("")
    assert main(["ct", str(tmp_path / "ct"), "--out", str(tmp_path / "file" / "out")]) == 2
    assert capfd.readouterr().err == (
        "miliary: error: out: cannot write there (not a directory); choose another folder\n"
    )
