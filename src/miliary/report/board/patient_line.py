"""The patient in one line: who, which tumor, which drivers by which method, which stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from miliary.model.saved.case_summary import PatientSummary, RecordSummary
from miliary.model.study import StudyResult
from miliary.model.vocabulary import Result
from miliary.report.assessments import select_assessments, sort_by_edition
from miliary.report.catalog import Catalog
from miliary.report.formatting import spell

_PD_L1 = "PD-L1"


@dataclass(frozen=True)
class PatientFact:
    """One fact of the patient line: what it is, and what the record says."""

    name: str
    value: str


def list_patient(study: StudyResult, catalog: Catalog) -> tuple[PatientFact, ...]:
    """List what a tumor board wants to know of a patient before anything else.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    tuple of PatientFact
        Age, sex, smoking, performance status, histology, drivers with their tests, PD-L1, stage in every
        edition. What the record does not state is said to be; empty where there is no case.
    """
    if study.case is None:
        return ()
    return tuple(
        PatientFact(catalog(f"patient.{name}"), value or catalog("word.not_stated"))
        for name, value in _list_facts(study, catalog)
    )


def _list_facts(study: StudyResult, catalog: Catalog) -> Iterator[tuple[str, str]]:
    record = study.case.record if study.case else RecordSummary()
    patient: PatientSummary = record.patient
    yield "age", "" if patient.age_years is None else f"{patient.age_years:g}"
    yield "sex", catalog.word(patient.sex) if patient.sex else ""
    yield "smoking", _describe_smoking(patient, catalog)
    yield "ecog", "" if patient.ecog is None else str(patient.ecog)
    yield "histology", ", ".join(_list_histology(record))
    yield "drivers", "; ".join(_list_drivers(record, catalog))
    yield "pd_l1", "; ".join(_list_pd_l1(record))
    groups = sort_by_edition(select_assessments(study.case, "tnm.group"))
    stages = [
        f"{value} ({group.edition.replace('tnm', 'TNM')})"
        for group in groups
        if (value := group.value or " / ".join(group.values))
    ]
    yield "stage", ", ".join(stages)


def _describe_smoking(patient: PatientSummary, catalog: Catalog) -> str:
    words = catalog.word(patient.smoking) if patient.smoking else ""
    if words and patient.pack_years is not None:
        return catalog("patient.pack_years", smoking=words, n=f"{patient.pack_years:g}")
    return words


def _list_histology(record: RecordSummary) -> list[str]:
    """Histology of every specimen, each word once."""
    found = [
        spell(event.detail.partition(";")[0].strip()) for event in record.events if event.kind == "pathology"
    ]
    return list(dict.fromkeys(word for word in found if word))


def _list_drivers(record: RecordSummary, catalog: Catalog) -> Iterator[str]:
    """Positive genes with their tests, then tests in which no gene was positive with their genes."""
    negative: dict[str, list[str]] = {}
    for test in record.tests:
        for gene in test.genes:
            if gene.gene.upper() == _PD_L1:
                continue
            if gene.result is Result.POSITIVE:
                yield catalog(
                    "patient.positive",
                    gene=" ".join(filter(None, (gene.gene, gene.alteration))),
                    method=test.label or test.id,
                )
            elif gene.result is Result.NEGATIVE:
                negative.setdefault(test.label or test.id, []).append(gene.gene)
    for method, genes in negative.items():
        yield catalog("patient.negative", genes=", ".join(genes), method=method)


def _list_pd_l1(record: RecordSummary) -> Iterator[str]:
    for test in record.tests:
        for gene in test.genes:
            if gene.gene.upper() == _PD_L1:
                yield gene.alteration or str(gene.result)
