"""Published reports that resemble a case, and both sides where cohorts disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from miliary.clinical.genes.drivers import GeneStatus, find_gene_status
from miliary.clinical.miliary.definition import best_described_study
from miliary.clinical.record.diagnosis_words import list_specimens
from miliary.clinical.record.microbiology_words import find_test
from miliary.clinical.record.tumor import may_have_lung_cancer
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.clinical.tnm.separate_nodules import nodule_places
from miliary.clinical.tnm.site_words import canonical_site
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case
from miliary.model.vocabulary import Presence, Result, Smoking

_MAX_SIMILAR = 8
_TISSUE_FEATURES = (
    (("adenocarcinoma",), "adenocarcinoma"),
    (("granuloma", "caseating_granuloma"), "granulomas"),
)
_TUBERCULOSIS_TESTS = ("igra", "igra_quantiferon", "igra_tspot", "tb_culture", "tb_naat", "afb_smear")


class SimilarReport(NamedTuple):
    """A published report and the features it shares with a case.

    Attributes
    ----------
    row : RuleRow
        Of the table ``report``.
    shared : tuple of str
        Names of the features.
    """

    row: RuleRow
    shared: tuple[str, ...]


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Reports that share most with a case, and the cohorts' word on survival.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the table of reports; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Empty where the case records neither small nodules on CT nor a miliary pattern.
    """
    book = rules or find_rules("literature")
    if best_described_study(case) is None and not case.has_claim("miliary"):
        return ()
    return (
        *_list_similar_reports(case, book),
        *(_compare_survival(case, book) if _is_survival_asked(case) else ()),
        *_weigh_bone_seeding(case, book),
    )


def _is_survival_asked(case: Case) -> bool:
    """Whether the survival of lung cancer has anything to do with this patient."""
    return may_have_lung_cancer(case) or case.has_claim("poor_survival_of_miliary")


def find_similar_reports(case: Case, rules: RuleBook | None = None) -> tuple[SimilarReport, ...]:
    """Published reports that share at least two features with a case.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the table of reports; the newest packaged one by default.

    Returns
    -------
    tuple of SimilarReport
        Most shared features first. The report that the case was taken from is left out.
    """
    book = rules or find_rules("literature")
    features = {name for name, _ in _list_features(case)}
    found = []
    for row in book.rows("report"):
        shared = tuple(name for name in _list_row_features(row) if name in features)
        if len(shared) >= 2 and not _is_same(row, case, book):
            found.append(SimilarReport(row, shared))
    return tuple(sorted(found, key=lambda neighbor: -len(neighbor.shared)))


def _list_features(case: Case) -> Iterator[tuple[str, Input]]:
    """Features of a case that a report may share, with the fact each rests on."""
    for finding in find_gene_status(case):
        if finding.status is GeneStatus.POSITIVE:
            yield finding.gene, finding.evidence[0].fact
    patient = case.patient
    if patient.sex is not None:
        yield patient.sex.value, Input("patient.sex", patient.sex.value)
    if patient.smoking is Smoking.NEVER:
        yield "never_smoker", Input("patient.smoking", "never")
    if best_described_study(case) is not None or case.has_claim("miliary"):
        yield "miliary", Input("studies", len(case.studies))
    yield from _list_dissemination(case)
    if case.has_claim("amylase_producing_tumor"):
        yield "amylase", Input("claims", "amylase_producing_tumor")
    for entities, feature in _TISSUE_FEATURES:
        for _, fact in list_specimens(case, entities):
            yield feature, fact


