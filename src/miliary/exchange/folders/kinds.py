"""The kinds of result folders: what each is called, its files, and the record that its main file holds.

Declared once; writing, reading and the check of what may be replaced all take it from here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from miliary.model.saved.case_summary import CASE_KIND, CaseSummary
from miliary.model.saved.comparison_summary import (
    COMPARISON_KIND,
    SERIES_KIND,
    ComparisonSummary,
    SeriesSummary,
)
from miliary.model.saved.figure_index import FIGURES_KIND, FigureIndex, RadiographIndex
from miliary.model.saved.scan_summary import SCAN_KIND, ScanSummary
from miliary.model.saved.study_index import STUDY_KIND, StudyIndex
from miliary.model.saved.study_inputs import INPUTS_KIND, StudyRecord

SIMULATION_KIND = "miliary.simulation"

# Major version of every schema that this program reads without reservation.
KNOWN_MAJOR = 1

SCAN_NAME = "scan.json"
NODULES_NAME = "nodules.csv"
LUNGS_NAME = "lungs.nii.gz"
PREVIEW_NAME = "preview.png"
VOLUME_NAME = "volume.zarr"
FIGURES_NAME = "figures"
INDEX_NAME = "figures.json"
RESPONSE_NAME = "response.json"
TRACKS_NAME = "tracks.csv"
MATCHES_NAME = "matches.csv"
TRANSFORM_NAME = "transform.npz"
REGISTERED_NAME = "registered.zarr"
SERIES_NAME = "series.json"
CASE_NAME = "case.json"
STUDY_NAME = "study.json"
INPUTS_NAME = "inputs.json"
RADIOGRAPHS_NAME = "radiographs"
CORRECTIONS_NAME = "corrections.jsonl"

CT_FILES = (
    *(SCAN_NAME, NODULES_NAME, "nodules.parquet", LUNGS_NAME, PREVIEW_NAME),
    *(FIGURES_NAME, VOLUME_NAME),
)
SIMULATION_FILES = ("simulation.json", "truth.csv", "truth_lungs.nii.gz", "volume.nii.gz", "dicom")
CASE_FILES = (CASE_NAME, "summary.md", STUDY_NAME, "ct", RADIOGRAPHS_NAME)
COMPARISON_FILES = (
    *(RESPONSE_NAME, MATCHES_NAME, TRACKS_NAME, TRANSFORM_NAME, REGISTERED_NAME, "response.png"),
    FIGURES_NAME,
)
SERIES_FILES = (SERIES_NAME, "compare")
STUDY_FILES = (STUDY_NAME, INPUTS_NAME, "ct", "compare", "case", RADIOGRAPHS_NAME, CORRECTIONS_NAME)

# What `miliary report` leaves in a result folder by default; made anew at will.
REPORT_FILES = ("report.html", "report.pdf", "report.docx", "report.md")

# For each kind of folder its files; the first says in `kind` what the folder is.
FILES = {
    SCAN_KIND: CT_FILES,
    SIMULATION_KIND: SIMULATION_FILES,
    CASE_KIND: CASE_FILES,
    COMPARISON_KIND: COMPARISON_FILES,
    SERIES_KIND: SERIES_FILES,
    STUDY_KIND: STUDY_FILES,
}


@dataclass(frozen=True)
class ResultFile:
    """One kind of saved JSON: what its ``kind`` says, the record it holds, and the command that writes it."""

    kind: str
    record: type
    command: str


SCAN_FILE = ResultFile(SCAN_KIND, ScanSummary, "miliary ct")
COMPARISON_FILE = ResultFile(COMPARISON_KIND, ComparisonSummary, "miliary compare")
SERIES_FILE = ResultFile(SERIES_KIND, SeriesSummary, "miliary compare")
CASE_FILE = ResultFile(CASE_KIND, CaseSummary, "miliary case run")
STUDY_FILE = ResultFile(STUDY_KIND, StudyIndex, "miliary")
INPUTS_FILE = ResultFile(INPUTS_KIND, StudyRecord, "miliary study")
FIGURES_FILE = ResultFile(FIGURES_KIND, FigureIndex, "miliary")
RADIOGRAPHS_FILE = ResultFile(FIGURES_KIND, RadiographIndex, "miliary case run")


def read_schema(name: str = "scan") -> dict[str, Any]:
    """A published JSON schema.

    Parameters
    ----------
    name : str
        ``scan`` (of `scan.json`), ``response``, ``case_result`` (of `case.json`) or ``case`` (of
        `case.yaml`).
    """
    text = resources.files("miliary.exchange").joinpath(f"schemas/{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
