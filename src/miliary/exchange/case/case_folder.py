"""The folder that `miliary case run` writes: `case.json` and a summary in words, the gravest first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miliary.exchange.case.record import Band, summarize_record
from miliary.exchange.dicom.radiograph_picture import keep_radiographs
from miliary.exchange.folders.atomic_folder import replacing_folder
from miliary.exchange.folders.ct_store import write_json
from miliary.exchange.folders.kinds import CASE_NAME, RADIOGRAPHS_NAME
from miliary.exchange.folders.study_file import write_study_file
from miliary.model.assessment import Assessment
from miliary.model.case import Case
from miliary.model.saved.case_summary import CaseSummary, CitationSummary, OutcomeCounts
from miliary.model.saved.codec import plain, to_json


def summarize_case(
    case: Case,
    assessments: Sequence[Assessment],
    sources: Mapping[str, CitationSummary],
    *,
    counts: Mapping[str, int],
    provenance: Mapping[str, Any],
    bands: Mapping[str, Band] | None = None,
) -> CaseSummary:
    """What `case.json` holds."""
    return CaseSummary(
        case_id=case.id,
        origin=case.origin,
        counts=OutcomeCounts(**counts),
        assessments=tuple(assessments),
        citations=dict(sources),
        record=summarize_record(case, bands=bands),
        provenance=plain(provenance),
    )


def write_case_result(
    summary: CaseSummary,
    text: str,
    folder: str | Path,
    *,
    scans: Mapping[str, Path] | None = None,
    radiographs: Iterable[Path] = (),
) -> list[str]:
    """Write `case.json`, `summary.md` and `study.json`, complete or not at all.

    Parameters
    ----------
    summary, text
        What `summarize_case` and `render_summary` made.
    folder : path
    scans : mapping of str to path, optional
        Result folders of the scans that the case points to, by study id. They are kept in ``ct/`` as hard
        links where the file system has them, so that the study is whole and costs no space.
    radiographs : iterable of path
        Pictures (PNG, JPEG) and DICOM to keep in ``radiographs/``, under numbers and not under their names.

    Returns
    -------
    list of str
        Why radiographs were left out, one sentence each.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    with replacing_folder(Path(folder)) as draft:
        write_case_files(summary, text, draft)
        problems = keep_radiographs(radiographs, draft / RADIOGRAPHS_NAME)
        for name, source in (scans or {}).items():
            shutil.copytree(source, draft / "ct" / name, copy_function=_link_or_copy)
        write_study_file(
            draft,
            title=summary.record.title or summary.case_id,
            scans=[(name, f"ct/{name}") for name in scans or {}],
            case=CASE_NAME,
            origin=summary.origin or "",
        )
    return problems


def write_case_files(summary: CaseSummary, text: str, folder: Path) -> None:
    """Write `case.json` and `summary.md` into a folder that is there."""
    write_json(to_json(summary), folder / CASE_NAME)
    (folder / "summary.md").write_text(text, encoding="utf-8")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