def _list_dissemination(case: Case) -> Iterator[tuple[str, Input]]:
    """Where a tumor has spread to, and tests for what it may look like."""
    for site in case.staging.metastases:
        if site.presence is Presence.PRESENT:
            name = canonical_site(site.site) or site.site
            yield name, Input(f"staging.metastases[{site.id}].site", site.site)
    for nodules in case.staging.separate_nodules:
        is_far = nodule_places(nodules, case.staging) == {"contralateral_lung"}
        if is_far and nodules.are_metastases is Presence.PRESENT:
            yield "m1a", Input(f"staging.separate_nodules[{nodules.id}].are_metastases", "present")
    for test in case.microbiology:
        if find_test(test.test) in _TUBERCULOSIS_TESTS and test.result is Result.NEGATIVE:
            yield "mimics_tuberculosis", Input(f"microbiology[{test.id}].result", test.result.value)


def _list_row_features(row: RuleRow) -> list[str]:
    return [str(row[key]) for key in ("driver", "sex") if row.get(key)] + list(row["tags"])


def _is_same(row: RuleRow, case: Case, book: RuleBook) -> bool:
    """Whether the case was taken from this report, recognized by DOI or by journal, year and pages."""
    cited = [book.citations[name] for name in row.citations]
    marks = [citation.doi for citation in cited if citation.doi]
    marks += [citation.text.rpartition(", ")[2] for citation in cited]
    return any(mark.lower() in source.lower() for mark in marks for source in case.sources)


def _list_similar_reports(case: Case, book: RuleBook) -> Iterator[Assessment]:
    neighbors = find_similar_reports(case, book)[:_MAX_SIMILAR]
    if not neighbors:
        return
    texts = tuple(
        f"{book.citations[n.row.citations[0]].text} (shares {', '.join(n.shared)}): {n.row['finding']}"
        for n in neighbors
    )
    shared = {name for neighbor in neighbors for name in neighbor.shared}
    yield Assessment(
        "literature.neighbors",
        "Reports like this case",
        Verdict.MET,
        Severity.INFO,
        f"Encoded reports that share most with this case: {'; '.join(texts)}.".replace("_", " "),
        values=tuple(neighbor.row.id for neighbor in neighbors),
        inputs=tuple(fact for name, fact in _list_features(case) if name in shared),
        origin=case.origin,
        **book.credit(*(neighbor.row for neighbor in neighbors)),
    )


def _compare_survival(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Cohorts on survival with a miliary pattern, both directions; a note where the record gives only one."""
    rows = [row for row in book.rows("report") if row.get("survival") and row.drives]
    claim = next((c for c in case.claims if c.kind == "poor_survival_of_miliary"), None)
    sides = {
        word: "; ".join(
            f"{row['survival_text']} (n = {row['n']}, {row['driver']})"
            for row in rows
            if row["survival"] == side
        )
        for side, word in (("worse", "shorter"), ("no_difference", "no different"))
    }
    lead = "The record holds miliary disease to shorten survival; cohorts" if claim is not None else "Cohorts"
    yield Assessment(
        "literature.survival",
        "Survival with a miliary pattern",
        Verdict.NOT_ASSESSABLE,
        Severity.NOTE if claim is not None else Severity.INFO,
        f"{lead} disagree. " + " ".join(f"{word.capitalize()}: {text}." for word, text in sides.items()),
        "the cohorts disagree",
        values=tuple(row.id for row in rows),
        inputs=(Input(f"claims[{claim.id}].kind", claim.kind),) if claim is not None else (),
        origin=case.origin,
        **book.credit(*rows),
    )


def _weigh_bone_seeding(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """What stands behind seeding of the lung from the bone, and what against, where a record claims it."""
    claim = next((c for c in case.claims if c.kind == "bone_before_lung"), None)
    if claim is None:
        return
    rows = book.rows("hypothesis")
    yield Assessment(
        "literature.bone_before_lung",
        "Seeding of the lung from the bone",
        Verdict.NOT_ASSESSABLE,
        Severity.INFO,
        "A hypothesis, not a finding: " + "; against it, ".join(str(row["finding"]) for row in rows) + ".",
        "no encoded source shows an order in time",
        inputs=(Input(f"claims[{claim.id}].kind", claim.kind),),
        origin=claim.origin,
        **book.credit(*rows),
    )
