"""What `case.json` repeats of the record, so that a report needs no case file: events in days, no dates.

Nothing is judged here. Days are counted from the start of the first dated drug, else from the first dated
item; where the case itself counts days, they are taken as they are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from miliary.model.case import AdverseEvent, Case, LabResult, Lesion, Treatment, When
from miliary.model.vocabulary import Presence

# Limits of a laboratory value [its unit] and the words that say whose they are.
Band = tuple[float | None, float | None, str]


def summarize_record(case: Case, *, bands: Mapping[str, Band] | None = None) -> dict[str, Any]:
    """The record as plain JSON values.

    Parameters
    ----------
    case : Case
    bands : mapping of str to (low, high, words), optional
        Reference range of laboratory values by their id.

    Returns
    -------
    dict
        ``day_zero``, ``patient``, ``events`` in order of time, ``labs``, ``lesions`` and what else a page
        shows beside the assessments.
    """
    zero, words = find_day_zero(case)
    return _without_empty(
        {
            "title": case.title,
            "sources": list(case.sources),
            "day_zero": words,
            "patient": _summarize_patient(case),
            "symptoms": _stated(case.symptoms),
            "history": _stated(case.history),
            "events": sorted(_list_events(case, zero), key=_order),
            "labs": [_summarize_lab(lab, zero, (bands or {}).get(lab.id)) for lab in case.labs],
            "tests": list(_summarize_tests(case)),
            "lesions": [_summarize_lesion(lesion) for lesion in case.lesions],
            "ethics": _summarize_ethics(case),
            "report": _stated(case.report.items) if case.report else None,
        }
    )


def _without_empty(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "", [], {}, ())}


def _stated(findings: Mapping[Any, Presence]) -> dict[str, str]:
    return {str(name): presence.value for name, presence in findings.items()}


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


def _when(when: When, zero: dt.date | None) -> dict[str, Any]:
    if when.date is not None and zero is not None:
        return {"day": (when.date - zero).days}
    if when.day is not None:
        return {"day": when.day}
    return {"day": None, "when": when.text} if when.text else {"day": None}


def _order(event: Mapping[str, Any]) -> tuple[bool, int]:
    return (event["day"] is None, event["day"] or 0)


def _summarize_patient(case: Case) -> dict[str, Any]:
    patient = case.patient
    facts = {
        "age_years": patient.age_years,
        "sex": patient.sex,
        "region": patient.region,
        "ancestry": patient.ancestry,
        "smoking": patient.smoking,
        "pack_years": patient.pack_years,
        "ecog": patient.ecog,
        "weight_kg": patient.weight_kg,
        "height_cm": patient.height_cm,
    }
    return {name: str(v) if isinstance(v, str) else v for name, v in facts.items() if v not in (None, "")}


def _event(kind: str, item: Any, when: dict[str, Any], label: str, detail: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": item.id,
        **when,
        "label": label,
        **({"detail": detail} if detail else {}),
        "origin": item.origin.value,
    }


def _list_events(case: Case, zero: dt.date | None) -> Iterator[dict[str, Any]]:
    for study in case.studies:
        parts = " ".join(study.body_parts)
        shown = [f.value.replace("_", " ") for f, p in study.findings.items() if p is Presence.PRESENT]
        detail = "; ".join(filter(None, (", ".join(shown), study.change, study.note)))
        yield _event(
            "imaging", study, _when(study.when, zero), f"{study.modality.upper()} {parts}".strip(), detail
        )
    for specimen in case.specimens:
        label = " ".join(filter(None, (specimen.procedure.replace("_", " "), specimen.site)))
        detail = "; ".join(filter(None, (specimen.histology, ", ".join(specimen.patterns))))
        yield _event("pathology", specimen, _when(specimen.when, zero), label or specimen.id, detail)
    yield from _list_tests(case, zero)
    for treatment in case.treatments:
        when = _when(treatment.start, zero)
        end = _when(treatment.stop, zero)["day"]
        event = _event("treatment", treatment, when, treatment.name, _dose(treatment))
        yield {**event, "end_day": end, "line": treatment.line}
    for adverse in case.adverse_events:
        end = _when(adverse.end, zero)["day"]
        event = _event("adverse_event", adverse, _when(adverse.when, zero), adverse.term, _adverse(adverse))
        yield {**event, "end_day": end, "grade": adverse.grade}
    for response in case.responses:
        label = response.category or response.text or response.of
        detail = " ".join(filter(None, (response.criteria, response.of if response.category else "")))
        yield _event("response", response, _when(response.when, zero), label, detail)
    for stage in case.staging.asserted:
        label = " ".join(filter(None, (stage.tnm, stage.group)))
        yield _event("stage", stage, _when(stage.when, zero), label, stage.edition)


def _list_tests(case: Case, zero: dt.date | None) -> Iterator[dict[str, Any]]:
    for report in case.molecular:
        found = [
            " ".join(filter(None, (gene.gene, gene.alteration, gene.result.value.replace("_", " "))))
            for gene in report.genes
        ]
        yield _event(
            "molecular", report, _when(report.when, zero), report.assay or report.id, "; ".join(found)
        )
    for stain in case.immunostains:
        share = f"TPS {stain.tps_percent:g} %" if stain.tps_percent is not None else ""
        result = "" if stain.result.value == "not_stated" else stain.result.value
        detail = " ".join(filter(None, (result, share, stain.clone)))
        yield _event("molecular", stain, _when(stain.when, zero), f"{stain.target} IHC", detail)
    for test in case.microbiology:
        label = " ".join(filter(None, (test.test.replace("_", " "), test.material)))
        yield _event("microbiology", test, _when(test.when, zero), label, test.result.value.replace("_", " "))


def _summarize_tests(case: Case) -> Iterator[dict[str, Any]]:
    """What each molecular test and stain says of each gene."""
    for report in case.molecular:
        genes = [
            {"gene": g.gene, "result": g.result.value, "alteration": g.alteration, "partner": g.partner}
            for g in report.genes
        ]
        yield {
            "id": report.id,
            "label": report.assay or report.id,
            "specimen": report.specimen,
            "genes": genes,
        }
    for stain in case.immunostains:
        share = f"TPS {stain.tps_percent:g} %" if stain.tps_percent is not None else ""
        gene = {"gene": stain.target, "result": stain.result.value, "alteration": share, "partner": ""}
        label = " ".join(filter(None, (f"{stain.target} IHC", stain.clone)))
        yield {"id": stain.id, "label": label, "specimen": stain.specimen, "genes": [gene]}


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


def _summarize_lab(lab: LabResult, zero: dt.date | None, band: Band | None) -> dict[str, Any]:
    low, high, words = band or (lab.low, lab.high, "the laboratory's range")
    return {
        "id": lab.id,
        "analyte": lab.analyte,
        "value": lab.value,
        "unit": lab.unit,
        "comparator": lab.comparator,
        "change": lab.change,
        **_when(lab.when, zero),
        "low": low,
        "high": high,
        "range": words if low is not None or high is not None else "",
        "origin": lab.origin.value,
    }


def _summarize_lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "id": lesion.id,
        "organ": lesion.organ,
        "kind": lesion.kind,
        "lobe": lesion.lobe.value if lesion.lobe else "",
        "side": lesion.side.value if lesion.side else "",
        "role": lesion.role,
        "measurements": [
            {
                "study": m.study,
                "longest_mm": m.longest_mm,
                "short_axis_mm": m.short_axis_mm,
                "state": m.state.value if m.state else "",
                "origin": m.origin.value,
            }
            for m in lesion.measurements
        ],
    }


def _summarize_ethics(case: Case) -> dict[str, Any] | None:
    ethics = case.ethics
    if ethics is None:
        return None
    conflicts: Sequence[str] = ethics.conflicts
    return {
        "consent_written": ethics.consent_written.value,
        "committee_approval": ethics.committee_approval.value,
        "committee_waiver": ethics.committee_waiver.value,
        "funding": ethics.funding,
        "conflicts": list(conflicts),
    }
