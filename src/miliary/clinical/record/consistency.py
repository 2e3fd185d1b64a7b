"""The whole case read at once: what a statement rests on and the record does not hold.

Contradictions and impossible values are in `plausibility`. Every rule looks for one kind of gap in any case;
none knows a patient. Verdict `met` means that the gap was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from miliary.clinical.record.plausibility import assess_plausibility, raise_finding
from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.clinical.tnm.site_words import canonical_site
from miliary.model.assessment import Assessment
from miliary.model.case import AdverseEvent, Case, Metastasis, RecordedLesion, When, days_between, path_of
from miliary.model.vocabulary import Finding, Origin, Presence, Result, Smoking


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Gaps, contradictions and impossible values of a case.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the consistency rules; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Only what was found; empty for a case with nothing in it.
    """
    book = rules or find_rules("consistency")
    gaps = (
        outcome
        for check in (
            _check_test_specimen,
            _check_specimen_dates,
            _check_follow_up_value,
            _check_response_in_words,
            _check_survival,
            _check_bone_follow_up,
            _check_event_detail,
            _check_smoking_word,
            _check_bone_before_lung,
            _check_conflicts,
            _check_lab_unit,
            _check_tps_cells,
        )
        for outcome in check(case, book)
    )
    found = (*gaps, *assess_plausibility(case, book))
    return tuple(
        replace(item, origin=case.origin) if item.origin is Origin.RECORDED else item for item in found
    )


