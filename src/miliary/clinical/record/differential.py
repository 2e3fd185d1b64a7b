"""Causes of a miliary pattern, ranked: what speaks for each, what against, what is missing, a next test.

The order is expert knowledge in three steps (for, neutral, against), not a probability, and says so. Where a
likelihood ratio was published it is shown with its setting. A cause that tissue or culture proves stands
before every cause that only indirect findings speak for, and settles the question. A negative
interferon-gamma release assay never closes the question of tuberculosis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from miliary.clinical.findings import FindingState, applies, look_up
from miliary.clinical.miliary.definition import best_described_study
from miliary.clinical.record.microbiology_words import find_test, find_test_row
from miliary.clinical.record.next_tests import list_open_tests
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, MicrobiologyResult, path_of
from miliary.model.vocabulary import Distribution, Finding, History, Modality, Presence, Result

LABEL = "expert-ordinal, not validated"
_IGRA = {"igra": "", "igra_quantiferon": "quantiferon", "igra_tspot": "t_spot"}


class WeighedFinding(NamedTuple):
    """One finding that counts for or against a diagnosis.

    Attributes
    ----------
    name : str
        In words.
    steps : float
        Ordinal steps by which it moves the diagnosis; negative where it speaks against it.
    facts : tuple of Input
        The facts behind it; empty for what holds of the diagnosis itself.
    """

    name: str
    steps: float
    facts: tuple[Input, ...]


@dataclass(frozen=True)
class RankedDiagnosis:
    """A diagnosis with everything that counts for and against it.

    Attributes
    ----------
    row : RuleRow
        Of the table ``diagnosis``.
    steps : float
        Sum of the steps of its evidence, an ordinal figure and no probability.
    evidence : tuple of WeighedFinding
    missing : tuple of str
        Decisive and supporting findings that are not stated.
    proof : tuple of str
        Findings in tissue or culture that prove it; empty where there is none.
    """

    row: RuleRow
    steps: float
    evidence: tuple[WeighedFinding, ...]
    missing: tuple[str, ...]
    proof: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Id of the diagnosis in the rule file."""
        return self.row.id

    def list_names(self, *, is_for: bool) -> tuple[str, ...]:
        """Names of the findings for, or against."""
        return tuple(item.name for item in self.evidence if (item.steps > 0) is is_for)


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Rank the causes of the miliary pattern of a case.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the differential; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Published frequencies with their settings; then, only where small nodules on CT or a miliary pattern
        are recorded, the ranking and one assessment per cause that has findings for it.
    """
    book = rules or find_rules("differential")
    frequencies = tuple(_list_frequencies(case, book))
    tuberculosis = (
        *_check_tuberculosis(case, book),
        *_describe_negative_after_bcg(case, book),
        *_describe_detection(case, book),
    )
    ranked = rank_diagnoses(case, book)
    is_described = best_described_study(case) is not None or case.has_claim("miliary")
    if not is_described and not is_described_on_radiograph(case):
        return (*frequencies, *tuberculosis)
    likely = [cause for cause in ranked if any(item.steps > 0 and item.facts for item in cause.evidence)]
    return (
        *frequencies,
        _summarize(case, likely, book),
        *_assess_each(likely, case, book),
        *_describe_inseparable(case, book),
        *tuberculosis,
    )


def rank_diagnoses(case: Case, rules: RuleBook | None = None) -> tuple[RankedDiagnosis, ...]:
    """Every diagnosis of the rule file, ranked by the recorded findings.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the differential; the newest packaged one by default.

    Returns
    -------
    tuple of RankedDiagnosis
        Those proved by tissue or culture first, then most steps first; equals in the order of the file.
    """
    book = rules or find_rules("differential")
    found = {row.id: look_up(row, case) for row in book.rows("finding")}
    ranked = [_weigh(row, found, case, book) for row in book.rows("diagnosis")]
    return tuple(sorted(ranked, key=lambda cause: (not cause.proof, -cause.steps)))


def is_described_on_radiograph(case: Case) -> bool:
    """Whether a radiograph shows many or diffuse nodules; it does not say where in the lobules they lie.

    Parameters
    ----------
    case : Case

    Returns
    -------
    bool
    """
    return any(
        Presence.PRESENT in (study.nodules.is_innumerable, study.nodules.is_diffuse)
        for study in case.studies
        if study.modality is Modality.XRAY and study.nodules is not None
    )


def _weigh(row: RuleRow, found: dict[str, FindingState], case: Case, book: RuleBook) -> RankedDiagnosis:
    steps, half = book.row("steps"), book.row("half_steps")
    proof = [name for name in row.get("proof", ()) if _has_state(found, name, Presence.PRESENT)]
    evidence = [_weigh_finding(name, book.row("proof_step")["proof"], found) for name in proof]
    for key, weight in (
        ("decisive", steps["decisive"]),
        ("supporting", steps["supporting"]),
        ("context", half["context"]),
        ("against", steps["against"]),
        ("weak_against", book.row("release_assay_step")["weak_against"]),
    ):
        evidence += [
            _weigh_finding(name, weight, found)
            for name in row.get(key, ())
            if _has_state(found, name, Presence.PRESENT) and not (name in proof and weight > 0)
        ]
    evidence += [
        _weigh_finding(f"no {name}", steps["decisive_absent"], found)
        for name in row["decisive"]
        if _has_state(found, name, Presence.ABSENT)
    ]
    if row.get("is_common"):
        evidence.append(
            WeighedFinding("common in a published series", book.row("frequency_step")["common"], ())
        )
    evidence += _weigh_pattern(row, case, steps, half)
    missing = [
        name
        for name in (*row["decisive"], *row["supporting"])
        if _has_state(found, name, Presence.NOT_STATED) and _is_asked(book.row(name), case)
    ]
    steps_in_all = sum(item.steps for item in evidence)
    return RankedDiagnosis(row, steps_in_all, tuple(evidence), tuple(missing), _in_words(proof))


def _in_words(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names)


def _is_asked(row: RuleRow, case: Case) -> bool:
    """Whether it would help to state a finding that is not stated."""
    return bool(row.get("is_asked", True)) and applies(row, case)


def _has_state(found: dict[str, FindingState], name: str, state: Presence) -> bool:
    return found[name].state is state


def _weigh_finding(name: str, weight: float, found: dict[str, FindingState]) -> WeighedFinding:
    return WeighedFinding(name.replace("_", " "), float(weight), found[name.removeprefix("no ")].facts)


def _weigh_pattern(row: RuleRow, case: Case, steps: RuleRow, half: RuleRow) -> list[WeighedFinding]:
    """Where the nodules lie counts one step, zone and uniformity a half: they separate causes poorly."""
    evidence = []
    distribution, facts = find_distribution(case)
    if distribution is not None and row["distribution"]:
        fits = distribution in row["distribution"]
        evidence.append(
            WeighedFinding(f"{distribution} distribution", steps["distribution"] * (1 if fits else -1), facts)
        )
    study = best_described_study(case)
    if study is None or study.nodules is None:
        return evidence
    where, zone = path_of("studies", study.id, "nodules"), study.nodules.zone
    if zone is not None and zone in row["zone"]:
        evidence.append(WeighedFinding(f"{zone} zone", half["zone"], (Input(f"{where}.zone", zone.value),)))
    uniform = study.nodules.is_uniform
    if uniform.is_known and row.get("uniform") is not None:
        fits = (uniform is Presence.PRESENT) is row["uniform"]
        word = "uniform size" if uniform is Presence.PRESENT else "varying size"
        fact = Input(f"{where}.is_uniform", uniform.value)
        evidence.append(WeighedFinding(word, half["uniformity"] * (1 if fits else -1), (fact,)))
    return evidence


def find_distribution(case: Case) -> tuple[Distribution | None, tuple[Input, ...]]:
    """Where the nodules lie: as recorded, otherwise by the two branching questions of chest radiology.

    No nodules on fissures or pleura: centrilobular. With them: clustered, perilymphatic; even, random. None
    where neither the answer nor both questions were stated.
    """
    study = best_described_study(case)
    if study is None or study.nodules is None:
        return None, ()
    where = path_of("studies", study.id)
    if study.nodules.distribution is not None:
        return study.nodules.distribution, (
            Input(f"{where}.nodules.distribution", study.nodules.distribution.value),
        )
    names = (Finding.FISSURAL_NODULES, Finding.SUBPLEURAL_NODULES, Finding.CLUSTERED_NODULES)
    fissural, subpleural, clustered = (study.finding(name) for name in names)
    facts = tuple(Input(f"{where}.findings.{n.value}", study.finding(n).value) for n in names)
    if fissural is Presence.ABSENT and subpleural is Presence.ABSENT:
        return Distribution.CENTRILOBULAR, facts[:2]
    if Presence.PRESENT not in (fissural, subpleural):
        return None, ()
    if clustered is Presence.PRESENT:
        return Distribution.PERILYMPHATIC, facts
    return (Distribution.RANDOM, facts) if clustered is Presence.ABSENT else (None, ())


# --- what is said of it


def _list_frequencies(case: Case, book: RuleBook) -> Iterator[Assessment]:
    for row in book.rows("frequency"):
        shares = tuple(f"{name.replace('_', ' ')} {share:g} %" for name, share in row["percent"].items())
        doubt = "" if row.drives else " Shown only; nothing rests on it."
        yield Assessment(
            f"differential.frequency.{row.id}",
            "Published causes of a miliary pattern",
            Verdict.MET,
            Severity.INFO,
            f"{row['setting']} (n = {row['n']}): {', '.join(shares)}.{doubt}",
            values=shares,
            origin=case.origin,
            **book.credit(row),
        )


def _summarize(case: Case, likely: list[RankedDiagnosis], book: RuleBook) -> Assessment:
    names = tuple(cause.id for cause in likely)
    text = ", ".join(f"{cause.row['name']} ({cause.steps:+g})" for cause in likely[:3])
    rows = [cause.row for cause in likely[:3]] or list(book.rows("weight"))
    proved = [cause for cause in likely if cause.proof]
    settled = " and ".join(f"{cause.row['name']} ({', '.join(cause.proof)})" for cause in proved)
    lead = f"Settled by tissue or culture: {settled}. " if proved else ""
    if best_described_study(case) is None and is_described_on_radiograph(case):
        lead += "The nodules are described on a radiograph, so their distribution counts for nothing. "
    return Assessment(
        "differential.ranking",
        "Causes of the miliary pattern",
        Verdict.MET if likely else Verdict.NOT_ASSESSABLE,
        Severity.INFO,
        f"{lead}First by recorded findings ({LABEL}): {text}."
        if likely
        else "No recorded finding tells one cause of the pattern from another.",
        "" if likely else "no finding that counts is stated",
        values=names,
        inputs=tuple(fact for cause in likely[:3] for item in cause.evidence for fact in item.facts),
        origin=case.origin,
        **book.credit(*rows, *book.rows("weight")),
    )


def _assess_each(likely: list[RankedDiagnosis], case: Case, book: RuleBook) -> Iterator[Assessment]:
    is_settled = any(cause.proof for cause in likely)
    for number, cause in enumerate(likely, start=1):
        yield _assess_diagnosis(cause, number, case, book, is_settled=is_settled)


def _assess_diagnosis(
    cause: RankedDiagnosis, number: int, case: Case, book: RuleBook, *, is_settled: bool
) -> Assessment:
    ratios = [row for row in book.rows("ratio") if _applies(row, cause.id, case)]
    parts = [f"for: {', '.join(cause.list_names(is_for=True))}"]
    against = cause.list_names(is_for=False)
    parts += [f"against: {', '.join(against)}"] if against else []
    parts += [f"published likelihood ratio {r['likelihood_ratio']:g} ({r['setting']})" for r in ratios]
    context = [
        row
        for row in book.rows("ratio")
        if row["diagnosis"] == cause.id and row.get("context_only") and row.drives
    ]
    parts += [f"as context, likelihood ratio {r['likelihood_ratio']:g} ({r['setting']})" for r in context]
    missing = [name.replace("_", " ") for name in cause.missing]
    parts += [f"proved by: {', '.join(cause.proof)}"] if cause.proof else []
    parts += [f"not stated: {', '.join(missing)}"] if missing and not is_settled else []
    # Where tissue or culture has settled the question no further test is named for it.
    tests = () if is_settled else list_open_tests(cause.row, case, book)
    parts += [f"next test named by the sources: {', '.join(tests)}"] if tests else []
    return Assessment(
        f"differential.{cause.id}",
        str(cause.row["name"]),
        Verdict.MET if cause.proof else Verdict.NOT_ASSESSABLE,
        Severity.INFO,
        f"{cause.row['name']}, place {number} ({cause.steps:+g} steps, {LABEL}); {'; '.join(parts)}.",
        "" if cause.proof else "a differential weighs, it does not decide",
        value=number,
        values=tuple(parts),
        inputs=tuple(fact for item in cause.evidence for fact in item.facts),
        origin=case.origin,
        **book.credit(cause.row, *ratios, *book.rows("weight")),
    )


def _applies(row: RuleRow, diagnosis: str, case: Case) -> bool:
    """A published ratio applies where its very test was done, in its setting of HIV or not."""
    if row["diagnosis"] != diagnosis or not row.drives or row.get("context_only"):
        return False
    result = Result.POSITIVE if row["finding"] == "igra_positive" else Result.NEGATIVE
    if not any(
        _IGRA.get(find_test(t.test)) == row["assay"] and t.result is result for t in case.microbiology
    ):
        return False
    has_hiv = any(find_test(t.test) == "hiv" and t.result is Result.POSITIVE for t in case.microbiology)
    return has_hiv if row.get("with") == "hiv" else not has_hiv or result is Result.POSITIVE


def _describe_inseparable(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Positive tests of the M. tuberculosis complex after BCG instillations: they tell no species."""
    row = book.row("tb_complex_positive_after_bcg")
    found = look_up(row, case)
    if (
        found.state is not Presence.PRESENT
        or look_up(book.row("bcg_species_identified"), case).state.is_known
    ):
        return
    history = str(row["with_history"])
    words = [
        f"{test.test} is positive for {known['cannot_separate']}"
        for test in case.microbiology
        if test.result is Result.POSITIVE
        and (known := find_test_row(test.test)) is not None
        and known.id in row["tests"]
    ]
    yield Assessment(
        "differential.inseparable",
        "Tests that do not tell M. tuberculosis from BCG",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"After instillation of BCG {'; '.join(words)}: such a test does not tell M. tuberculosis from BCG. "
        "The record names no species.",
        "not stated: the species of the mycobacterium",
        values=tuple(words),
        inputs=(*found.facts, Input(f"history.{history}", "present")),
        origin=case.origin,
        **book.credit(row),
    )


