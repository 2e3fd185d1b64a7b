"""Pairs of scans that must be refused, run through the command line from end to end.

Each entry has to end with exit code 2, one line on standard error and nothing written; those named
``not comparable`` have to succeed with that verdict and no ratio.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from miliary.model.scan import Grid

SHAPE, SPACING = (150, 190, 210), (1.9, 1.7, 1.7)


def measure_impossible() -> list[dict[str, Any]]:
    """What became of each pair."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _make_scans(place)
        return [
            _try(place, name, words, expected)
            for name, words, expected in (
                ("two patients, ids differ", ("dicom-a", "dicom-other-id"), 2),
                ("two patients, birth dates differ", ("dicom-a", "dicom-other-birth"), 2),
                ("two patients, no ids", ("a.nii.gz", "b.nii.gz"), 2),
                ("two patients, no ids, the other way", ("b.nii.gz", "a.nii.gz"), 2),
                ("two other patients, no ids", ("b.nii.gz", "c.nii.gz"), 2),
                ("order of dates swapped", ("dicom-a", "dicom-earlier"), 2),
                ("upper against lower chest", ("a-upper.nii.gz", "a-lower.nii.gz"), 2),
                ("right against left lung", ("a-right.nii.gz", "a-left.nii.gz"), 2),
                ("no lungs in the follow-up", ("a.nii.gz", "water.nii.gz"), 2),
                ("follow-up cut short", ("a.nii.gz", "cut.nii.gz"), 2),
                ("follow-up is no scan", ("a.nii.gz", "notes.txt"), 2),
                ("follow-up is an empty folder", ("a.nii.gz", "empty"), 2),
                ("follow-up is missing", ("a.nii.gz", "nowhere"), 2),
                ("not comparable: half of the lung", ("a.nii.gz", "a-upper.nii.gz"), 0),
            )
        ]


def _try(place: Path, name: str, words: tuple[str, str], expected: int) -> dict[str, Any]:
    from miliary.cli.main import main

    out = place / "out" / name.replace(" ", "-")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(
            ["compare", *(str(place / word) for word in words), "--out", str(out), "--quiet", "--fast"]
        )
    message = said.getvalue().strip()
    if expected == 0:
        content = json.loads((out / "response.json").read_text()) if code == 0 else {}
        verdict = content.get("comparability", {}).get("verdict")
        is_refused = verdict == "not_comparable" and content["response"]["volume_ratio"] is None
        message = "; ".join(content.get("comparability", {}).get("reasons", [])) or message
    else:
        is_refused = code == expected and not out.exists() and len(message.splitlines()) == 1
    return {"name": name, "is_refused": bool(is_refused), "exit": code, "message": message}


def _make_scans(place: Path) -> None:
    from miliary.exchange.volumes.volume_file import write_volume
    from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan

    protocol = ScanProtocol(SHAPE, SPACING, psf_fwhm_mm=2.0, slice_thickness_mm=SPACING[0])
    scans = {
        name: simulate_scan(protocol, seed=seed, population=NodulePopulation(400, (2.5, 4.0))).scan
        for name, seed in (("a", 901_301), ("b", 901_302), ("c", 901_303))
    }
    for name, scan in scans.items():
        write_volume(place / f"{name}.nii.gz", scan.voxels_hu, scan.grid)
    voxels, grid = scans["a"].voxels_hu, scans["a"].grid
    half, middle = SHAPE[0] // 2, SHAPE[2] // 2
    for name, cut in (
        ("upper", (slice(half + 8, None), slice(None), slice(None))),
        ("lower", (slice(0, half - 8), slice(None), slice(None))),
        ("right", (slice(None), slice(None), slice(0, middle))),
        ("left", (slice(None), slice(None), slice(middle, None))),
    ):
        part = np.ascontiguousarray(voxels[cut])
        start = [s.start or 0 for s in cut]
        write_volume(place / f"a-{name}.nii.gz", part, grid.crop(start, part.shape))
    water = np.full(SHAPE, 0, dtype=np.int16) + np.random.default_rng(0).integers(
        -20, 20, SHAPE, dtype=np.int16
    )
    write_volume(place / "water.nii.gz", water, grid)
    whole = (place / "a.nii.gz").read_bytes()
    (place / "cut.nii.gz").write_bytes(whole[: len(whole) // 3])
    (place / "notes.txt").write_text("no scan")
    (place / "empty").mkdir()
    for name, headers in _studies():
        _write_dicom(place / name, voxels, grid, headers)


def _studies() -> Iterator[tuple[str, dict[str, str]]]:
    usual = {"PatientID": "A", "PatientBirthDate": "19500101", "StudyDate": "20210309"}
    yield "dicom-a", usual
    yield "dicom-other-id", {**usual, "PatientID": "B"}
    yield "dicom-other-birth", {**usual, "PatientBirthDate": "19500102"}
    yield "dicom-earlier", {**usual, "StudyDate": "20201201"}


def _write_dicom(folder: Path, voxels: Any, grid: Grid, headers: dict[str, str]) -> None:
    import pydicom

    from miliary.exchange.dicom.write_ct import write_dicom_series
    from miliary.model.scan import Acquisition

    write_dicom_series(folder, voxels, grid, acquisition=Acquisition(), seed=1)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        for name, value in headers.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