def _check_test_specimen(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A test of tissue that does not say on which specimen it was done."""
    answered = (Result.POSITIVE, Result.NEGATIVE, Result.INDETERMINATE)
    tests = [
        (path_of("immunostains", stain.id, "specimen"), f"{stain.target} stain", stain.specimen)
        for stain in case.immunostains
        if stain.result in answered or stain.tps_percent is not None
    ]
    tests += [
        (path_of("molecular", report.id, "specimen"), report.assay or "molecular test", report.specimen)
        for report in case.molecular
        if report.genes or report.claims_no_other_driver
    ]
    missing = [(path, name) for path, name, specimen in tests if not specimen]
    if missing:
        names = ", ".join(name for _, name in missing)
        statement = f"The specimen is not stated of: {names}."
        yield raise_finding(book.row("test_specimen"), statement, [(path, None) for path, _ in missing], book)


def _check_specimen_dates(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Several specimens that cannot be put in order."""
    undated = [specimen for specimen in case.specimens if not specimen.when.is_known]
    if len(case.specimens) < 2 or not undated:
        return
    names = ", ".join(specimen.procedure or specimen.site or specimen.id for specimen in undated)
    facts = [(path_of("specimens", specimen.id, "when"), None) for specimen in undated]
    yield raise_finding(
        book.row("specimen_dates"),
        f"{len(case.specimens)} specimens are recorded; having no date, these cannot be ordered: {names}.",
        facts,
        book,
        origin=undated[0].origin,
    )


def _check_follow_up_value(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A value said to have changed, without the value."""
    for lab in case.labs:
        if lab.value is None and lab.change in ("increased", "decreased", "unchanged"):
            yield raise_finding(
                book.row("follow_up_value"),
                f"{lab.analyte.replace('_', ' ')} is said to be {lab.change}, but no value is stated.",
                [(path_of("labs", lab.id, "change"), lab.change), (path_of("labs", lab.id, "value"), None)],
                book,
                item_id=lab.id,
                origin=lab.origin,
            )


def is_measured_twice(lesion: RecordedLesion) -> bool:
    """Whether a lesion has a size, or was seen to be gone, in two studies.

    Parameters
    ----------
    lesion : RecordedLesion

    Returns
    -------
    bool
    """
    sized = [m for m in lesion.measurements if m.longest_mm is not None or m.short_axis_mm is not None]
    return len({m.study for m in sized}) >= 2


def _check_response_in_words(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A response that is described without two measurements of any lesion."""
    facts = [
        (path_of("responses", r.id, "text" if r.text else "category"), r.text or r.category or None)
        for r in case.responses
    ]
    facts += [(path_of("claims", c.id, "text"), c.text or None) for c in case.claims if c.kind == "response"]
    if not facts or any(is_measured_twice(lesion) for lesion in case.lesions):
        return
    yield raise_finding(
        book.row("response_in_words"),
        "A response is described, but no lesion has a size in two studies: it cannot be compared.",
        facts,
        book,
        origin=case.origin,
    )


def _check_survival(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A treated patient whose later course is not recorded."""
    if case.treatments and (case.follow_up is None or not case.follow_up.status):
        yield raise_finding(
            book.row("survival_status"),
            "A treatment is recorded, but not whether the patient was alive at the end of it.",
            [("follow_up.status", None)],
            book,
            origin=case.origin,
        )


def _list_bone_metastases(case: Case) -> list[Metastasis]:
    return [
        m
        for m in case.staging.metastases
        if canonical_site(m.site) == "bone" and m.presence is Presence.PRESENT
    ]


def _check_bone_follow_up(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Bone metastases under treatment, with neither their response nor a bone-directed drug on record."""
    row = book.row("bone_follow_up")
    bones = _list_bone_metastases(case)
    agents = [t for t in case.treatments if t.name.strip().lower() in row["bone_agents"]]
    answered = any(canonical_site(response.of) == "bone" for response in case.responses)
    followed = any(
        canonical_site(lesion.organ) == "bone" and len(lesion.measurements) >= 2 for lesion in case.lesions
    )
    if not bones or not case.treatments or (agents and (answered or followed)):
        return
    missing = [] if answered or followed else ["their response"]
    missing += [] if agents else ["a bone-directed drug"]
    facts = [(path_of("staging.metastases", bone.id, "site"), bone.site) for bone in bones]
    statement = f"Bone metastases are recorded; the record does not state: {', '.join(missing)}."
    yield raise_finding(row, statement, facts, book, origin=bones[0].origin)


def _check_event_detail(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """An adverse event without its time, what became of the drug, or the name of what treated it."""
    for event in case.adverse_events:
        missing = list_missing_detail(event)
        if missing:
            yield raise_finding(
                book.row("adverse_event_detail"),
                f"{event.term}: the record does not state {', '.join(missing)}.",
                [(path_of("adverse_events", event.id, "term"), event.term)],
                book,
                item_id=event.id,
                origin=event.origin,
            )


def list_missing_detail(event: AdverseEvent) -> list[str]:
    """What the record of an adverse event leaves out.

    Parameters
    ----------
    event : AdverseEvent

    Returns
    -------
    list of str
        In words.
    """
    return [
        name
        for name, is_missing in (
            ("when it began", not event.when.is_known),
            ("what was done with the drug", not event.drug_action),
            ("the grade", event.grade is None),
        )
        if is_missing
    ]


def _check_smoking_word(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A word that does not tell never from former."""
    if case.patient.smoking is Smoking.NON_SMOKER:
        yield raise_finding(
            book.row("smoking_word"),
            "The patient is called a non-smoker: whether never or former is not stated.",
            [("patient.smoking", case.patient.smoking.value)],
            book,
            origin=case.origin,
        )


def _check_bone_before_lung(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Seeding of the lung from the bone is claimed, but bone was not seen first."""
    claim = next((c for c in case.claims if c.kind == "bone_before_lung"), None)
    if claim is None or _was_first(*_list_bone_and_lung_times(case)):
        return
    yield raise_finding(
        book.row("bone_before_lung"),
        "The lung is said to be seeded from the bone; bone metastases are not recorded before the lung "
        "nodules, and finding both at once shows no order.",
        [
            (path_of("claims", claim.id, "kind"), claim.kind),
            *(
                (path_of("staging.metastases", m.id, "when"), str(m.when) if m.when.is_known else None)
                for m in _list_bone_metastases(case)
            ),
        ],
        book,
        origin=claim.origin,
    )


def _list_bone_and_lung_times(case: Case) -> tuple[list[When], list[When]]:
    """When bone metastases and small lung nodules were seen, from the sites and from the studies."""
    bone = [m.when for m in _list_bone_metastases(case)]
    bone += [s.when for s in case.studies if s.finding(Finding.BONE_LESIONS) is Presence.PRESENT]
    return bone, [s.when for s in case.studies if s.nodules is not None]


def _was_first(bone: list[When], lung: list[When]) -> bool:
    """Some bone finding lies before every lung finding."""
    gaps = [[days_between(early, late) for late in lung] for early in bone]
    return bool(lung) and any(all(gap is not None and gap > 0 for gap in row) for row in gaps)


def _check_conflicts(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """The maker of a drug in the case pays an author."""
    row = book.row("conflict_of_interest")
    if case.ethics is None:
        return
    for treatment in case.treatments:
        makers = row["makers"].get(treatment.name.strip().lower(), ())
        payers = [c for c in case.ethics.conflicts if any(maker in c.lower() for maker in makers)]
        if payers:
            yield raise_finding(
                row,
                f"The disclosures name {payers[0]}, the maker of {treatment.name}.",
                [
                    ("ethics.conflicts", "; ".join(payers)),
                    (path_of("treatments", treatment.id, "name"), treatment.name),
                ],
                book,
                item_id=treatment.id,
                origin=case.origin,
            )


def _check_lab_unit(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A number without a unit."""
    for lab in case.labs:
        if lab.value is not None and not lab.unit:
            yield raise_finding(
                book.row("lab_unit"),
                f"{lab.analyte.replace('_', ' ')} {lab.value:g} is stated without a unit.",
                [(path_of("labs", lab.id, "unit"), None)],
                book,
                item_id=lab.id,
                origin=lab.origin,
            )


def _check_tps_cells(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A PD-L1 score that rests on too few cells."""
    row = book.row("tps_cells")
    for stain in case.immunostains:
        cells = stain.viable_cells
        if stain.tps_percent is not None and cells is not None and cells < row["min_viable_cells"]:
            yield raise_finding(
                row,
                f"PD-L1 is scored on {cells} viable tumor cells; {row['min_viable_cells']} are asked for.",
                [(path_of("immunostains", stain.id, "viable_cells"), cells)],
                book,
                item_id=stain.id,
                origin=stain.origin,
            )
