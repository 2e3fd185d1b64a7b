"""DICOM in: containers, encodings, values, bad input, identity."""

import zipfile

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from miliary.errors import InputError, ScanGeometryError, ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.model.scan import Acquisition, Grid
from tests.exchange.scans import (
    edit,
    edit_all,
    files_by_position,
    phantom_grid,
    phantom_hu,
    write_multiframe,
    write_phantom,
)


def codes(scan):
    return [warning.code for warning in scan.warnings]


def zip_folder(folder, path, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"inside/{file.relative_to(folder)}")
    return path


# Containers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_reads_like_its_folder_and_leaves_nothing_behind(tmp_path, compression):
    voxels = write_phantom(tmp_path / "ct")
    path = zip_folder(tmp_path / "ct", tmp_path / "ct.zip", compression=compression)
    before = sorted(tmp_path.rglob("*"))
    scan = read_ct(path)
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert scan.acquisition.source_format == "dicom zip"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_multi_frame_file_reads_like_its_slices(tmp_path):
    voxels = phantom_hu()
    order = np.random.default_rng(1).permutation(len(voxels)).tolist()
    write_multiframe(tmp_path / "all.dcm", voxels, phantom_grid(), frames=order)
    scan = read_ct(tmp_path / "all.dcm")
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert scan.grid.origin_lps_mm == phantom_grid().origin_lps_mm
    assert scan.acquisition.n_files == 1
    assert scan.acquisition.kernel == "B30f"


