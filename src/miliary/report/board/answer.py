"""The board page: patient, answer, pictures, burden, gravest queries, what cannot be told, on one sheet.

What was measured on scans and what the record holds stand in columns of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.answer_lines import AnswerLine, write_answer
from miliary.report.assessments import group_by_severity
from miliary.report.board.burden_table import BurdenTable, tabulate_burden
from miliary.report.board.open_points import OpenPoints, list_open_points
from miliary.report.board.patient_line import PatientFact, list_patient
from miliary.report.board.picture_pairs import BoardPictures, choose_pictures
from miliary.report.catalog import Catalog
from miliary.report.measures import find_compared, name_pair
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class OpenCount:
    """How many errors, queries or notes the case holds."""

    severity: str
    n: int


@dataclass(frozen=True)
class GateVerdict:
    """Whether the two scans of a comparison may be compared."""

    title: str
    verdict: str


@dataclass(frozen=True)
class AnswerContent:
    """Everything on the board page.

    Parameters
    ----------
    patient : tuple of PatientFact
    record_origin, scans_origin : str
        Where the facts of the record, and those of the scans, come from; empty where they differ.
    lines : tuple of AnswerLine
    open_counts : tuple of OpenCount
    gates : tuple of GateVerdict
    pictures : BoardPictures
    burden : BurdenTable
    points : OpenPoints
    """

    patient: tuple[PatientFact, ...]
    record_origin: str
    scans_origin: str
    lines: tuple[AnswerLine, ...]
    open_counts: tuple[OpenCount, ...]
    gates: tuple[GateVerdict, ...]
    pictures: BoardPictures
    burden: BurdenTable
    points: OpenPoints


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[AnswerContent]:
    """The section that opens the page."""
    lines = write_answer(study, catalog, sources)
    content = AnswerContent(
        patient=list_patient(study, catalog),
        record_origin=_find_one({s.origin for line in lines for s in line.of_record}),
        scans_origin=_find_one({s.origin for line in lines for s in line.of_scans}),
        lines=lines,
        open_counts=tuple(
            OpenCount(severity, len(group)) for severity, group in group_by_severity(study.case).items()
        ),
        gates=tuple(
            GateVerdict(name_pair(compared, catalog), summary.comparability.verdict or "not_assessable")
            for compared, summary in find_compared(study)
        ),
        pictures=choose_pictures(study, catalog),
        burden=tabulate_burden(study, catalog, sources),
        points=list_open_points(study, catalog),
    )
    return Section("answer", catalog("section.answer"), "sections/answer.html", content)


def _find_one(origins: set[str]) -> str:
    """The one origin of a column; empty where there are several, or none."""
    return origins.pop() if len(origins) == 1 else ""
