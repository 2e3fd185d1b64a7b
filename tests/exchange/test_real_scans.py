"""Every real scan and edge case: read with the right geometry, or refused in one line."""

import zipfile

import numpy as np
import pytest

from miliary.errors import InputError, ScanGeometryError, ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.exchange.dicom.files import FolderFiles
from miliary.exchange.dicom.header import read_dicom_file
from miliary.exchange.dicom.pixels import load_stored

pytestmark = pytest.mark.realdata

# Shape, spacing (z, y, x), z of the lowest slice, warnings.
SERIES = {
    "lidc-idri-0314": ((275, 512, 512), (1.0, 0.78125, 0.78125), -679.800049, {"clipped_low"}),
    "lidc-idri-0003": ((140, 512, 512), (2.5, 0.820312, 0.820312), -379.0, {"contrast_agent"}),
    "lungfcp-01-0001": ((98, 512, 512), (1.0, 0.759765625, 0.759765625), -5.5, {"overlapping_slices"}),
    "lidc-idri-0001": (
        (133, 512, 512),
        (2.5, 0.703125, 0.703125),
        -340.0,
        {"contrast_agent", "clipped_low", "clipped_high"},
    ),
    # 40 slices of three interleaved acquisitions; the first alone is a regular stack.
    "tcga-bc-a3kf": (
        (21, 512, 512),
        (5.0, 0.625, 0.625),
        -331.0,
        {"interleaved_acquisitions", "thick_slices"},
    ),
}

VOLUMES = {
    "3DCT_lung_baseline.mha": ((129, 157, 115), (2.5, 1.366, 1.366)),
    "3DCT_lung_baseline_small.mha": ((64, 78, 57), (5.0, 2.732, 2.732)),
    "3DCT_lung_followup.mha": ((131, 166, 115), (2.5, 1.366, 1.366)),
}
MASKS = ["3DCT_lung_baseline_mask.mha", "3DCT_lung_followup_mask.mha", "3DCT_lung_followup_segmentation.mha"]

MR = "no CT slices .*MR file"
TWO_PATIENTS = "different patients"
EDGE_CASES = {
    "": (ScanReadError, TWO_PATIENTS),
    "cornerstone/testImages": (ScanReadError, TWO_PATIENTS),
    "dcm_qa_ct/In/Philips/S21570/S4010": (ScanReadError, "no CT slices .*6 CT screenshot"),
    "dcm_qa_ct/In/Philips/S21610/S4010": (ScanReadError, "no CT slices .*5 CT screenshot"),
    "dicom-test-files/data/WG04/J2KI": (ScanReadError, TWO_PATIENTS),
    "dicom-test-files/data/WG04/J2KR": (ScanReadError, TWO_PATIENTS),
    "dicom-test-files/data/WG04/JLSL": (ScanReadError, TWO_PATIENTS),
    "dicom-test-files/data/WG04/JLSN": (ScanReadError, TWO_PATIENTS),
    "dicom-test-files/data/WG04/JPLL": (ScanReadError, TWO_PATIENTS),
    "dicom-test-files/data/WG04/REF": (ScanReadError, "an archive; unpack it"),
    "dicom-test-files/data/WG04/RLE": (ScanReadError, TWO_PATIENTS),
    "dicom2nifti/tests/data/failing/gantrytilting/001": (ScanGeometryError, r"14\.0 degrees \(gantry tilt\)"),
    "dicom2nifti/tests/data/failing/notavolume/001": (
        ScanGeometryError,
        "different slices at the same position",
    ),
    "dicom2nifti/tests/data/failing/slicecount/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/failing/sliceincrement/001": (ScanGeometryError, "1 slice is missing between"),
    "dicom2nifti/tests/data/failing/sliceincrement/002": (ScanGeometryError, "gantry tilt"),
    "dicom2nifti/tests/data/failing/sliceorientation/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/generic/compressed/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/generic/compressed_j2k/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/generic/compressed_jpeg/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/generic/compressed_jpegls/001": (ScanReadError, MR),
    "dicom2nifti/tests/data/generic/compressed_rle/001": (ScanReadError, MR),
    "pydicom-data": (ScanReadError, TWO_PATIENTS),
}

