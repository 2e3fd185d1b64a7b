"""Measure miliary lung disease on chest CT.

The short way, from files to result folders::

    import miliary

    miliary.measure("scan-before", "study/ct/baseline")
    miliary.measure("scan-after", "study/ct/followup")
    miliary.compare(["study/ct/baseline", "study/ct/followup"], "study/compare/baseline__followup")

or the whole patient, from a folder that holds the scans and the case::

    miliary.run_study("patient", "study")

In memory::

    scan = miliary.read_ct("folder-of-dicom-files")
    result = miliary.find_nodules(scan)
    result.to_frame()

and with an earlier scan of the same patient::

    before, after = (miliary.make_exam(name, s, miliary.find_nodules(s)) for name, s in scans.items())
    found = miliary.compare_scans(before, after)
    miliary.write_comparison(found, "compared")

Names are loaded when first used: ``import miliary`` reads no DICOM, table or compiler library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miliary.clinical.registry import assess_case
    from miliary.errors import InputError, MiliaryError, RunCancelled
    from miliary.exchange.case.case_file import read_case
    from miliary.exchange.ct_read import read_ct
    from miliary.exchange.folders.compare_store import write_comparison
    from miliary.exchange.folders.ct_store import write_ct_result
    from miliary.exchange.folders.open_result import open_result
    from miliary.exchange.masks.lung_mask import read_lung_mask
    from miliary.followup import compare_scans, make_exam
    from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan
    from miliary.model.assessment import Assessment
    from miliary.model.case import Case
    from miliary.model.ct_result import CtResult
    from miliary.model.nodules import Nodules
    from miliary.model.saved.codec import to_json
    from miliary.model.saved.summarize_scan import summarize
    from miliary.model.scan import Grid, Scan
    from miliary.pipeline import find_nodules
    from miliary.workflow.case_derivation import derive_case
    from miliary.workflow.comparison_run import ComparisonSettings, compare
    from miliary.workflow.scan_measurement import MeasurementSettings, measure
    from miliary.workflow.study_plan import StudySettings
    from miliary.workflow.study_run import run_study

__version__ = "0.1.0"

_HOMES = {
    "Assessment": "miliary.model.assessment",
    "Case": "miliary.model.case",
    "CtResult": "miliary.model.ct_result",
    "ComparisonSettings": "miliary.workflow.comparison_run",
    "Grid": "miliary.model.scan",
    "InputError": "miliary.errors",
    "MeasurementSettings": "miliary.workflow.scan_measurement",
    "MiliaryError": "miliary.errors",
    "NodulePopulation": "miliary.image.simulate",
    "Nodules": "miliary.model.nodules",
    "RunCancelled": "miliary.errors",
    "Scan": "miliary.model.scan",
    "StudySettings": "miliary.workflow.study_plan",
    "ScanProtocol": "miliary.image.simulate",
    "assess_case": "miliary.clinical.registry",
    "compare": "miliary.workflow.comparison_run",
    "compare_scans": "miliary.followup",
    "derive_case": "miliary.workflow.case_derivation",
    "find_nodules": "miliary.pipeline",
    "make_exam": "miliary.followup",
    "measure": "miliary.workflow.scan_measurement",
    "open_result": "miliary.exchange.folders.open_result",
    "read_case": "miliary.exchange.case.case_file",
    "read_ct": "miliary.exchange.ct_read",
    "read_lung_mask": "miliary.exchange.masks.lung_mask",
    "run_study": "miliary.workflow.study_run",
    "simulate_scan": "miliary.image.simulate",
    "summarize": "miliary.model.saved.summarize_scan",
    "to_json": "miliary.model.saved.codec",
    "write_comparison": "miliary.exchange.folders.compare_store",
    "write_ct_result": "miliary.exchange.folders.ct_store",
}

__all__ = [
    "Assessment",
    "Case",
    "ComparisonSettings",
    "CtResult",
    "Grid",
    "InputError",
    "MeasurementSettings",
    "MiliaryError",
    "NodulePopulation",
    "Nodules",
    "RunCancelled",
    "Scan",
    "ScanProtocol",
    "StudySettings",
    "__version__",
    "assess_case",
    "compare",
    "compare_scans",
    "derive_case",
    "find_nodules",
    "make_exam",
    "measure",
    "open_result",
    "read_case",
    "read_ct",
    "read_lung_mask",
    "run_study",
    "simulate_scan",
    "summarize",
    "to_json",
    "write_comparison",
    "write_ct_result",
]


def __getattr__(name: str) -> Any:
    """Load one public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'miliary' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
