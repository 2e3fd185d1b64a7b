"""Lung masks made elsewhere: every kind of file and labels, on the grid of the scan or another."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from miliary.errors import InputError, ScanGeometryError, ScanReadError
from miliary.exchange.masks.lung_labels import side_of_name
from miliary.exchange.masks.lung_mask import read_lung_mask
from miliary.exchange.volumes.metaimage import write_metaimage
from miliary.exchange.volumes.nifti import write_nifti
from miliary.exchange.volumes.nrrd import write_nrrd
from miliary.model.scan import Grid, Scan
from tests.exchange.scans import phantom_grid, phantom_hu

RIGHT, LEFT, BOTH = 1, 2, 3


@pytest.fixture(scope="module")
def scan():
    voxels = phantom_hu()
    return Scan(voxels, phantom_grid())


@pytest.fixture(scope="module")
def truth(scan):
    """1 right, 2 left: the air on each side of the middle, inside the body."""
    nz, ny, nx = scan.grid.shape_zyx
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (nz, ny, nx)), indexing="ij")
    right = ((x + 0.4) / 0.28) ** 2 + (y / 0.45) ** 2 + ((z - 0.1) / 1.4) ** 2 < 1
    left = ((x - 0.4) / 0.22) ** 2 + ((y - 0.1) / 0.4) ** 2 + ((z + 0.1) / 1.3) ** 2 < 1
    return (right * RIGHT + left * LEFT).astype(np.uint8)


def _write(path: Path, labels: np.ndarray, grid: Grid, writer: Callable[..., None] = write_nifti) -> Path:
    place = {
        "spacing_mm": grid.spacing_zyx_mm,
        "origin_lps_mm": grid.origin_lps_mm,
        "axes_lps": grid.axes_lps,
    }
    writer(path, labels, **place)
    return path


def _lobes(truth: np.ndarray, numbers: dict[str, int]) -> np.ndarray:
    """The lungs cut into lobes by height; numbers of LU, LL, RU, RM, RL."""
    height = np.arange(len(truth))[:, None, None]
    n = len(truth)
    out = np.zeros(truth.shape, dtype=np.uint8)
    out[(truth == LEFT) & (height >= n // 2)] = numbers["LU"]
    out[(truth == LEFT) & (height < n // 2)] = numbers["LL"]
    out[(truth == RIGHT) & (height >= 2 * n // 3)] = numbers["RU"]
    out[(truth == RIGHT) & (height < 2 * n // 3)] = numbers["RM"]
    out[(truth == RIGHT) & (height < n // 3)] = numbers["RL"]
    return out


NUMBERS = ("LU", "LL", "RU", "RM", "RL")
KINDS = {
    "lungmask R231": lambda t: t,
    "lungmask LTRCLobes": lambda t: _lobes(t, dict(zip(NUMBERS, (1, 2, 3, 4, 5), strict=True))),
    "TotalSegmentator": lambda t: np.where(
        t == 0, 5, _lobes(t, dict(zip(NUMBERS, (10, 11, 12, 13, 14), strict=True)))
    ).astype(np.uint8),
    "first edition": lambda t: np.where(
        t == 0, 5, _lobes(t, dict(zip(NUMBERS, (13, 14, 15, 16, 17), strict=True)))
    ).astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_known_programs_are_read_as_they_are(tmp_path, scan, truth, kind):
    mask = read_lung_mask(_write(tmp_path / "mask.nii.gz", KINDS[kind](truth), scan.grid), scan)
    assert kind in mask.source
    assert mask.warnings == ()
    np.testing.assert_array_equal(mask.labels, truth)


@pytest.mark.parametrize(
    ("name", "writer"),
    [("m.nii", write_nifti), ("m.nii.gz", write_nifti), ("m.nrrd", write_nrrd), ("m.mha", write_metaimage)],
)
def test_one_label_is_lung_of_both_sides_in_every_format(tmp_path, scan, truth, name, writer):
    mask = read_lung_mask(
        _write(tmp_path / name, (truth > 0).astype(np.uint8) * 255, scan.grid, writer), scan
    )
    np.testing.assert_array_equal(mask.labels, np.where(truth > 0, BOTH, 0))


def test_two_labels_with_the_sides_the_other_way_are_told_apart_by_place(tmp_path, scan, truth):
    swapped = np.where(truth > 0, 3 - truth, 0).astype(np.uint8)
    mask = read_lung_mask(_write(tmp_path / "m.nii.gz", swapped, scan.grid), scan)
    np.testing.assert_array_equal(mask.labels > 0, truth > 0)
    assert set(np.unique(mask.labels)) == {0, BOTH}


def test_a_folder_of_lobes_is_joined_and_a_single_lobe_is_refused(tmp_path, scan, truth):
    lobes = _lobes(truth, dict(zip(NUMBERS, (1, 2, 3, 4, 5), strict=True)))
    names = (
        "upper_lobe_left",
        "lower_lobe_left",
        "upper_lobe_right",
        "middle_lobe_right",
        "lower_lobe_right",
    )
    for number, name in enumerate(names, start=1):
        _write(tmp_path / f"lung_{name}.nii.gz", (lobes == number).astype(np.uint8), scan.grid)
    _write(tmp_path / "heart.nii.gz", (truth == 0).astype(np.uint8), scan.grid)
    mask = read_lung_mask(tmp_path, scan)
    np.testing.assert_array_equal(mask.labels, truth)
    with pytest.raises(ScanReadError, match="one lobe"):
        read_lung_mask(tmp_path / "lung_upper_lobe_left.nii.gz", scan)


def test_names_in_the_file_come_before_numbers(tmp_path, scan, truth):
    """TotalSegmentator writes them into NIfTI, 3D Slicer into NRRD."""
    plain = gzip.decompress(_write(tmp_path / "m.nii.gz", 20 + truth, scan.grid).read_bytes())
    names = {20: b"heart", 21: b"<![CDATA[lung_right]]>", 22: b"lung_left"}
    text = b"".join(b'<Label Key="%d">%s</Label>' % item for item in names.items())
    text += b" " * (-(len(text) + 8) % 16)
    header = bytearray(plain[:352])
    header[348:352] = b"\1\0\0\0"
    header[108:112] = np.float32(352 + len(text) + 8).tobytes()
    extension = np.array([len(text) + 8, 0], dtype="<i4").tobytes() + text
    (tmp_path / "named.nii.gz").write_bytes(gzip.compress(bytes(header) + extension + plain[352:]))
    np.testing.assert_array_equal(read_lung_mask(tmp_path / "named.nii.gz", scan).labels, truth)
    raw = _write(tmp_path / "m.nrrd", 20 + truth, scan.grid, write_nrrd).read_bytes()
    named = ((0, 21, b"right lung"), (1, 22, b"left lung"))
    lines = b"".join(
        b"Segment%d_LabelValue:=%d\nSegment%d_Name:=%s\n" % (i, n, i, name) for i, n, name in named
    )
    (tmp_path / "named.seg.nrrd").write_bytes(raw.replace(b"\n\n", b"\n" + lines + b"\n", 1))
    np.testing.assert_array_equal(read_lung_mask(tmp_path / "named.seg.nrrd", scan).labels, truth)


def write_seg(path: Path, labels: np.ndarray, grid: Grid, names: dict[int, str]) -> Path:
    """A binary DICOM SEG that leaves out empty frames, its frames in falling order."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SegmentationStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Modality, data.SegmentationType = "SEG", "BINARY"
    data.Rows, data.Columns = labels.shape[1:]
    data.BitsAllocated = data.BitsStored = data.SamplesPerPixel = 1
    data.HighBit = data.PixelRepresentation = 0
    data.PhotometricInterpretation = "MONOCHROME2"
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = list(grid.spacing_zyx_mm[1:])
    measures.SliceThickness = grid.spacing_zyx_mm[0]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    data.SegmentSequence, groups, frames = [], [], []
    for number, name in names.items():
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        data.SegmentSequence.append(segment)
        for k in range(len(labels) - 1, -1, -1):
            if (labels[k] == number).any():
                group, plane, which = Dataset(), Dataset(), Dataset()
                plane.ImagePositionPatient = [float(v) for v in grid.lps_from_index((k, 0, 0))]
                which.ReferencedSegmentNumber = number
                group.PlanePositionSequence, group.SegmentIdentificationSequence = [plane], [which]
                groups.append(group)
                frames.append(labels[k] == number)
    data.PerFrameFunctionalGroupsSequence = groups
    data.NumberOfFrames = len(frames)
    bits = np.packbits(np.concatenate([frame.ravel() for frame in frames]), bitorder="little").tobytes()
    data.PixelData = bits + b"\0" * (len(bits) % 2)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_dicom_seg_is_read_by_the_names_of_its_segments(tmp_path, scan, truth, in_folder):
    labels = truth.copy()
    labels[0, :5, :5] = 3
    path = write_seg(tmp_path / "seg.dcm", labels, scan.grid, {1: "Right lung", 2: "Left lung", 3: "Trachea"})
    mask = read_lung_mask(tmp_path if in_folder else path, scan)
    np.testing.assert_array_equal(mask.labels, truth)
    assert "DICOM SEG" in mask.source