# One CT slice in many transfer syntaxes: largest difference from the original [HU]; None cannot be decoded.
SYNTAXES = {
    "BigEndianExplicit": 0,
    "DeflatedExplicitVRLittleEndian": 0,
    "JPEG2000LosslessOnly": 0,
    "JPEG2000": 5,
    "JPEGLSLossless": 0,
    "JPEGLSLossy": 1,
    "JPEGProcess10_12": None,
    "JPEGProcess14SV1": 0,
    "JPEGProcess14": 0,
    "JPEGProcess1": 65,
    "JPEGProcess2_4": None,
    "JPEGProcess6_8": None,
    "LittleEndianExplicit": 0,
    "LittleEndianImplicit": 0,
    "RLELossless": 0,
}


@pytest.fixture(scope="module")
def edge_dir(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    with zipfile.ZipFile(data_dir / "dicom-edge-cases" / "files.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", SERIES)
def test_series_have_their_geometry(data_dir, name):
    shape, spacing, lowest_mm, warnings = SERIES[name]
    scan = read_ct(data_dir / name / "dicom.zip")
    assert scan.grid.shape_zyx == shape
    assert scan.grid.spacing_zyx_mm == pytest.approx(spacing, abs=1e-6)
    assert scan.grid.origin_lps_mm[2] == pytest.approx(lowest_mm)
    assert scan.voxels_hu.dtype == np.int16
    assert scan.voxels_hu.min() >= -1500
    assert {w.code for w in scan.warnings} == warnings
    # The spine lies behind the middle and lung above the liver: bone is towards the back.
    bone = np.argwhere(scan.voxels_hu[:: shape[0] // 10, ::4, ::4] > 400)[:, 1].mean() / (shape[1] / 4)
    assert bone > 0.5


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_have_their_geometry(data_dir, name):
    shape, spacing = VOLUMES[name]
    scan = read_ct(data_dir / "elastix-3dct-lung-pair" / name)
    assert scan.grid.shape_zyx == shape
    assert scan.grid.spacing_zyx_mm == pytest.approx(spacing)


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_no_ct(data_dir, name):
    with pytest.raises(ScanReadError, match=f"{name}: implausible HU"):
        read_ct(data_dir / "elastix-3dct-lung-pair" / name)


@pytest.mark.parametrize("folder", EDGE_CASES)
def test_edge_cases_are_refused_in_one_line(edge_dir, folder, capfd):
    error, message = EDGE_CASES[folder]
    with pytest.raises(error, match=message) as caught:
        read_ct(edge_dir / folder)
    assert "\n" not in str(caught.value)
    assert str(edge_dir) not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_table_of_edge_cases_is_complete(edge_dir):
    folders = {f.parent.relative_to(edge_dir).as_posix() for f in edge_dir.rglob("*") if f.is_file()}
    assert {folder or "." for folder in EDGE_CASES} == folders


def test_every_single_file_of_the_edge_cases_is_refused_in_one_line(edge_dir, capfd):
    for path in sorted(edge_dir.rglob("*")):
        if path.is_file():
            with pytest.raises(InputError) as caught:
                read_ct(path)
            assert "\n" not in str(caught.value)
            assert path.name in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes_of_one_slice(edge_dir, syntax, capfd):
    folder = edge_dir / "cornerstone" / "testImages"
    original = _slice_hu(folder / "CTImage.dcm")
    (path,) = folder.glob(f"CTImage.dcm_{syntax}TransferSyntax*")
    worst = SYNTAXES[syntax]
    if worst is None:
        with pytest.raises(ScanReadError, match="cannot be decoded"):
            _slice_hu(path)
    else:
        assert np.abs(_slice_hu(path) - original).max() <= worst
    assert capfd.readouterr() == ("", "")


def _slice_hu(path):
    files = FolderFiles(path)
    header = read_dicom_file(files, path.name)
    assert header is not None
    (one,) = header.slices
    return load_stored(files, one).astype(float) * one.slope + one.intercept
