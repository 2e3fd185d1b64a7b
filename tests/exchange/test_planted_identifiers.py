"""Identifiers planted wherever a file can hold one: none in anything written, printed or served."""

import contextlib
import io
import itertools
import json
import threading
import urllib.request

import numpy as np
import pydicom
from pydicom.datadict import DicomDictionary, keyword_for_tag

from miliary.cli.main import main
from miliary.exchange.ct_read import read_ct
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.viewer.server import ViewerServer
from miliary.workflow.study_page import write_study_page
from tests.exchange.scans import files_by_position, phantom_hu, write_phantom

# Documented as read and written: what the scanner is, and how the scan was made.
DEVICE = {"Manufacturer", "ManufacturerModelName", "ConvolutionKernel"}
TEXT_VRS = ("LO", "SH", "PN", "ST", "LT", "UT", "CS", "AE", "UC")
# Changing these is no longer the same scan.
NEEDED = {
    "ImageType",
    "PhotometricInterpretation",
    "SpecificCharacterSet",
    "LossyImageCompression",
    "RescaleType",
}


def _plant(folder):
    """Tokens in every text element that there is, in private ones, and in the names of files and folders."""
    tokens = (f"ZQ{number:04d}PLANTED" for number in itertools.count())
    used = []

    def token():
        used.append(next(tokens))
        return used[-1]

    place = folder / token()
    write_phantom(place)
    keywords = sorted(
        keyword_for_tag(tag)
        for tag, (vr, multiplicity, _, retired, _) in DicomDictionary.items()
        if vr in TEXT_VRS
        and multiplicity in ("1", "1-n")
        and not retired
        and tag >> 16 in (8, 0x10, 0x18, 0x20, 0x32, 0x40)
    )
    chosen = [keyword for keyword in keywords if keyword and keyword not in DEVICE | NEEDED]
    must = [
        "PatientName",
        "PatientID",
        "Modality",
        "PatientPosition",
        "SeriesDescription",
        "ContrastBolusAgent",
    ]
    chosen = must + [keyword for keyword in chosen if keyword not in must]
    texts = {keyword: token() for keyword in chosen[:150]}
    private = [token() for _ in range(20)]
    for path in files_by_position(place):
        dataset = pydicom.dcmread(path)
        for keyword, text in texts.items():
            setattr(dataset, keyword, text[:16])
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.99970001", "1.2.99970002"
        dataset.PatientBirthDate, dataset.StudyDate = "19470813", "20190704"
        for number, text in enumerate(private):
            dataset.add_new(0x00090010 + number, "LO", f"{text} owner")
            dataset.add_new(0x00091001 + number * 0x100, "LO", text)
        path.unlink()
        dataset.save_as(place / f"{token()}.dcm", enforce_file_format=True)
    # A repeated slice and a broken link are told of by warnings.
    first = next(place.iterdir())
    (place / f"{token()}.dcm").write_bytes(first.read_bytes())
    (place / token()).symlink_to(place / "nowhere")
    return place, [*used, "1.2.99970001", "1.2.99970002", "19470813", "20190704"]


def test_no_planted_identifier_is_written_printed_or_served(tmp_path, make_result):
    place, planted = _plant(tmp_path / "in")
    assert len(planted) >= 200
    scan = read_ct(place)
    assert {"duplicated_slices", "broken_links"} <= {warning.code for warning in scan.warnings}
    labels = np.zeros(scan.grid.shape_zyx, dtype=np.uint8)
    labels[phantom_hu() < -700] = 1
    made = make_result(acquisition=scan.acquisition, warnings=scan.warnings)
    out = tmp_path / "out"
    write_ct_result(made, out, scan=scan)
    write_study_page(out)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert main(["ct", str(place), "--check"]) == 0
        assert main(["ct", str(place), "--check", "--json"]) == 0
    seen = {"printed": said.getvalue().encode()}
    server = ViewerServer(out)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    for name in ("", "study", "nodules?scan=out", "corrections", "slice?scan=out"):
        with urllib.request.urlopen(server.url + name, timeout=20) as answer:
            seen[f"served {name}"] = answer.read() + str(answer.headers).encode()
    server.shutdown()
    server.server_close()
    for path in out.rglob("*"):
        if path.is_file():
            seen[str(path.relative_to(out))] = path.read_bytes()
    assert json.loads(seen["scan.json"])["kind"] == "miliary.ct"
    # Fields of 16 signs hold a shortened token.
    found = [(name, mark) for name, data in seen.items() for mark in planted if mark[:10].encode() in data]
    assert found == []