def test_threads_do_not_matter(tmp_path):
    write_phantom(tmp_path / "ct")
    one, four = (read_ct(tmp_path / "ct", n_threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one.voxels_hu, four.voxels_hu)
    assert (one.grid, one.acquisition, one.warnings) == (four.grid, four.acquisition, four.warnings)


def test_notes_beside_the_slices_are_passed_over(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    (tmp_path / "ct" / "readme.txt").write_text("hello")
    (tmp_path / "ct" / "._slice.dcm").write_bytes(b"resource fork")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").voxels_hu, voxels)


# Encodings ----------------------------------------------------------------------------------------

LOSSLESS = {
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def recode(path, uid):
    dataset = pydicom.dcmread(path)
    syntax = UID(uid)
    if syntax.is_encapsulated:
        dataset.compress(uid)
    else:
        if not syntax.is_little_endian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
    raw = (syntax.is_implicit_VR, syntax.is_little_endian) if not syntax.is_encapsulated else (False, True)
    pydicom.dcmwrite(path, dataset, implicit_vr=raw[0], little_endian=raw[1], enforce_file_format=True)


@pytest.mark.parametrize("uid", LOSSLESS.values(), ids=LOSSLESS)
def test_every_lossless_encoding_gives_the_same_voxels(tmp_path, uid):
    voxels = write_phantom(tmp_path / "ct")
    for path in files_by_position(tmp_path / "ct"):
        recode(path, uid)
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").voxels_hu, voxels)


@pytest.mark.parametrize("uid", [LOSSLESS["JPEG-LS"], LOSSLESS["RLE"], LOSSLESS["deflated"]])
def test_a_damaged_compressed_slice_is_named(tmp_path, uid):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[5]
    recode(path, uid)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - len(data) // 3])
    with pytest.raises(ScanReadError, match=path.name):
        read_ct(tmp_path / "ct")


# Values -------------------------------------------------------------------------------------------


def store(folder, *, intercept, signed, slope=1.0):
    """Keep the HU, change how they are stored."""

    def change(dataset):
        hu = np.frombuffer(dataset.PixelData, "<i2").astype(np.int64) - 1024
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.PixelRepresentation = int(signed)
        dataset.PixelData = np.rint((hu - intercept) / slope).astype("<i2" if signed else "<u2").tobytes()

    edit_all(folder, change)


@pytest.mark.parametrize(
    ("intercept", "signed"), [(0, True), (-1024, True), (-1200, False), (-8192, False), (-32768, False)]
)
def test_any_storage_of_the_same_hu_gives_the_same_voxels(tmp_path, intercept, signed):
    voxels = write_phantom(tmp_path / "ct")
    store(tmp_path / "ct", intercept=intercept, signed=signed)
    scan = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert scan.voxels_hu.dtype == np.int16


def test_a_fractional_slope_gives_float32(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    store(tmp_path / "ct", intercept=-1100, signed=False, slope=0.25)
    scan = read_ct(tmp_path / "ct")
    assert scan.voxels_hu.dtype == np.float32
    np.testing.assert_allclose(scan.voxels_hu, voxels, atol=0.13)


@pytest.mark.parametrize(
    ("padding", "signed"), [(-2000, True), (63536, True), (-32768, True), (63536, False)]
)
def test_padding_becomes_minus_1024(tmp_path, padding, signed):
    voxels = write_phantom(tmp_path / "ct")
    store(tmp_path / "ct", intercept=-1200, signed=signed)

    def pad(dataset):
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(voxels.shape[1:]).copy()
        pixels[:3] = np.array(padding % 65536, dtype=np.uint16).view(np.int16)
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)

    edit_all(tmp_path / "ct", pad)
    scan = read_ct(tmp_path / "ct")
    assert (scan.voxels_hu[:, :3] == -1024).all()
    np.testing.assert_array_equal(scan.voxels_hu[:, 3:], voxels[:, 3:])
    assert "much_padding" not in codes(scan)


def test_a_padding_value_within_tissue_is_not_believed(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    edit_all(tmp_path / "ct", lambda d: d.add_new("PixelPaddingValue", "SS", 1024 + 40))
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").voxels_hu, voxels)


def test_16_bit_overflow_is_refused(tmp_path):
    write_phantom(tmp_path / "ct")
    # Air of -1000 HU written as if it were unsigned.
    edit_all(
        tmp_path / "ct", lambda d: [setattr(d, "PixelRepresentation", 0), setattr(d, "RescaleIntercept", 0)]
    )

    def unsigned(dataset):
        hu = np.frombuffer(dataset.PixelData, "<i2") - 1024
        dataset.PixelData = hu.astype("<i2").tobytes()

    edit_all(tmp_path / "ct", unsigned)
    with pytest.raises(ScanReadError, match=r"image-\d+\.dcm holds 6\d{4} HU: a 16-bit overflow"):
        read_ct(tmp_path / "ct")


@pytest.mark.parametrize("shift", [1024, -1024, 400, 3000])
def test_implausible_hu_are_refused(tmp_path, shift):
    write_phantom(tmp_path / "ct")
    edit_all(tmp_path / "ct", lambda d: setattr(d, "RescaleIntercept", -1024 + shift))
    with pytest.raises(ScanReadError, match="implausible HU"):
        read_ct(tmp_path / "ct")


def test_a_constant_picture_is_refused(tmp_path):
    write_phantom(tmp_path / "ct")
    edit_all(tmp_path / "ct", lambda d: setattr(d, "PixelData", bytes(len(d.PixelData))))
    with pytest.raises(ScanReadError, match="every voxel is -1024"):
        read_ct(tmp_path / "ct")


def without_rescale(dataset):
    del dataset.RescaleSlope
    del dataset.RescaleIntercept


def test_missing_rescale_is_a_warning_where_values_are_hu(tmp_path):
    voxels = write_phantom(tmp_path / "ct")
    store(tmp_path / "ct", intercept=0, signed=True)
    edit_all(tmp_path / "ct", without_rescale)
    scan = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(scan.voxels_hu, voxels)
    assert codes(scan) == ["rescale_missing"]


def test_missing_rescale_is_refused_where_values_are_not_hu(tmp_path):
    write_phantom(tmp_path / "ct")
    edit_all(tmp_path / "ct", without_rescale)
    with pytest.raises(ScanReadError, match="implausible HU"):
        read_ct(tmp_path / "ct")


def test_rescale_missing_on_one_slice_is_refused_by_name(tmp_path):
    write_phantom(tmp_path / "ct")
    path = files_by_position(tmp_path / "ct")[3]
    edit(path, without_rescale)
    with pytest.raises(ScanReadError, match=rf"{path.name} has no RescaleSlope"):
        read_ct(tmp_path / "ct")


def test_clipped_values_are_a_warning(tmp_path):
    write_phantom(tmp_path / "ct", voxels=np.clip(phantom_hu(), -1000, None))
    assert codes(read_ct(tmp_path / "ct")) == ["clipped_low"]
    bright = phantom_hu()
    bright[:, 18:24, 20:26] = 3071
    write_phantom(tmp_path / "metal", voxels=bright)
    assert codes(read_ct(tmp_path / "metal")) == ["clipped_high"]


def test_acquisition_is_what_the_header_says(tmp_path):
    write_phantom(
        tmp_path / "ct",
        acquisition=Acquisition(
            manufacturer="Maker",
            model="Scanner 3",
            kernel="B31f",
            kvp=120,
            exposure_mas=90,
            slice_thickness_mm=2.0,
            contrast_agent=True,
            patient_position="FFS",
        ),
    )
    scan = read_ct(tmp_path / "ct")
    facts = scan.acquisition
    assert (facts.modality, facts.manufacturer, facts.model) == ("CT", "Maker", "Scanner 3")
    assert (facts.kernel, facts.kvp, facts.exposure_mas) == ("B31f", 120.0, 90.0)
    assert (facts.slice_thickness_mm, facts.contrast_agent, facts.patient_position) == (2.0, True, "FFS")
    assert (facts.source_format, facts.n_files) == ("dicom folder", 24)
    assert codes(scan) == ["contrast_agent"]


# Bad input ----------------------------------------------------------------------------------------


def bad_empty_folder(folder):
    for path in folder.glob("*"):
        path.unlink()


def bad_one_slice(folder):
    for path in files_by_position(folder)[1:]:
        path.unlink()


def bad_truncated(folder):
    path = files_by_position(folder)[6]
    path.write_bytes(path.read_bytes()[:-500])


def bad_truncated_header(folder):
    path = files_by_position(folder)[6]
    path.write_bytes(path.read_bytes()[:700])


def bad_truncated_start(folder):
    path = files_by_position(folder)[0]
    path.write_bytes(path.read_bytes()[:150])


def bad_zero_bytes(folder):
    files_by_position(folder)[6].write_bytes(b"")


def bad_text(folder):
    bad_empty_folder(folder)
    (folder / "note.dcm").write_text("This is not DICOM.\n" * 50)


def bad_mr(folder):
    def to_mr(dataset):
        dataset.Modality = "MR"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"

    edit_all(folder, to_mr)


def bad_two_patients(folder):
    for path in files_by_position(folder)[12:]:
        edit(path, lambda d: setattr(d, "PatientID", "someone else"))


def bad_two_birth_dates(folder):
    for i, path in enumerate(files_by_position(folder)):
        edit(path, lambda d, i=i: setattr(d, "PatientBirthDate", "19500101" if i < 12 else "19600101"))


def bad_color(folder):
    edit_all(folder, lambda d: setattr(d, "SamplesPerPixel", 3))


def bad_slope(folder):
    edit_all(folder, lambda d: setattr(d, "RescaleSlope", 0))


BAD = {
    bad_empty_folder: "is empty",
    bad_one_slice: "single slice",
    bad_truncated: r"image-\d+\.dcm is truncated",
    bad_truncated_header: r"image-\d+\.dcm is a truncated or damaged CT image",
    bad_truncated_start: r"image-\d+\.dcm is a truncated or damaged DICOM file",
    bad_zero_bytes: r"image-\d+\.dcm is not a DICOM file",
    bad_text: r"note\.dcm is not a DICOM file",
    bad_mr: r"no CT slices \(found: 24 MR file\)",
    bad_two_patients: "different patients",
    bad_two_birth_dates: "different patients",
    bad_color: "color",
    bad_slope: "rescale slope of 0",
}


@pytest.mark.parametrize(("spoil", "message"), BAD.items(), ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
def test_bad_input_gets_one_line_that_names_it(tmp_path, spoil, message, as_zip):
    folder = tmp_path / "ct"
    write_phantom(folder)
    spoil(folder)
    path = zip_folder(folder, tmp_path / "ct.zip") if as_zip else folder
    with pytest.raises((ScanReadError, ScanGeometryError), match=message) as caught:
        read_ct(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_the_parser_says_nothing_of_its_own(tmp_path, capfd, caplog):
    write_phantom(tmp_path / "ct")
    for path in files_by_position(tmp_path / "ct"):
        data = path.read_bytes()
        # An invalid modality of a header's usual length: the parser would quote it.
        path.write_bytes(data.replace(b"20000101", b"Doe^Jane").replace(b"STANDARD", b"St\xffndard"))
    read_ct(tmp_path / "ct")
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "ct"
    voxels = phantom_hu((12, 12, 14))
    write_phantom(folder, voxels=voxels, grid=Grid(voxels.shape, (2.5, 1.5, 1.5)))
    return folder


@given(
    st.sampled_from([None, LOSSLESS["RLE"], LOSSLESS["JPEG-LS"]]),
    st.one_of(st.none(), st.floats(0.0, 1.0)),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_damage_of_any_kind_is_read_or_refused_in_one_line(
    tiny_folder, tmp_path_factory, uid, keep, changed_bytes
):
    folder = tmp_path_factory.mktemp("damaged")
    for path in tiny_folder.glob("*"):
        (folder / path.name).write_bytes(path.read_bytes())
    path = files_by_position(folder)[6]
    if uid is not None:
        recode(path, uid)
    data = bytearray(path.read_bytes())
    for place, value in changed_bytes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(bytes(data if keep is None else data[: int(keep * len(data))]))
    try:
        assert read_ct(folder, n_threads=1).voxels_hu.shape[0] in {11, 12}
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  reading it nevertheless is right too


def test_identity_never_shows(tmp_path):
    secrets = ["Doe^Jane", "ID4711", "19510203", "ACC99", "20240607", "Dr^House"]
    write_phantom(tmp_path / "ct")

    def name(dataset):
        (
            dataset.PatientName,
            dataset.PatientID,
            dataset.PatientBirthDate,
            dataset.AccessionNumber,
            dataset.StudyDate,
            dataset.ReferringPhysicianName,
        ) = secrets

    edit_all(tmp_path / "ct", name)
    uids = pydicom.dcmread(files_by_position(tmp_path / "ct")[0])
    secrets += [uids.StudyInstanceUID, uids.SeriesInstanceUID, uids.SOPInstanceUID]
    shown = [repr(read_ct(tmp_path / "ct").acquisition), repr(read_ct(tmp_path / "ct").warnings)]
    for i, spoil in enumerate(BAD):
        folder = tmp_path / f"bad{i}"
        folder.mkdir()
        for path in (tmp_path / "ct").glob("*"):
            (folder / path.name).write_bytes(path.read_bytes())
        spoil(folder)
        with pytest.raises(InputError) as caught:
            read_ct(folder)
        shown.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path / "ct", series="99")
    shown.append(str(caught.value))
    for secret in secrets:
        assert not [text for text in shown if secret in text]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"hello world" * 40])
def test_a_file_that_is_nothing_is_refused(tmp_path, content):
    path = tmp_path / "scan.bin"
    path.write_bytes(content)
    with pytest.raises(ScanReadError, match=r"scan\.bin"):
        read_ct(path)


def test_an_empty_zip_is_empty(tmp_path):
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    with pytest.raises(ScanReadError, match=r"none\.zip is empty"):
        read_ct(tmp_path / "none.zip")


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(ScanReadError, match="nowhere does not exist"):
        read_ct(tmp_path / "nowhere")


def test_a_single_slice_file_points_to_its_folder(tmp_path):
    write_phantom(tmp_path / "ct")
    with pytest.raises(ScanGeometryError, match="single slice; give the folder"):
        read_ct(files_by_position(tmp_path / "ct")[0])


def test_a_damaged_zip_member_is_named(tmp_path):
    write_phantom(tmp_path / "ct")
    path = zip_folder(tmp_path / "ct", tmp_path / "ct.zip", compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ScanReadError, match=r"inside/image-\d+\.dcm in the zip is damaged"):
        read_ct(path)


def test_writing_and_reading_import_nothing_heavy_until_used():
    import subprocess
    import sys

    code = (
        "import sys, miliary.exchange.ct_read, miliary.exchange.dicom.write_ct\n"
        "import miliary.exchange.volumes.volume_file\n"
        "print([m for m in ('pydicom', 'SimpleITK', 'gdcm', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
