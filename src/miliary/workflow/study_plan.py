"""`plan_study`: what a patient's folder holds, and which results are new, out of date or current."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miliary.errors import InputError, MiliaryError
from miliary.model.saved.study_inputs import StudyRecord
from miliary.workflow.comparison_run import (
    PairTiming,
    check_identities,
    choose_series,
    list_choices,
    name_in_order,
)
from miliary.workflow.scan_measurement import MeasurementSettings
from miliary.workflow.study_record import (
    INPUTS_NAME,
    digest_files,
    digest_member,
    digest_scan,
    digest_values,
    find_changes,
    read_record,
    state_program,
)
from miliary.workflow.study_search import FoundScan, FoundStudy, search_study

if TYPE_CHECKING:
    from miliary.model.case import Case
    from miliary.model.comparison import SeriesFacts
    from miliary.model.corrections import Correction

RESULT_NAME = "result"


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """How a patient's folder is brought up to date.

    Parameters
    ----------
    with_completeness : bool
        Measure what share of the nodules each scan shows, and correct for it.
    measures : bool
        Measure and compare what is new or out of date. Otherwise only the case and the report are made, and
        what is out of date is named in the report.
    language : str
        Of the report: ``en`` or ``ja``.
    on : date, optional
        The day on which the case is read; rules whose recheck date has passed by then are named. Today where
        it is not given.
    """

    with_completeness: bool = True
    measures: bool = True
    language: str = "en"
    on: dt.date | None = None

    @property
    def day(self) -> dt.date:
        """The day on which the case is read."""
        return self.on or dt.datetime.now(tz=dt.UTC).date()


DEFAULT_STUDY = StudySettings()


@dataclass(frozen=True)
class PlannedScan:
    """One scan of the study.

    Parameters
    ----------
    label : str
        What the result calls it.
    found : FoundScan
    settings : MeasurementSettings
    rests_on : mapping of str to str
        What its result rests on if it is made now.
    change : str
        Why it has to be measured; empty where its result is current.
    """

    label: str
    found: FoundScan
    settings: MeasurementSettings
    rests_on: Mapping[str, str]
    change: str

    @property
    def member(self) -> str:
        """Its place in the study."""
        return f"ct/{self.label}"


@dataclass(frozen=True)
class PlannedPair:
    """One follow-up compared with the baseline; `change` as in `PlannedScan`, `number` counts from 1."""

    baseline: str
    followup: str
    number: int
    change: str

    @property
    def member(self) -> str:
        """Its place in the study."""
        return f"compare/{self.baseline}__{self.followup}"


@dataclass(frozen=True)
class StudyPlan:
    """What bringing a patient's folder up to date will do.

    Parameters
    ----------
    folder, out : path
    settings : StudySettings
    found : FoundStudy
    scans : tuple of PlannedScan
        Baseline first.
    pairs : tuple of PlannedPair
    timing : PairTiming or None
        Of the scans; None with fewer than two.
    case_change : str or None
        Why the case has to be derived; empty where it is current, None where there is no case.
    removed : tuple of str
        Members whose scans are not in the folder any more.
    """

    folder: Path
    out: Path
    settings: StudySettings
    found: FoundStudy
    scans: tuple[PlannedScan, ...]
    pairs: tuple[PlannedPair, ...]
    timing: PairTiming | None
    case_change: str | None
    removed: tuple[str, ...]

    def list_changes(self) -> dict[str, str]:
        """Every member that has to be made, and why."""
        changes = {scan.member: scan.change for scan in self.scans if scan.change}
        changes |= {pair.member: pair.change for pair in self.pairs if pair.change}
        changes |= dict.fromkeys(self.removed, "its scan is not there any more")
        return {**changes, "case": self.case_change} if self.case_change else changes


def plan_study(
    folder: str | Path, out: str | Path | None = None, *, settings: StudySettings = DEFAULT_STUDY
) -> StudyPlan:
    """Find what a patient's folder holds and what of it has to be made; nothing is measured or written.

    Parameters
    ----------
    folder : path
        Of one patient, see `miliary.workflow.study_search` for the rules.
    out : path, optional
        Folder of the result: new, empty, or an earlier result of `run_study`. ``result`` in `folder` when
        not given.
    settings : StudySettings

    Returns
    -------
    StudyPlan

    Raises
    ------
    InputError
        The folder holds nothing that can be used, or scans of different patients.
    OutputError
        `out` is something else, or lies in a scan's folder.
    """
    place = Path(folder)
    target = place / RESULT_NAME if out is None else Path(out)
    found = search_study(place, out=target)
    _check_place(place, target, found)
    labels = name_in_order(len(found.scans))
    timing = None
    if len(labels) > 1:
        known = [scan.identity for scan in found.scans]
        timing = check_identities(known, [scan.name for scan in found.scans])
    record = read_record(target)
    scans = _plan_scans(found.scans, labels, target, settings, record)
    _check_labels(scans, target, record)
    pairs = () if timing is None else _plan_pairs(scans, timing, target, record)
    members = {scan.member for scan in scans} | {pair.member for pair in pairs}
    removed = tuple(
        name for name in record.members if name.startswith(("ct/", "compare/")) and name not in members
    )
    case_change = None
    if found.case is not None:
        case_change = find_changes(target, "case", describe_case_inputs(found, settings.day), record)
        if not case_change and any(scan.change for scan in scans) and _rests_on_scans(found.case, target):
            case_change = "scans that the case points to are measured"
    return StudyPlan(place, target, settings, found, scans, pairs, timing, case_change, removed)


def _check_place(folder: Path, out: Path, found: FoundStudy) -> None:
    """Refuse to write among a patient's own files, or over anything but an earlier study of this command."""
    from miliary.errors import OutputError
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.model.saved.study_index import STUDY_KIND

    inside, place = out.resolve(), folder.resolve()
    if place == inside or place.is_relative_to(inside):
        raise OutputError(
            f"{out.name or 'output folder'}: holds the patient's own files; choose a new folder"
        )
    own = [scan.path for scan in found.scans]
    own += [place / name for name in ("ct", "case", "radiographs")]
    for path in own:
        if inside == path.resolve() or inside.is_relative_to(path.resolve()):
            raise OutputError(f"{out.name}: lies among the patient's own files; choose a new folder")
    check_output(out, kind=STUDY_KIND)
    if out.is_dir() and any(out.iterdir()) and not (out / INPUTS_NAME).is_file():
        raise OutputError(f"{out.name}: is not an earlier result of this command; choose a new folder")


