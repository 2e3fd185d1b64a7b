"""`run_study`: one patient's folder brought up to date: scans, comparisons, case and report.

Members are made one after another, each complete or not at all; what rests on a member is removed before that
member is replaced, so that a run that ends early leaves nothing that looks current and is not.
"""

from __future__ import annotations

import contextlib
import enum
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.errors import InputError
from miliary.model.saved.study_inputs import MemberRecord, StudyRecord
from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter, count_cores
from miliary.workflow.study_plan import (
    DEFAULT_STUDY,
    PlannedPair,
    PlannedScan,
    StudyPlan,
    StudySettings,
    describe_case_inputs,
    describe_pair_inputs,
    plan_study,
    read_study_corrections,
)
from miliary.workflow.study_record import (
    NOT_MADE,
    STALE,
    check_saved_study,
    digest_member,
    digest_values,
    find_changes,
    is_of_this_program,
    read_record,
    state_program,
    write_record,
)

if TYPE_CHECKING:
    from miliary.model.comparison import Exam

# Pages that are made from the members. What a person edits (DOCX, Markdown) is left alone.
_PAGES = ("report.html", "report.pdf")


class Outcome(enum.StrEnum):
    """What became of one member of a study."""

    MADE = "made"
    KEPT = "kept"
    FAILED = "failed"
    STALE = "stale"
    REMOVED = "removed"


