"""DICOM radiographs: shown as the file asks, dense is bright, and nobody is named."""

import io
import json

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from miliary.cli.main import main
from miliary.errors import ScanReadError
from miliary.exchange.dicom.radiograph_picture import MAX_SIDE_PX, is_dicom, read_radiograph
from miliary.exchange.folders.study_file import read_study
from miliary.report import render_report

NAME = "GRETEL^MUSTERFRAU"
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def write_radiograph(path, values, *, bits=12, **facts):
    """A radiograph file whose header names a patient; facts replace or remove (None) what it says."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DX
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    about = {
        "SOPClassUID": DX,
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "DX",
        "PatientName": NAME,
        "PatientID": "MUSTER-77",
        "StudyDescription": "chest of MUSTERFRAU",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "BurnedInAnnotation": "NO",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelData": values.tobytes(),
        **facts,
    }
    for name, value in about.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def ramp():
    """From 0 to 4,092 along the columns."""
    return np.tile(np.arange(0, 4096, 4, dtype=np.uint16)[::16], (48, 1))


def _gray(found):
    return np.asarray(Image.open(io.BytesIO(found.png))).astype(int)


def _line(found):
    return _gray(found)[5]


def test_the_window_of_the_file_is_black_at_its_foot_and_white_at_its_head(tmp_path, ramp):
    path = write_radiograph(tmp_path / "a.dcm", ramp, WindowCenter=2048, WindowWidth=1024)
    line = _line(read_radiograph(path, name="one"))
    stored = ramp[0]
    expected = np.clip((stored - (2048 - 0.5)) / 1023 + 0.5, 0, 1) * 255
    assert np.abs(line - expected).max() <= 1


def test_monochrome1_is_turned_round(tmp_path, ramp):
    facts = {"WindowCenter": 2048, "WindowWidth": 4096}
    plain = read_radiograph(write_radiograph(tmp_path / "a.dcm", ramp, **facts), name="one")
    facts |= {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    turned = read_radiograph(write_radiograph(tmp_path / "b.dcm", ramp, **facts), name="one")
    assert np.abs(_gray(plain) + _gray(turned) - 255).max() <= 1


def test_a_rescaled_signed_picture_keeps_its_window(tmp_path, ramp):
    values = ramp.astype(np.int16) - 2000
    facts = {"RescaleSlope": 2, "RescaleIntercept": 100, "WindowCenter": 100, "WindowWidth": 2000}
    line = _line(read_radiograph(write_radiograph(tmp_path / "a.dcm", values, bits=13, **facts), name="one"))
    rescaled = values[0].astype(float) * 2 + 100
    expected = np.clip((rescaled - 99.5) / 1999 + 0.5, 0, 1) * 255
    assert np.abs(line - expected).max() <= 1


def test_a_table_of_the_file_comes_before_its_window(tmp_path, ramp):
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = (65535 - np.arange(4096, dtype=np.uint32) * 16).clip(0).astype(np.uint16).tobytes()
    item.add_new(0x00283006, "OW", item.LUTData)
    path = write_radiograph(
        tmp_path / "a.dcm", ramp, VOILUTSequence=Sequence([item]), WindowCenter=1, WindowWidth=2
    )
    line = _line(read_radiograph(path, name="one"))
    assert np.abs(line - (65535 - ramp[0].astype(float) * 16) / 65535 * 255).max() <= 1


def test_without_a_window_the_spread_of_the_picture_is_shown(tmp_path, ramp):
    line = _line(read_radiograph(write_radiograph(tmp_path / "a.dcm", ramp // 8 + 300), name="one"))
    assert line[0] == 0
    assert line[-1] == 255
    assert 120 < line[len(line) // 2] < 136


def test_compressed_and_large_ones_are_read_and_made_smaller(tmp_path):
    values = np.tile(np.arange(2000, dtype=np.uint16), (2400, 1))
    path = write_radiograph(tmp_path / "a.dcm", values)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    found = _gray(read_radiograph(path, name="one"))
    assert found.shape == (MAX_SIDE_PX, MAX_SIDE_PX * 2000 // 2400)
    assert np.all(np.diff(found[10]) >= 0)


def test_nothing_of_the_header_goes_on_but_view_and_side(tmp_path, ramp):
    found = read_radiograph(write_radiograph(tmp_path / "a.dcm", ramp), name="one")
    assert found.about == {
        "kind": "radiograph",
        "view": "pa",
        "left_of_picture": "right",
        "burned_in": False,
        "is_raw": False,
    }
    assert b"MUSTER" not in found.png


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned into its pixels"),
        ({"Modality": "CT"}, "is modality CT; a radiograph is one of CR, DX, RG"),
        ({"Modality": "MUSTER 77"}, "is another modality"),
        ({"PixelData": b"\1\2"}, "cannot be decoded"),
        ({"NumberOfFrames": 2}, "not a single gray picture"),
    ],
)
def test_what_is_no_showable_radiograph_is_refused_without_naming_anybody(tmp_path, ramp, facts, said):
    path = write_radiograph(tmp_path / "MUSTERFRAU_GRETEL.dcm", ramp, **facts)
    with pytest.raises(ScanReadError, match=said) as caught:
        read_radiograph(path, name="one")
    assert "MUSTER" not in str(caught.value)


def test_values_that_break_the_standard_are_not_quoted(tmp_path, ramp, recwarn, capfd):
    with pydicom.config.disable_value_validation():
        path = write_radiograph(tmp_path / "a.dcm", ramp, ViewPosition=f"{NAME} of 7 Long Street")
    assert read_radiograph(path, name="one").about["view"] is None
    assert not [w for w in recwarn if "MUSTER" in str(w.message)]
    assert "MUSTER" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0" * 128 + b"DICM" + b"\xff" * 40])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(ScanReadError):
        read_radiograph(tmp_path / "a.dcm", name="one")


def test_dicom_is_known_by_its_name_or_its_head(tmp_path, ramp):
    assert is_dicom(write_radiograph(tmp_path / "IM0001", ramp))
    assert is_dicom(tmp_path / "gone.DCM")
    (tmp_path / "notes").write_text("text")
    assert not is_dicom(tmp_path / "notes")


@pytest.fixture
def case(tmp_path, ramp):
    """A case with a picture and three DICOM files, all called after their patient."""
    place = tmp_path / "p" / "radiographs"
    place.mkdir(parents=True)
    (tmp_path / "p" / "case.yaml").write_text("id: p1\n")
    Image.new("L", (40, 50), 90).save(place / "MUSTERFRAU_1.png")
    write_radiograph(place / "MUSTERFRAU_2.dcm", ramp)
    write_radiograph(place / "MUSTERFRAU_3.dcm", ramp, BurnedInAnnotation="YES")
    write_radiograph(place / "MUSTERFRAU_4", ramp, BurnedInAnnotation=None, ViewPosition="LL")
    return tmp_path / "p"


def test_a_study_shows_dicom_radiographs_and_names_nobody(case, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["case", "run", str(case), "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "radiograph 3: says that text is burned into its pixels" in said
    kept = out / "radiographs"
    assert sorted(p.name for p in kept.iterdir()) == [
        "figures.json",
        "radiograph_01.png",
        "radiograph_02.png",
        "radiograph_04.png",
    ]
    for file in out.rglob("*"):
        assert "MUSTER" not in file.name
        assert not file.is_file() or b"MUSTER" not in file.read_bytes()
    assert "MUSTER" not in said
    html = render_report(read_study(out))
    assert "Radiograph 2; from back to front (PA); the patient&#39;s right is at the left" in html
    assert "Radiograph 3; from the side" in html
    assert "look for names in them" in html


def test_dicom_put_into_a_study_by_hand_is_shown_too(case, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["case", "run", str(case), "--out", str(out), "--quiet"]) == 0
    capsys.readouterr()
    for file in (out / "radiographs").iterdir():
        file.unlink()
    for file in (case / "radiographs").iterdir():
        file.rename(out / "radiographs" / file.name)
    study = read_study(out)
    assert [p.name for p in study.radiographs] == ["radiograph_1", "radiograph_2", "radiograph_4"]
    html = render_report(study)
    assert "MUSTER" not in html
    assert "radiographs, file 3 by name" in html
    assert "burned into its pixels" in html


def test_a_page_whose_radiographs_all_clear_themselves_asks_for_no_look(case, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("MUSTERFRAU_1.png", "MUSTERFRAU_3.dcm", "MUSTERFRAU_4"):
        (case / "radiographs" / name).unlink()
    assert main(["case", "run", str(case), "--out", str(out), "--quiet"]) == 0
    capsys.readouterr()
    listed = json.loads((out / "radiographs/figures.json").read_text())["figures"]
    assert [row["burned_in"] for row in listed] == [False]
    assert "look for names in them" not in render_report(read_study(out))