def _plan_scans(
    found: Sequence[FoundScan],
    labels: Sequence[str],
    out: Path,
    settings: StudySettings,
    record: StudyRecord,
) -> tuple[PlannedScan, ...]:
    is_result = [scan.kind == "earlier result" for scan in found]
    series = choose_series([_list_choices(scan.path) for scan in found], is_result)
    corrections = read_study_corrections(out)
    program = state_program(with_weights=True)
    planned = []
    for scan, label, one in zip(found, labels, series, strict=True):
        how = MeasurementSettings(
            series=one, with_completeness=settings.with_completeness, lung_mask=scan.lung_mask
        )
        try:
            digest = digest_scan(scan.path)
            mask = {} if scan.lung_mask is None else {"lungs": digest_scan(scan.lung_mask)}
        except OSError as error:
            raise InputError(f"{scan.name}: cannot be read ({(error.strerror or 'error').lower()})") from None
        rests_on = {
            "input": digest,
            "settings": json.dumps(_state_settings(how), sort_keys=True),
            **mask,
            "corrections": _digest_corrections(corrections, label),
            **program,
        }
        change = find_changes(out, f"ct/{label}", rests_on, record)
        planned.append(PlannedScan(label, scan, how, rests_on, change))
    return tuple(planned)


def _state_settings(how: MeasurementSettings) -> dict[str, object]:
    """Settings as a result rests on them; the lung mask counts by what it holds, not by its name."""
    return {name: value for name, value in asdict(how).items() if name != "lung_mask"}


def _list_choices(path: Path) -> tuple[SeriesFacts, ...]:
    """The series to choose from; none where the scan cannot be read, which measuring it will say."""
    try:
        return list_choices(path)
    except MiliaryError:
        return ()