@dataclass(frozen=True)
class MemberOutcome:
    """What became of one member, and why: the change that it was made for, or what went wrong."""

    member: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class StudyRun:
    """What bringing a study up to date did.

    Parameters
    ----------
    plan : StudyPlan
    outcomes : tuple of MemberOutcome
        In the order of the work.
    """

    plan: StudyPlan
    outcomes: tuple[MemberOutcome, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every member is there and current."""
        return all(one.outcome not in {Outcome.FAILED, Outcome.STALE} for one in self.outcomes)


def run_study(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    settings: StudySettings = DEFAULT_STUDY,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> StudyRun:
    """Measure, compare, derive and report what is new or out of date in one patient's folder.

    Parameters
    ----------
    folder : path
        Of one patient: scans, and where there are, a case, laboratory values and radiographs. Nothing is
        written to it but the result.
    out : path, optional
        Folder of the result: new, empty, or an earlier result of this function. ``result`` in `folder` when
        not given.
    settings : StudySettings
    n_threads : int, optional
        All cores when not given. The result does not depend on it.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    StudyRun
        A member that could not be made is an outcome with its reason; the others are made all the same.

    Raises
    ------
    InputError
        The folder holds nothing that can be used, or scans of different patients.
    OutputError
        `out` cannot be written to.
    RunCancelled
        `cancel` said so; members made until then are whole and stay.
    """
    plan = plan_study(folder, out, settings=settings)
    return carry_out_plan(plan, n_threads=n_threads, progress=progress, cancel=cancel)


def carry_out_plan(
    plan: StudyPlan,
    *,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> StudyRun:
    """Do what a plan of `plan_study` says; parameters, result and errors as of `run_study`."""
    run = _Run(plan, StageReporter(progress, cancel), n_threads)
    run.begin()
    run.remove_members()
    for scan in plan.scans:
        run.make_scan(scan)
    for pair in plan.pairs:
        run.make_pair(pair)
    run.make_case()
    run.write_index()
    run.make_report()
    return StudyRun(plan, tuple(run.outcomes))


class _Run:
    """Makes the members of a study and keeps what became of each."""

    def __init__(self, plan: StudyPlan, report: StageReporter, n_threads: int | None) -> None:
        self.plan, self.out = plan, plan.out
        self.report, self.n_threads = report, n_threads
        self.outcomes: list[MemberOutcome] = []
        self.record = read_record(plan.out)
        self.baseline: Exam | None = None

    def begin(self) -> None:
        """Note what is out of date before anything is made, so that a run that ends early has said it."""
        from miliary.model.saved.study_index import StudyProblem

        changes = self.plan.list_changes()
        stale = [
            StudyProblem(member, STALE, change)
            for member, change in changes.items()
            if digest_member(self.out, member)
        ]
        self.record = replace(self.record, problems=tuple(stale))
        if changes:
            self.open_out()
            self.save_record()
            self.remove_pages()

    def remove_members(self) -> None:
        """Remove results of scans that are not in the patient's folder any more."""
        for member in self.plan.removed:
            if self.plan.settings.measures:
                self.forget(member)
                self.outcomes.append(MemberOutcome(member, Outcome.REMOVED, "its scan is not there any more"))
            else:
                self.note(member, Outcome.STALE, "its scan is not there any more")

    def make_scan(self, scan: PlannedScan) -> None:
        """Measure a scan where its result is not current."""
        if not scan.change:
            self.outcomes.append(MemberOutcome(scan.member, Outcome.KEPT))
        elif not self.plan.settings.measures:
            self.note(scan.member, Outcome.STALE, scan.change)
        else:
            self.report.check_cancelled()
            self.clear_damaged(scan.member)
            try:
                self.measure_scan(scan)
            except InputError as error:
                self.note(scan.member, Outcome.FAILED, str(error))
                return
            self.keep(scan.member, scan.rests_on, scan.change)

    def measure_scan(self, scan: PlannedScan) -> None:
        from miliary.workflow.scan_measurement import measure

        target = self.out / scan.member
        has_corrections = any(one.scan == scan.label for one in read_study_corrections(self.out))
        self.open_out()
        if scan.found.kind == "earlier result" and not has_corrections and _is_usable(scan.found.path):
            self.report(f"{scan.label}: copy")
            self.forget_dependents(scan.member)
            _copy_result(scan.found.path, target)
            return

        def progress(stage: str) -> None:
            if stage == "write":
                # From here on what rests on the earlier result is out of date.
                self.forget_dependents(scan.member)
            self.report(f"{scan.label}: {stage}")

        measure(
            scan.found.path,
            target,
            settings=scan.settings,
            apply_corrections=has_corrections,
            n_threads=self.n_threads,
            progress=progress,
        )

    def make_pair(self, pair: PlannedPair) -> None:
        """Compare a follow-up with the baseline where that is not current."""
        missing = [
            label
            for label in (pair.baseline, pair.followup)
            if self.is_out_of_date(f"ct/{label}") or not digest_member(self.out, f"ct/{label}")
        ]
        if not pair.change:
            self.outcomes.append(MemberOutcome(pair.member, Outcome.KEPT))
        elif missing:
            reason = f"rests on {' and '.join(missing)}, which is not up to date"
            is_there = bool(digest_member(self.out, pair.member))
            self.note(pair.member, Outcome.STALE if is_there else Outcome.FAILED, reason)
        elif not self.plan.settings.measures:
            self.note(pair.member, Outcome.STALE, pair.change)
        else:
            assert self.plan.timing is not None
            rests_on = describe_pair_inputs(pair, self.plan.timing, self.out)
            self.report(f"compare {pair.followup}: read")
            self.clear_damaged(pair.member)
            try:
                self.compare_pair(pair)
            except InputError as error:
                self.note(pair.member, Outcome.FAILED, str(error))
                return
            self.keep(pair.member, rests_on, pair.change)

    def compare_pair(self, pair: PlannedPair) -> None:
        from miliary.exchange.folders.compare_store import write_comparison
        from miliary.exchange.folders.exam_read import read_exam
        from miliary.image.kernels.compile_ahead import compiling_ahead
        from miliary.workflow.comparison_run import compare_exams

        assert self.plan.timing is not None
        with compiling_ahead("compare", n_threads=self.n_threads or count_cores()):
            if self.baseline is None:
                self.baseline = read_exam(self.out / "ct" / pair.baseline)
            found = compare_exams(
                self.baseline,
                read_exam(self.out / "ct" / pair.followup),
                self.plan.timing,
                number=pair.number,
                names=(pair.baseline, pair.followup),
                progress=lambda stage: self.report(f"compare {pair.followup}: {stage}"),
                n_threads=self.n_threads,
            )
        self.remove_pages()
        write_comparison(found, self.out / pair.member)

    def make_case(self) -> None:
        """Derive the case where its result is not current."""
        if self.plan.case_change is None:
            if digest_member(self.out, "case"):
                self.forget("case")
                shutil.rmtree(self.out / "radiographs", ignore_errors=True)
                self.outcomes.append(
                    MemberOutcome("case", Outcome.REMOVED, "its case.yaml is not there any more")
                )
            return
        rests_on = describe_case_inputs(self.plan.found, self.plan.settings.day)
        change = find_changes(self.out, "case", rests_on, self.record)
        if not change:
            self.outcomes.append(MemberOutcome("case", Outcome.KEPT))
            return
        self.report("case")
        self.clear_damaged("case")
        try:
            self.derive_case()
        except InputError as error:
            self.note("case", Outcome.FAILED, str(error))
            return
        self.keep("case", rests_on, change)

    def derive_case(self) -> None:
        from miliary.exchange.case.case_folder import write_case_files
        from miliary.exchange.dicom.radiograph_picture import keep_radiographs
        from miliary.exchange.folders.atomic_folder import writing
        from miliary.model.saved.case_summary import CASE_KIND
        from miliary.workflow.case_derivation import assess_case_folder

        assert self.plan.found.case is not None
        derived = assess_case_folder(self.plan.found.case, on=self.plan.settings.day)
        self.open_out()
        self.remove_pages()
        with writing(self.out / "case", kind=CASE_KIND) as draft:
            write_case_files(derived.summary, derived.text, draft)
            left_out = keep_radiographs(self.plan.found.radiographs, draft / "radiographs")
            # They belong to the study, where the report looks for them.
            shutil.rmtree(self.out / "radiographs", ignore_errors=True)
            if (draft / "radiographs").is_dir():
                (draft / "radiographs").rename(self.out / "radiographs")
        for reason in left_out:
            self.outcomes.append(MemberOutcome("radiographs", Outcome.FAILED, reason))

    def write_index(self) -> None:
        """Write `study.json` and, of three and more scans, `compare/series.json`."""
        from miliary.exchange.folders.open_result import open_case

        self.open_out()
        title = "study"
        # A kept part that is damaged is named by the report; the index does without what it says.
        with contextlib.suppress(InputError):
            case = open_case(self.out / "case").summary
            title = case.record.title or case.case_id or title
        self.write_study_file(title)
        self.write_series()
        self.save_record()

    def write_study_file(self, title: str) -> None:
        from miliary.exchange.folders.kinds import STUDY_NAME
        from miliary.exchange.folders.study_file import write_study_file

        scans = [s for s in self.plan.scans if (self.out / s.member).is_dir()]
        pairs = [p for p in self.plan.pairs if (self.out / p.member).is_dir()]
        draft = self.out / ".study.part"
        draft.mkdir(exist_ok=True)
        try:
            write_study_file(
                draft,
                title=title,
                scans=[(scan.label, scan.member) for scan in scans],
                comparisons=[(pair.baseline, pair.followup, pair.member) for pair in pairs],
                case="case/case.json" if digest_member(self.out, "case") else "",
            )
            (draft / STUDY_NAME).replace(self.out / STUDY_NAME)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def write_series(self) -> None:
        from miliary.exchange.folders.ct_store import write_json
        from miliary.exchange.folders.open_result import open_comparison
        from miliary.model.saved.codec import to_json
        from miliary.model.saved.summarize_comparison import summarize_saved_series

        path = self.out / "compare" / "series.json"
        found = []
        for pair in self.plan.pairs:
            with contextlib.suppress(InputError):
                found.append((pair.member, open_comparison(self.out / pair.member).summary))
        if len(found) < 2:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(".series.part")
        write_json(to_json(summarize_saved_series(found)), draft)
        draft.replace(path)

    def make_report(self) -> None:
        """Write the page where it is older than what it shows."""
        from miliary.exchange.folders.study_file import read_study
        from miliary.report import write_report

        problems = check_saved_study(self.out)
        rests_on = {
            **{m: digest_member(self.out, m) for m in self.record.members if m != "report"},
            "corrections": digest_values([c.number for c in read_study_corrections(self.out)]),
            "problems": digest_values([(p.member, p.code, p.detail) for p in problems]),
            "settings": self.plan.settings.language,
            **state_program(),
        }
        change = find_changes(self.out, "report", rests_on, self.record)
        if not change:
            self.outcomes.append(MemberOutcome("report", Outcome.KEPT))
            return
        self.report("report")
        try:
            study = read_study(self.out)
            study = replace(study, problems=(*problems, *study.problems))
            write_report(study, self.out / "report.html", language=self.plan.settings.language)
        except InputError as error:
            self.outcomes.append(MemberOutcome("report", Outcome.FAILED, str(error)))
            return
        self.keep("report", rests_on, change)

    # --- what is kept of all this

    def keep(self, member: str, rests_on: Mapping[str, str], change: str) -> None:
        """Record a member that was made."""
        row = MemberRecord(rests_on, digest_member(self.out, member))
        self.record = replace(
            self.record,
            members={**self.record.members, member: row},
            problems=tuple(p for p in self.record.problems if p.member != member),
        )
        self.save_record()
        self.outcomes.append(MemberOutcome(member, Outcome.MADE, change))

    def note(self, member: str, outcome: Outcome, reason: str) -> None:
        """Record a member that could not be made or is out of date, without any file's name."""
        from miliary.model.saved.study_index import StudyProblem

        if digest_member(self.out, member):
            problem = StudyProblem(
                member, STALE, reason if outcome is Outcome.STALE else "making it anew failed"
            )
        else:
            problem = StudyProblem(
                member, NOT_MADE, "nothing was measured" if reason == "new" else "it failed"
            )
        others = (p for p in self.record.problems if p.member != member)
        self.record = replace(self.record, problems=(*others, problem))
        self.outcomes.append(MemberOutcome(member, outcome, reason))

    def is_out_of_date(self, member: str) -> bool:
        return any(problem.member == member for problem in self.record.problems)

    def forget_dependents(self, member: str) -> None:
        """Remove what rests on a scan that is about to be replaced."""
        for name, row in list(self.record.members.items()):
            if name.startswith("compare/") and member in row.rests_on:
                self.forget(name)
        if self.baseline is not None and member == f"ct/{self.baseline.name}":
            self.baseline = None
        self.remove_pages()

    def forget(self, member: str) -> None:
        """Remove a member and its record."""
        self.remove_pages()
        members = {name: row for name, row in self.record.members.items() if name != member}
        problems = tuple(problem for problem in self.record.problems if problem.member != member)
        self.record = StudyRecord(members, problems)
        self.save_record()
        shutil.rmtree(self.out / member, ignore_errors=True)

    def clear_damaged(self, member: str) -> None:
        """Remove what is left of a member whose main file is gone: nothing would be written over it."""
        if member in self.record.members and not digest_member(self.out, member):
            shutil.rmtree(self.out / member, ignore_errors=True)

    def remove_pages(self) -> None:
        """Remove pages made from members that are about to change."""
        for name in _PAGES:
            (self.out / name).unlink(missing_ok=True)

    def open_out(self) -> None:
        """Make the folder, and say in it whose result it is, so that a run that ends early can go on."""
        if not (self.out / "inputs.json").is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            self.save_record()
            self.write_study_file("study")

    def save_record(self) -> None:
        write_record(self.out, self.record)


def _is_usable(folder: Path) -> bool:
    """Whether an earlier result can be taken as it is: measured by this version, with its volume."""
    from miliary.exchange.folders.kinds import VOLUME_NAME
    from miliary.exchange.folders.open_result import open_ct_result

    try:
        saved = open_ct_result(folder)
    except InputError:
        return False
    return is_of_this_program(saved.summary.provenance) and (folder / VOLUME_NAME).is_dir()


def _copy_result(source: Path, target: Path) -> None:
    """Keep an earlier result as part of a study."""
    from miliary.exchange.folders.atomic_folder import writing
    from miliary.exchange.folders.kinds import CT_FILES
    from miliary.model.saved.scan_summary import SCAN_KIND

    with writing(target, kind=SCAN_KIND) as draft:
        for name in CT_FILES:
            if (source / name).is_dir():
                shutil.copytree(source / name, draft / name)
            elif (source / name).is_file():
                shutil.copy2(source / name, draft / name)
