"""What `case.json` repeats of the record, so that a report needs no case file: events in days, no dates.

Nothing is judged here. Days are counted from the start of the first dated drug, else from the first dated
item; where the case itself counts days, they are taken as they are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from miliary.model.case import AdverseEvent, Case, Immunostain, LabResult, RecordedLesion, Treatment, When
from miliary.model.saved.case_summary import (
    EthicsSummary,
    EventSummary,
    GeneSummary,
    LabSummary,
    LesionSizeSummary,
    MolecularSummary,
    PatientSummary,
    RecordedLesionSummary,
    RecordSummary,
)
from miliary.model.vocabulary import Presence

# Limits of a laboratory value [its unit] and the words that say whose they are.
Band = tuple[float | None, float | None, str]


def summarize_record(case: Case, *, bands: Mapping[str, Band] | None = None) -> RecordSummary:
    """The record as a report shows it.

    Parameters
    ----------
    case : Case
    bands : mapping of str to (low, high, words), optional
        Reference range of laboratory values by their id.

    Returns
    -------
    RecordSummary
        Events in order of time; what the record does not hold is empty.
    """
    zero, words = find_day_zero(case)
    return RecordSummary(
        title=case.title,
        sources=tuple(case.sources),
        day_zero=words,
        patient=_summarize_patient(case),
        symptoms=_stated(case.symptoms),
        history=_stated(case.history),
        events=tuple(sorted(_list_events(case, zero), key=_order)),
        labs=tuple(_summarize_lab(lab, zero, (bands or {}).get(lab.id)) for lab in case.labs),
        tests=tuple(_summarize_tests(case)),
        lesions=tuple(_summarize_lesion(lesion) for lesion in case.lesions),
        ethics=_summarize_ethics(case),
        report=_stated(case.report.items) if case.report else {},
    )


def _stated(findings: Mapping[Any, Presence]) -> dict[str, Presence]:
    return {str(name): presence for name, presence in findings.items()}


def _dated(case: Case) -> Iterator[dt.date]:
    """Every date that anything in the record has."""
    parts: list[Iterable[Any]] = [case.studies, case.specimens, case.molecular, case.immunostains, case.labs]
    parts += [case.treatments, case.adverse_events, case.responses, case.microbiology]
    for item in (item for part in parts for item in part):
        when = getattr(item, "when", None) or getattr(item, "start", None)
        if isinstance(when, When) and when.date is not None:
            yield when.date


def find_day_zero(case: Case) -> tuple[dt.date | None, str]:
    """Date that days are counted from, and what it is in words."""
    starts = [
        (t.start.date, t.name) for t in case.treatments if t.kind == "drug" and t.start.date is not None
    ]
    if starts:
        date, name = min(starts)
        return date, case.day_zero or f"start of {name}"
    dates = sorted(_dated(case))
    if not dates:
        return None, case.day_zero
    return dates[0], case.day_zero or "first dated item of the record"


def _find_day(when: When, zero: dt.date | None) -> int | None:
    """Days from day zero; None where neither a date nor a day is known."""
    if when.date is not None and zero is not None:
        return (when.date - zero).days
    return when.day


def _find_words(when: When, zero: dt.date | None) -> str:
    """The time in words, where that is all there is."""
    return when.text if _find_day(when, zero) is None else ""


def _order(event: EventSummary) -> tuple[bool, int]:
    return (event.day is None, event.day or 0)


def _summarize_patient(case: Case) -> PatientSummary:
    patient = case.patient
    return PatientSummary(
        age_years=patient.age_years,
        sex=patient.sex,
        region=patient.region,
        ancestry=patient.ancestry,
        smoking=patient.smoking,
        pack_years=patient.pack_years,
        ecog=patient.ecog,
        weight_kg=patient.weight_kg,
        height_cm=patient.height_cm,
    )


def _event(
    kind: str, item: Any, label: str, detail: str, *, when: When, zero: dt.date | None, **more: int | None
) -> EventSummary:
    return EventSummary(
        kind=kind,
        id=item.id,
        day=_find_day(when, zero),
        when=_find_words(when, zero),
        label=label,
        detail=detail,
        origin=item.origin,
        **more,
    )


def _list_events(case: Case, zero: dt.date | None) -> Iterator[EventSummary]:
    for study in case.studies:
        parts = " ".join(study.body_parts)
        shown = [f.value.replace("_", " ") for f, p in study.findings.items() if p is Presence.PRESENT]
        detail = "; ".join(filter(None, (", ".join(shown), study.change, study.note)))
        yield _event(
            "imaging", study, f"{study.modality.upper()} {parts}".strip(), detail, when=study.when, zero=zero
        )
    for specimen in case.specimens:
        label = " ".join(filter(None, (specimen.procedure.replace("_", " "), specimen.site)))
        detail = "; ".join(filter(None, (specimen.histology, ", ".join(specimen.patterns))))
        yield _event("pathology", specimen, label or specimen.id, detail, when=specimen.when, zero=zero)
    yield from _list_tests(case, zero)
    for treatment in case.treatments:
        end = _find_day(treatment.stop, zero)
        when, name, dose = treatment.start, treatment.name, _describe_treatment(treatment)
        yield _event(
            "treatment", treatment, name, dose, end_day=end, line=treatment.line, when=when, zero=zero
        )
        if treatment.paused_from != When():
            end, pause = _find_day(treatment.paused_to, zero), treatment.paused_from
            label, why = f"{name} interrupted", treatment.pause_reason
            yield _event("treatment", treatment, label, why, end_day=end, when=pause, zero=zero)
    for adverse in case.adverse_events:
        end = _find_day(adverse.end, zero)
        when, term, words = adverse.when, adverse.term, _adverse(adverse)
        yield _event(
            "adverse_event", adverse, term, words, end_day=end, grade=adverse.grade, when=when, zero=zero
        )
    for response in case.responses:
        label = response.category or response.text or response.of
        detail = " ".join(filter(None, (response.criteria, response.of if response.category else "")))
        yield _event("response", response, label, detail, when=response.when, zero=zero)
    for stage in case.staging.asserted:
        label = " ".join(filter(None, (stage.tnm, stage.group)))
        yield _event("stage", stage, label, stage.edition, when=stage.when, zero=zero)


def _list_tests(case: Case, zero: dt.date | None) -> Iterator[EventSummary]:
    for report in case.molecular:
        found = [
            " ".join(filter(None, (gene.gene, gene.alteration, gene.result.value.replace("_", " "))))
            for gene in report.genes
        ]
        yield _event(
            "molecular", report, report.assay or report.id, "; ".join(found), when=report.when, zero=zero
        )
    for stain in case.immunostains:
        share = _name_score(stain)
        result = "" if stain.result.value == "not_stated" else stain.result.value
        detail = " ".join(filter(None, (result, share, stain.clone)))
        yield _event("molecular", stain, f"{stain.target} IHC", detail, when=stain.when, zero=zero)
    for test in case.microbiology:
        label = " ".join(filter(None, (test.test.replace("_", " "), test.material)))
        yield _event(
            "microbiology", test, label, test.result.value.replace("_", " "), when=test.when, zero=zero
        )


def _name_score(stain: Immunostain) -> str:
    if stain.note == "TPS below 1 %":  # written with a score of 0
        return stain.note
    return f"TPS {stain.tps_percent:g} %" if stain.tps_percent is not None else ""


def _summarize_tests(case: Case) -> Iterator[MolecularSummary]:
    """What each molecular test and stain says of each gene."""
    for report in case.molecular:
        genes = tuple(GeneSummary(g.gene, g.result, g.alteration, g.partner) for g in report.genes)
        yield MolecularSummary(report.id, report.assay or report.id, report.specimen, genes)
    for stain in case.immunostains:
        share = _name_score(stain)
        label = " ".join(filter(None, (f"{stain.target} IHC", stain.clone)))
        gene = GeneSummary(stain.target, stain.result, share, "")
        yield MolecularSummary(stain.id, label, stain.specimen, (gene,))


def _describe_treatment(treatment: Treatment) -> str:
    """Dose, cycles, radiation, site and margins of a treatment, as far as stated."""
    cycles = f"{treatment.cycles} cycles" if treatment.cycles else ""
    if cycles and treatment.cycle_days:
        cycles += f" of {treatment.cycle_days} days"
    gray = f"{treatment.total_gy:g} Gy" if treatment.total_gy else ""
    if treatment.fractions:
        each = f" of {treatment.fraction_gy:g} Gy" if treatment.fraction_gy else ""
        gray = " in ".join(filter(None, (gray, f"{treatment.fractions} fractions{each}")))
    place = f"to {treatment.site}" if treatment.site and treatment.kind == "radiation" else treatment.site
    radiation = " ".join(filter(None, (gray, place)))
    return "; ".join(filter(None, (_dose(treatment), cycles, radiation, treatment.resection)))


def _dose(treatment: Treatment) -> str:
    if treatment.dose_text:
        return treatment.dose_text
    if treatment.dose is None:
        return ""
    times = "daily in total" if treatment.dose_is_daily_total else ""
    if treatment.times_per_day is not None and not treatment.dose_is_daily_total:
        times = f"{treatment.times_per_day:g} times a day"
    return " ".join(filter(None, (f"{treatment.dose:g}", treatment.unit, times, treatment.route)))


def _adverse(event: AdverseEvent) -> str:
    parts = (
        f"grade {event.grade}" if event.grade is not None else "",
        f"CTCAE {event.ctcae_edition}" if event.ctcae_edition else "",
        f"drug {event.drug_action}" if event.drug_action else "",
        event.treatment,
        event.outcome,
    )
    return "; ".join(filter(None, parts))


def _summarize_lab(lab: LabResult, zero: dt.date | None, band: Band | None) -> LabSummary:
    low, high, words = band or (lab.low, lab.high, "the laboratory's range")
    return LabSummary(
        id=lab.id,
        analyte=lab.analyte,
        value=lab.value,
        unit=lab.unit,
        comparator=lab.comparator,
        change=lab.change,
        day=_find_day(lab.when, zero),
        when=_find_words(lab.when, zero),
        low=low,
        high=high,
        range=words if low is not None or high is not None else "",
        origin=lab.origin,
    )


def _summarize_lesion(lesion: RecordedLesion) -> RecordedLesionSummary:
    sizes = (
        LesionSizeSummary(m.study, m.longest_mm, m.short_axis_mm, m.state, m.origin)
        for m in lesion.measurements
    )
    return RecordedLesionSummary(
        lesion.id, lesion.organ, lesion.kind, lesion.lobe, lesion.side, lesion.role, tuple(sizes)
    )


def _summarize_ethics(case: Case) -> EthicsSummary | None:
    ethics = case.ethics
    if ethics is None:
        return None
    return EthicsSummary(
        consent_written=ethics.consent_written,
        committee_approval=ethics.committee_approval,
        committee_waiver=ethics.committee_waiver,
        funding=ethics.funding,
        conflicts=tuple(ethics.conflicts),
    )