def _plan_pairs(
    scans: Sequence[PlannedScan], timing: PairTiming, out: Path, record: StudyRecord
) -> tuple[PlannedPair, ...]:
    """Each follow-up with the baseline."""
    planned = []
    for number, scan in enumerate(scans[1:], start=1):
        pair = PlannedPair(scans[0].label, scan.label, number, "")
        change = find_changes(out, pair.member, describe_pair_inputs(pair, timing, out), record)
        waiting = [one.label for one in (scans[0], scan) if one.change]
        if not change and waiting:
            change = f"rests on {' and '.join(waiting)}"
        planned.append(replace(pair, change=change))
    return tuple(planned)


def describe_pair_inputs(pair: PlannedPair, timing: PairTiming, out: Path) -> dict[str, str]:
    """What a comparison rests on if it is made of the scans' results as they are now."""
    about = {"days_between": timing.days[pair.number - 1], "is_one_patient": timing.is_one_patient}
    return {
        **{f"ct/{label}": digest_member(out, f"ct/{label}") for label in (pair.baseline, pair.followup)},
        "settings": json.dumps(about, sort_keys=True),
        **state_program(with_rules=True),
    }


def describe_case_inputs(found: FoundStudy, day: dt.date) -> dict[str, str]:
    """What the case rests on if it is derived on a day.

    Raises
    ------
    InputError
        A file of the case cannot be read.
    """
    from miliary.exchange.case.case_file import find_scans

    assert found.case is not None
    case = _read_case(found.case)
    pointed = {} if case is None else find_scans(case, found.case)
    try:
        files = [(name, found.case / name) for name in ("case.yaml", "labs.csv")]
        digest = digest_files((name, path) for name, path in files if path.is_file())
        pictures = digest_files((path.suffix.lower(), path) for path in found.radiographs)
    except OSError as error:
        raise InputError(f"case: a file cannot be read ({(error.strerror or 'error').lower()})") from None
    scans = {name: _digest_summary(path) for name, path in pointed.items()}
    return {
        "input": digest,
        "radiographs": pictures,
        "scans": digest_values(scans) if scans else "",
        "recheck": _digest_due_rules(day),
        **state_program(with_rules=True),
    }


def _digest_due_rules(day: dt.date) -> str:
    """Which rules are past their recheck date; empty where none is."""
    from miliary.clinical.registry import list_due_rules

    due = [(item.edition, item.values) for item in list_due_rules((), day)]
    return digest_values(due) if due else ""


def _digest_summary(folder: Path) -> str:
    try:
        return digest_files([("scan.json", folder / "scan.json")])
    except OSError:
        return ""


def _read_case(folder: Path) -> Case | None:
    """The case; None where it has mistakes, which deriving it will name."""
    from miliary.exchange.case.case_file import read_case

    try:
        return read_case(folder)
    except MiliaryError:
        return None


def _rests_on_scans(case_folder: Path, out: Path) -> bool:
    """Whether a study of the case points to a scan of this result."""
    from miliary.exchange.case.case_file import find_scans

    case = _read_case(case_folder)
    if case is None:
        return False
    return any(p.resolve().is_relative_to(out.resolve()) for p in find_scans(case, case_folder).values())


def read_study_corrections(out: Path) -> tuple[Correction, ...]:
    """A reader's corrections of the study, in order.

    Raises
    ------
    InputError
        Naming the line of ``corrections.jsonl`` that cannot be read.
    """
    from miliary.exchange.folders.corrections_file import FILE_NAME, read_corrections

    return read_corrections(out / FILE_NAME)


def _digest_corrections(corrections: Sequence[Correction], label: str) -> str:
    from miliary.model.corrections import correction_to_dict

    own: list[dict[str, Any]] = [correction_to_dict(one) for one in corrections if one.scan == label]
    return digest_values(own) if own else ""


def _check_labels(scans: Sequence[PlannedScan], out: Path, record: StudyRecord) -> None:
    """Refuse to give a scan another label while corrections name it by the one it had."""
    if not read_study_corrections(out):
        return
    now = {scan.rests_on["input"]: scan.member for scan in scans}
    for member, known in record.members.items():
        if member.startswith("ct/") and now.get(known.rests_on.get("input", ""), member) != member:
            raise InputError(
                "the order of the scans has changed, and corrections.jsonl names them as they were; "
                "choose a new folder with --out"
            )
