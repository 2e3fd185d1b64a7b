"""NRRD and MetaImage as other programs write them: data beside, other spaces, byte orders, encodings."""

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.volumes.metaimage import read_metaimage
from miliary.exchange.volumes.nrrd import read_nrrd

VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4) - 7
STEPS = "(0.5,0,0) (0,0.6,0) (0,0,2)"


def _nrrd(*, head="", space="left-posterior-superior", directions=STEPS, encoding="raw", type_="short"):
    lines = ["NRRD0005", "# made by hand", f"type: {type_}", "dimension: 3", "sizes: 4 3 2"]
    lines += [f"space: {space}"] if space else []
    lines += [f"space directions: {directions}", "space origin: (1,2,3)"] if directions else []
    return "\n".join([*lines, f"encoding: {encoding}", *([head] if head else []), "key:=a value"]) + "\n\n"


def _write(path, header, data=b""):
    path.write_bytes(header.encode() + data)
    return path


@pytest.mark.parametrize(
    ("encoding", "encode"), [("raw", bytes), ("gzip", gzip.compress), ("bz2", bz2.compress)]
)
@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_an_nrrd_is_read_in_every_encoding(tmp_path, encoding, encode, byte_order):
    data = encode(VALUES.astype("<i2" if byte_order == "little" else ">i2").tobytes())
    path = _write(tmp_path / "a.nrrd", _nrrd(encoding=encoding, head=f"endian: {byte_order}"), data)
    stored = read_nrrd(path)
    assert np.array_equal(stored.values, VALUES)
    assert np.allclose(stored.spacing_mm, (2, 0.6, 0.5))
    assert np.allclose(stored.origin_lps_mm, (1, 2, 3))
    assert np.allclose(stored.axes_lps, np.eye(3)[::-1])
    assert stored.has_orientation


def test_the_spaces_of_an_nrrd_become_lps(tmp_path):
    for space, signs in (("RAS", (-1, -1, 1)), ("left-anterior-superior", (1, -1, 1))):
        path = _write(tmp_path / "a.nrrd", _nrrd(space=space), VALUES.tobytes())
        stored = read_nrrd(path)
        assert np.allclose(stored.origin_lps_mm, np.array((1, 2, 3)) * signs)
        assert np.allclose(stored.axes_lps, np.diag(signs)[::-1])


def test_without_a_named_space_the_orientation_is_not_known(tmp_path):
    header = _nrrd(space="", directions="", head="spacings: 0.5 0.6 2")
    stored = read_nrrd(_write(tmp_path / "a.nrrd", header, VALUES.tobytes()))
    assert not stored.has_orientation
    assert np.allclose(stored.spacing_mm, (2, 0.6, 0.5))


def test_data_beside_an_nrrd_header(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"12345678" + VALUES.tobytes())
    path = _write(tmp_path / "a.nhdr", _nrrd(head="byte skip: 8\ndata file: a.raw"))
    assert np.array_equal(read_nrrd(path).values, VALUES)


@pytest.mark.parametrize("source", ["LIST", "../a.raw", "/etc/hostname", "slice%03d.raw 0 9 1", "gone.raw"])
def test_data_elsewhere_are_refused(tmp_path, source):
    nrrd = _write(tmp_path / "a.nhdr", _nrrd(head=f"data file: {source}"))
    meta = tmp_path / "a.mhd"
    meta.write_text(f"NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = {source}\n")
    for read, path in ((read_nrrd, nrrd), (read_metaimage, meta)):
        with pytest.raises(ScanReadError, match=rf"^{path.name} (keeps its data|needs gone)"):
            read(path)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda h: h.replace("(0.5,0,0)", "(0.5,0.4,0)"), ScanGeometryError, "sheared"),
        (lambda h: h.replace("(0.5,0,0)", "(0,0,0)"), ScanGeometryError, "no valid voxel spacing"),
        (lambda h: h.replace("(0.5,0,0)", "(0.5,x,0)"), ScanReadError, "something else than numbers"),
        (lambda h: h.replace("short", "block"), ScanReadError, "unknown kind"),
        (lambda h: h.replace("raw", "hex"), ScanReadError, "encoded as hex"),
        (lambda h: h.replace("4 3 2", "4 3 3"), ScanReadError, "truncated"),
        (lambda h: h.replace("4 3 2", "4 x 2"), ScanReadError, "truncated"),
    ],
)
def test_a_bad_nrrd_header_is_refused(tmp_path, change, error, text):
    path = _write(tmp_path / "a.nrrd", change(_nrrd()), VALUES.tobytes())
    with pytest.raises(error, match=text):
        read_nrrd(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_data_beside_a_metaimage_header_as_itk_reads_them(tmp_path, compressed):
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing((0.5, 0.6, 2.0))
    image.SetOrigin((1, 2, 3))
    # A turn about z and one about x: no axis of the file is an axis of the patient.
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    image.SetDirection(turn.ravel())
    sitk.WriteImage(image, str(tmp_path / "a.mhd"), useCompression=compressed)
    stored = read_metaimage(tmp_path / "a.mhd")
    assert np.array_equal(stored.values, VALUES)
    index_zyx = np.array([1, 2, 3])
    point = stored.origin_lps_mm + (index_zyx * stored.spacing_mm) @ stored.axes_lps
    assert np.allclose(point, image.TransformIndexToPhysicalPoint((3, 2, 1)), atol=1e-5)


def test_a_metaimage_of_other_byte_order_and_header_size(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"head" + VALUES.astype(">i2").tobytes())
    (tmp_path / "a.mhd").write_text(
        "NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementByteOrderMSB = True\n"
        "HeaderSize = -1\nElementSpacing = 1 1 1\nElementDataFile = a.raw\n"
    )
    stored = read_metaimage(tmp_path / "a.mhd")
    assert np.array_equal(stored.values, VALUES)
    assert not stored.has_orientation


def test_a_metaimage_without_spacing_is_refused(tmp_path):
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n" + VALUES.tobytes()
    )
    with pytest.raises(ScanGeometryError, match="no valid voxel spacing"):
        read_metaimage(tmp_path / "a.mha")


@pytest.mark.realdata
def test_a_real_metaimage_reads_as_itk_reads_it(data_dir):
    path = data_dir / "elastix-3dct-lung-pair/3DCT_lung_baseline.mha"
    image = sitk.ReadImage(str(path))
    stored = read_metaimage(path)
    assert np.array_equal(stored.values, sitk.GetArrayFromImage(image))
    assert np.allclose(stored.spacing_mm, image.GetSpacing()[::-1])
    assert np.allclose(stored.origin_lps_mm, image.GetOrigin())