def _describe_negative_after_bcg(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A negative mycobacterial test after BCG instillations, which excludes no disease caused by BCG."""
    names = book.row("tb_complex_positive_after_bcg")["tests"]
    tests = [t for t in case.microbiology if find_test(t.test) in names and t.result is Result.NEGATIVE]
    if not tests or case.past(History.BCG_INSTILLATION) is not Presence.PRESENT:
        return
    yield Assessment(
        "differential.negative_after_bcg",
        "Negative mycobacterial tests after BCG",
        Verdict.NOT_ASSESSABLE,
        Severity.NOTE,
        f"After instillation of BCG {', '.join(t.test for t in tests)} "
        f"{'is' if len(tests) == 1 else 'are'} negative: that does not exclude a disease caused by BCG, "
        "in which mycobacteria have only rarely been cultured.",
        "a negative culture does not decide it",
        inputs=(
            Input(f"history.{History.BCG_INSTILLATION.value}", "present"),
            *(Input(path_of("microbiology", t.id, "result"), t.result.value) for t in tests),
        ),
        origin=case.origin,
        **book.credit("bcg_hypersensitivity"),
    )


def _check_tuberculosis(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """A negative release assay, or a claim of exclusion, without culture or nucleic acid test."""
    row = book.row("igra_bound")
    tests = [t for t in case.microbiology if find_test(t.test) in _IGRA and t.result is Result.NEGATIVE]
    claim = next((c for c in case.claims if c.kind == "tuberculosis_excluded"), None)
    missing = _list_missing_tests(case, tests, row)
    if not missing or (not tests and claim is None):
        return
    low, high = row["lowest_divisor"], row["highest_divisor"]
    facts = [Input(path_of("microbiology", test.id, "result"), test.result.value) for test in tests]
    facts += [Input(path_of("claims", claim.id, "kind"), claim.kind)] if claim is not None else []
    lead = "Tuberculosis is said to be excluded" if claim is not None else "The release assay is negative"
    yield Assessment(
        "differential.tuberculosis_open",
        "Tuberculosis remains open",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"{lead}; a negative release assay divides the odds of tuberculosis by about {low:g} to {high:g} at "
        f"most, and the record does not state: {', '.join(missing)}.",
        "not stated: " + ", ".join(missing),
        values=missing,
        inputs=tuple(facts),
        origin=tests[0].origin if tests else case.origin,
        facts_item="j27",
        **book.credit(row),
    )


def _describe_detection(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """How well a kind of imaging in the record shows miliary tuberculosis, from series elsewhere."""
    for row in book.rows("detection"):
        for study in case.studies:
            shows = not row["finding"] or study.finding(Finding(row["finding"])) is Presence.PRESENT
            if study.modality.value != row["modality"] or not shows:
                continue
            name = f"findings.{row['finding']}" if row["finding"] else "modality"
            yield Assessment(
                f"differential.detection.{row.id}",
                "How well imaging shows miliary tuberculosis",
                Verdict.MET,
                Severity.INFO,
                f"Elsewhere {row['text']}.",
                inputs=(
                    Input(
                        path_of("studies", study.id, name), "present" if row["finding"] else row["modality"]
                    ),
                ),
                origin=study.origin,
                **book.credit(row),
            )
            break


def _list_missing_tests(case: Case, igra: list[MicrobiologyResult], row: RuleRow) -> tuple[str, ...]:
    done = {
        find_test(test.test)
        for test in case.microbiology
        if test.result in (Result.POSITIVE, Result.NEGATIVE)
    }
    words = {"tb_culture": "tuberculosis culture", "tb_naat": "tuberculosis nucleic acid test"}
    missing = [words[name] for name in row["closed_by"] if name not in done]
    if "hiv" not in done:
        missing.append("HIV test")
    if any(find_test(test.test) == "igra" for test in igra):
        missing.append("name of the release assay")
    if any(find_test(test.test) != "igra_tspot" and test.mitogen_iu_per_ml is None for test in igra):
        missing.append("its nil and mitogen values")
    return tuple(missing)