def test_a_mask_on_another_grid_is_resampled_and_said(tmp_path, scan, truth):
    coarse = Grid((12, 20, 24), tuple(2 * s for s in scan.grid.spacing_zyx_mm), scan.grid.origin_lps_mm)
    mask = read_lung_mask(_write(tmp_path / "m.nii.gz", truth[::2, ::2, ::2], coarse), scan)
    assert "lung_mask_resampled" in {warning.code for warning in mask.warnings}
    both = np.count_nonzero(mask.labels) + np.count_nonzero(truth)
    assert 2 * np.count_nonzero((mask.labels == truth) & (truth > 0)) / both > 0.85
    turned = Grid(scan.grid.shape_zyx, scan.grid.spacing_zyx_mm, tuple(scan.grid.lps_from_index((23, 39, 0))),
                  ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)))  # fmt: skip
    same = read_lung_mask(_write(tmp_path / "t.nii.gz", truth[::-1, ::-1], turned), scan)
    assert same.warnings == ()
    np.testing.assert_array_equal(same.labels, truth)


def _far(grid: Grid) -> Grid:
    return Grid(grid.shape_zyx, grid.spacing_zyx_mm, (500.0, 0.0, 0.0))


REFUSED = {
    "empty": (lambda t: 0 * t, lambda g: g, "empty"),
    "elsewhere": (lambda t: t, _far, "elsewhere"),
    "unknown labels": (lambda t: np.where(t > 0, t + 40, 9).astype(np.uint8), lambda g: g, "not known"),
    "a scan": (lambda t: t.astype(np.int16) * -700, lambda g: g, "as a scan does"),
    "fractions": (lambda t: t.astype(np.float32) * 0.3, lambda g: g, "fractions"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_mask_of_this_scan_is_refused_in_one_line(tmp_path, scan, truth, case):
    change, place, words = REFUSED[case]
    path = _write(tmp_path / "m.nii.gz", change(truth), place(scan.grid))
    with pytest.raises(InputError, match=words) as error:
        read_lung_mask(path, scan)
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_missing_file_and_another_file_are_refused(tmp_path, scan):
    (tmp_path / "notes.txt").write_text("lungs")
    for name, words in (
        ("none.nii.gz", "does not exist"),
        ("notes.txt", "no lung mask"),
        ("", "no DICOM SEG"),
    ):
        with pytest.raises(ScanReadError, match=words):
            read_lung_mask(tmp_path / name, scan)


def test_a_mask_without_a_place_is_taken_voxel_by_voxel_where_its_size_fits(tmp_path, scan, truth):
    path = _write(tmp_path / "m.nii", truth, scan.grid)
    data = bytearray(path.read_bytes())
    data[252:256] = b"\0\0\0\0"
    path.write_bytes(bytes(data))
    mask = read_lung_mask(path, scan)
    assert [warning.code for warning in mask.warnings] == ["lung_mask_without_place"]
    np.testing.assert_array_equal(mask.labels, truth)
    other = Scan(scan.voxels_hu[1:], scan.grid.crop((1, 0, 0), (23, 40, 48)))
    with pytest.raises(ScanGeometryError, match="orientation"):
        read_lung_mask(path, other)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("lung_upper_lobe_left", LEFT),
        ("Right lung", RIGHT),
        ("Left and right lungs", BOTH),
        ("Lower lobe of right lung", RIGHT),
        ("lung", BOTH),
        ("lung vessels", None),
        ("Left lung nodule", None),
        ("temporal lobe left", None),
        ("heart", None),
        ("upper lobe", None),
    ],
)
def test_a_name_says_the_side_or_that_it_is_no_lung(name, side):
    assert side_of_name(name) == side
