"""Oncogenic drivers: what was tested and how, what that can tell, what is missing, what disagrees.

A gene that no report names is not stated, whatever a summary sentence says: "no other driver" makes no gene
negative. A negative result counts only where the method could have found the alteration.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from miliary.clinical.genes.driver_context import describe_dissemination, list_frequencies
from miliary.clinical.genes.stated_result import ask_results, settle_result
from miliary.clinical.genes.variant_names import read_variants
from miliary.clinical.record.diagnosis_words import list_specimens
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, GeneResult, Immunostain, MolecularReport, path_of
from miliary.model.vocabulary import Origin, Result


class GeneStatus(StrEnum):
    """What can be said of one gene after all tests of a case."""

    POSITIVE = "positive"
    NEGATIVE_ADEQUATE = "negative_adequate"
    NEGATIVE_INSUFFICIENT = "negative_method_insufficient"
    FAILED = "failed"
    NOT_TESTED = "not_tested"
    NOT_STATED = "not_stated"


class GeneTestResult(NamedTuple):
    """What one test says of one gene.

    Attributes
    ----------
    gene : str
        Symbol as in the rule file.
    result : Result
    method : str
        Kind of test, as in the table ``method``; empty where it is not known.
    clone : str
        Antibody clone of an immunostain, in upper case; empty otherwise.
    alteration : str
        In the words of the rule file; empty where none is named.
    fact : Input
        Where the result stands in the case.
    origin : Origin
    """

    gene: str
    result: Result
    method: str
    clone: str
    alteration: str
    fact: Input
    origin: Origin


@dataclass(frozen=True)
class GeneFinding:
    """What all tests together say of one gene.

    Attributes
    ----------
    gene : str
    status : GeneStatus
    alterations : tuple of str
        Alterations found, in the words of the rule file.
    evidence : tuple of GeneTestResult
        The tests that name the gene.
    reason : str
        Why negative tests do not exclude an alteration; empty where they do or none is negative.
    """

    gene: str
    status: GeneStatus
    alterations: tuple[str, ...]
    evidence: tuple[GeneTestResult, ...]
    reason: str = ""


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Status of every driver gene, completeness, discordance and expected frequencies.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the driver rules; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        Empty where the case neither states an adenocarcinoma or NSCLC nor holds a driver test.
    """
    book = rules or find_rules("drivers")
    if not _is_applicable(case):
        return ()
    genes = find_gene_status(case, book)
    symbols = {gene.gene: find_symbol(gene.gene, book) for report in case.molecular for gene in report.genes}
    positive = {
        finding.gene: tuple(item.fact for item in finding.evidence)
        for finding in genes
        if finding.status is GeneStatus.POSITIVE
    }
    return (
        *(_assess_gene(finding, case, book) for finding in genes),
        *ask_results(case, symbols, book),
        *_assess_completeness(case, genes, book),
        *_assess_pd_l1(case, book),
        *_assess_single_method(case, genes, book),
        *_assess_discordance(case, genes, book),
        *list_frequencies(case, [finding.gene for finding in genes], book),
        *describe_dissemination(case, positive, book),
    )


def find_gene_status(case: Case, rules: RuleBook | None = None) -> tuple[GeneFinding, ...]:
    """What all tests of a case together say of each driver gene.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the driver rules; the newest packaged one by default.

    Returns
    -------
    tuple of GeneFinding
        One per gene, in the order of the rule file. A gene that no test names is not stated, never negative.
    """
    book = rules or find_rules("drivers")
    evidence = tuple(_list_evidence(case, book))
    rows = book.rows("gene")
    return tuple(_combine(str(row["symbol"]), evidence, book) for row in rows)


def _is_applicable(case: Case) -> bool:
    if case.molecular or any(stain.target.upper() not in ("PD-L1", "AMYLASE") for stain in case.immunostains):
        return True
    return any(list_specimens(case, ("adenocarcinoma", "non_small_cell_carcinoma")))


def _list_evidence(case: Case, book: RuleBook) -> Iterator[GeneTestResult]:
    for report in case.molecular:
        method = find_method(report, book)
        for number, gene in enumerate(report.genes):
            fact = Input(f"{path_of('molecular', report.id)}.genes[{number}].result", gene.result.value)
            symbol = find_symbol(gene.gene, book)
            result, _ = settle_result(gene, symbol)
            yield GeneTestResult(
                symbol, result, method, "", normalize_alteration(gene, symbol), fact, report.origin
            )
    for stain in case.immunostains:
        symbol = find_symbol(stain.target, book)
        fact = Input(path_of("immunostains", stain.id, "result"), stain.result.value)
        item = GeneTestResult(symbol, stain.result, "ihc", stain.clone.upper(), "", fact, stain.origin)
        row = find_method_row(item, book)
        # A stain that stands alone is taken for the fusion it looks for; a screening stain is not.
        is_enough = row is not None and row["positive"] == "stand_alone" and symbol in _FUSION_GENES
        if is_enough:
            item = item._replace(alteration="fusion")
        elif symbol in _PROTEIN_STAINS and stain.result is Result.POSITIVE:
            item = item._replace(alteration="overexpression")
        yield item


def find_symbol(name: str, book: RuleBook) -> str:
    """The symbol the rule file uses for a gene: HER2 is ERBB2, NTRK1 is NTRK.

    Parameters
    ----------
    name : str
        As recorded.
    book : RuleBook
        The rules ``drivers``.

    Returns
    -------
    str
        The name itself, in upper case, where the rules do not know it.
    """
    asked = name.upper().strip()
    for row in book.rows("gene"):
        if asked in (row["symbol"], *row.get("members", ()), *row.get("aliases", ())):
            return str(row["symbol"])
    return "NTRK" if asked in ("PAN-TRK", "TRK") else asked


def find_method(report: MolecularReport, book: RuleBook) -> str:
    """What kind of test a report describes, judged by its material, then its name, then its analytes.

    Parameters
    ----------
    report : MolecularReport
    book : RuleBook
        The rules ``drivers``.

    Returns
    -------
    str
        As in the table ``method``; empty where it cannot be determined.
    """
    name = report.assay.lower()
    panel = _find_panel(report, book)
    analytes = {analyte.lower() for analyte in report.analytes}
    if report.material.lower() == "plasma" and not report.tumor_fraction:
        return "plasma_ctdna"
    if "fish" in name or "in situ" in name:
        return "fish"
    if "pcr" in name:
        return "rt_pcr" if "rt-pcr" in name or "rna" in analytes else "pcr"
    if analytes & {"dna", "rna"}:
        return "ngs_" + "_".join(sorted(analytes & {"dna", "rna"}))
    return str(panel["method"]) if panel else ""


def _find_panel(report: MolecularReport, book: RuleBook) -> RuleRow | None:
    name = report.assay.lower()
    return next((row for row in book.rows("panel") if any(known in name for known in row["names"])), None)


def normalize_alteration(gene: GeneResult, symbol: str) -> str:
    """An alteration in the words of the rule file.

    Parameters
    ----------
    gene : GeneResult
    symbol : str
        Symbol of the gene as in the rule file.

    Returns
    -------
    str
        As in ``ex19del``, ``fusion``, ``L858R``, several separated by a comma; empty where a positive result
        names none.
    """
    names = read_variants(gene.alteration, symbol)
    if gene.partner:
        names = ("fusion", *(name for name in names if name != "fusion"))
    if not names and gene.result is Result.POSITIVE:
        return {"ERBB2": "mutation"}.get(symbol, "fusion" if symbol in _FUSION_GENES else "")
    return ", ".join(names)


# Changes of number, amount or joining: they say nothing of the sequence.
NOT_MUTATIONS = ("amplification", "overexpression", "fusion")
# Genes of which a stain shows the amount of protein, never the alteration that is looked for.
_PROTEIN_STAINS = ("EGFR", "MET", "ERBB2")
_FUSION_GENES = ("ALK", "ROS1", "RET", "NTRK", "NRG1")


def _combine(gene: str, evidence: tuple[GeneTestResult, ...], book: RuleBook) -> GeneFinding:
    """A positive beats all, an adequate negative beats an inadequate one, any answer beats none."""
    own = tuple(item for item in evidence if item.gene == gene)
    found = {GeneStatus.NOT_STATED} | {_judge(item, book) for item in own}
    status = next(status for status in GeneStatus if status in found)
    named = [i.alteration for i in own if i.result is Result.POSITIVE and i.alteration]
    alterations = tuple(dict.fromkeys(name for names in named for name in names.split(", ")))
    reason = ""
    if status is GeneStatus.NEGATIVE_INSUFFICIENT:
        reason = "; ".join(
            dict.fromkeys(_explain(item, book) for item in own if item.result is Result.NEGATIVE)
        )
    return GeneFinding(gene, status, alterations, own, reason)


def _judge(item: GeneTestResult, book: RuleBook) -> GeneStatus:
    """What one test's word amounts to."""
    if item.result is Result.NEGATIVE:
        row = find_method_row(item, book)
        enough = row is not None and row.drives and row["negative"] == "adequate"
        return GeneStatus.NEGATIVE_ADEQUATE if enough else GeneStatus.NEGATIVE_INSUFFICIENT
    return {
        Result.POSITIVE: GeneStatus.POSITIVE,
        Result.FAILED: GeneStatus.FAILED,
        Result.INDETERMINATE: GeneStatus.FAILED,
        Result.NOT_TESTED: GeneStatus.NOT_TESTED,
    }.get(item.result, GeneStatus.NOT_STATED)


def find_method_row(item: GeneTestResult, book: RuleBook) -> RuleRow | None:
    """The row that says what a kind of test can show of a gene.

    Parameters
    ----------
    item : GeneTestResult
    book : RuleBook
        The rules ``drivers``.

    Returns
    -------
    RuleRow or None
        None where the rules say nothing of this test for this gene.
    """
    for row in book.rows("method"):
        clones = row.get("clones", ())
        if row["method"] == item.method and item.gene in row["genes"]:
            if clones and item.clone not in clones:
                continue
            return row
    return None


def _explain(item: GeneTestResult, book: RuleBook) -> str:
    row = find_method_row(item, book)
    if row is not None:
        return str(row.get("reason", f"a negative {item.method} leaves it open"))
    if not item.method:
        return "the report does not tell whether DNA or RNA was read"
    return f"nothing is known here of {item.method} {item.clone} for {item.gene}".replace("  ", " ")


def _assess_gene(finding: GeneFinding, case: Case, book: RuleBook) -> Assessment:
    gene, status = finding.gene, finding.status
    rows: list[RuleRow] = [book.row(gene.lower())]
    rows += [row for item in finding.evidence if (row := find_method_row(item, book)) is not None]
    verdict = {
        GeneStatus.POSITIVE: Verdict.MET,
        GeneStatus.NEGATIVE_ADEQUATE: Verdict.NOT_MET,
    }.get(status, Verdict.NOT_ASSESSABLE)
    words = status.value.replace("_", " ")
    found = f" ({', '.join(finding.alterations)})" if finding.alterations else ""
    positive = [item for item in finding.evidence if item.result is Result.POSITIVE]
    if positive and all(item.method == "ihc" for item in positive):
        # A stain shows the protein; which change of the gene made it was not seen.
        found = " by immunohistochemistry alone (protein; "
        found += (
            "no fusion was shown)" if "fusion" in finding.alterations else "no change of the gene was shown)"
        )
    reason = finding.reason or ("" if verdict is not Verdict.NOT_ASSESSABLE else words)
    return Assessment(
        f"drivers.gene.{gene.lower()}",
        f"{gene} status",
        verdict,
        Severity.QUERY if status is GeneStatus.NEGATIVE_INSUFFICIENT else Severity.INFO,
        f"{gene}: {words}{found}.",
        reason,
        value=status.value,
        values=finding.alterations,
        inputs=tuple(item.fact for item in finding.evidence),
        origin=finding.evidence[0].origin if finding.evidence else case.origin,
        **book.credit(*rows),
    )


def _assess_completeness(case: Case, genes: tuple[GeneFinding, ...], book: RuleBook) -> Iterator[Assessment]:
    """Each guideline's genes against those with an answer that counts."""
    answered = {g.gene for g in genes if _is_answered(g, book)}
    by_amount = [g.gene for g in genes if g.status is GeneStatus.POSITIVE and g.gene not in answered]
    facts = tuple(fact for g in genes for fact in (item.fact for item in g.evidence))
    pd_l1 = [s for s in case.immunostains if s.target.upper() == "PD-L1" and s.tps_percent is not None]
    times = [report.when for report in case.molecular] + [stain.when for stain in case.immunostains]
    dates = [when.date for when in times if when.date is not None]
    for row in book.rows("guideline"):
        missing = [gene for gene in row["genes"] if gene not in answered]
        if row.get("with_pd_l1") and not pd_l1:
            missing.append("PD-L1")
        is_later = bool(dates) and max(dates) < row["from"]
        is_asked = bool(missing) and not is_later and not row.get("optional")
        name = f"{row['name']} (in use here from {row['from']}" + (
            ", after these tests)" if is_later else ")"
        )
        yield Assessment(
            f"drivers.completeness.{row.id}",
            f"Complete by {row['name']}",
            Verdict.NOT_MET if missing else Verdict.MET,
            Severity.QUERY if is_asked else Severity.NOTE if missing else Severity.INFO,
            f"{name}: "
            + (f"no usable result for {', '.join(missing)}." if missing else "complete.")
            + _name_amounts([gene for gene in by_amount if gene in missing]),
            values=tuple(missing),
            inputs=facts,
            origin=case.origin,
            facts_item="j16" if is_asked else None,
            **book.credit(row),
        )


def _is_answered(finding: GeneFinding, book: RuleBook) -> bool:
    """Whether what is looked for in a gene was found or excluded; a copy number or protein is neither."""
    if finding.status is GeneStatus.NEGATIVE_ADEQUATE:
        return True
    amounts = {"amplification", "overexpression"}
    return any(
        _judge(item, book) is GeneStatus.NEGATIVE_ADEQUATE
        or (
            item.result is Result.POSITIVE
            and not (item.alteration and set(item.alteration.split(", ")) <= amounts)
        )
        for item in finding.evidence
    )


def _name_amounts(genes: list[str]) -> str:
    if not genes:
        return ""
    return f" Of {' and '.join(genes)} only a copy number or the protein is stated, which leaves it open."


def _assess_pd_l1(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """The level of each PD-L1 score; it says nothing of immunity."""
    for stain in case.immunostains:
        score = stain.tps_percent
        if stain.target.upper() != "PD-L1" or score is None or score < 0:
            continue
        row = [row for row in book.rows("pd_l1") if score >= row["from_percent"]][-1]
        yield Assessment(
            f"drivers.pd_l1.{stain.id}",
            "PD-L1 level",
            Verdict.MET,
            Severity.INFO,
            f"PD-L1 tumor proportion score {_name_score(stain)}: {row['level']}.",
            value=str(row["level"]),
            inputs=(Input(path_of("immunostains", stain.id, "tps_percent"), score),),
            origin=stain.origin,
            **book.credit(row),
        )


def _name_score(stain: Immunostain) -> str:
    """The score as recorded: below 1 % is written as 0 with a note."""
    return "below 1 %" if stain.note == "TPS below 1 %" else f"{stain.tps_percent:g} %"


def _assess_single_method(case: Case, genes: tuple[GeneFinding, ...], book: RuleBook) -> Iterator[Assessment]:
    """A fusion called from a stain alone, without a partner seen by another principle."""
    for finding in genes:
        positive = [item for item in finding.evidence if item.result is Result.POSITIVE]
        if not positive or any(item.method != "ihc" for item in positive):
            continue
        row = find_method_row(positive[0], book)
        stand_alone = row is not None and row["positive"] == "stand_alone"
        tail = (
            "which is accepted by itself, but shows neither partner nor variant"
            if stand_alone
            else "which is a screening test and needs another principle to confirm it"
        )
        claim = next((c for c in case.claims if c.kind == "driver_rearranged"), None)
        facts = tuple(item.fact for item in positive)
        if claim is not None:
            facts += (Input(path_of("claims", claim.id, "kind"), claim.kind),)
        yield Assessment(
            f"drivers.single_method.{finding.gene.lower()}",
            f"{finding.gene} by stain alone",
            Verdict.MET,
            Severity.QUERY,
            f"{finding.gene} is positive by immunohistochemistry only, {tail}.",
            inputs=facts,
            origin=positive[0].origin,
            facts_item="j14" if finding.gene == "ALK" else None,
            **book.credit(row or finding.gene.lower()),
        )


def _assess_discordance(case: Case, genes: tuple[GeneFinding, ...], book: RuleBook) -> Iterator[Assessment]:
    """Tests that disagree on a gene, or a positive gene that a panel should have found and did not report."""
    for finding in genes:
        positive = [item for item in finding.evidence if item.result is Result.POSITIVE]
        if not positive:
            continue
        negative = [item for item in finding.evidence if item.result is Result.NEGATIVE]
        if negative:
            yield _report_disagreement(finding, positive, negative, book)
        for report in case.molecular:
            named = {find_symbol(gene.gene, book) for gene in report.genes}
            if report.claims_no_other_driver and finding.gene not in named:
                yield from _check_scope(finding, positive, report, case, book)


def _report_disagreement(
    finding: GeneFinding, positive: list[GeneTestResult], negative: list[GeneTestResult], book: RuleBook
) -> Assessment:
    rows = [row for item in (*positive, *negative) if (row := find_method_row(item, book)) is not None]
    by = f"{positive[0].method or 'one test'} positive, {negative[0].method or 'another test'} negative"
    return Assessment(
        f"drivers.discordance.{finding.gene.lower()}",
        f"{finding.gene} tests disagree",
        Verdict.MET,
        Severity.QUERY,
        f"{finding.gene} is called differently by two tests ({by}); the positive one is kept, an orthogonal "
        "test is not recorded.",
        inputs=tuple(item.fact for item in (*positive, *negative)),
        origin=positive[0].origin,
        facts_item="j15" if finding.gene == "ALK" else None,
        **(book.credit(*rows) if rows else book.credit(finding.gene.lower())),
    )


def _check_scope(
    finding: GeneFinding, positive: list[GeneTestResult], report: MolecularReport, case: Case, book: RuleBook
) -> Iterator[Assessment]:
    """A panel that "showed no other driver" although a gene in its scope is positive."""
    panel = _find_panel(report, book)
    region = report.region or case.patient.region
    scopes = [
        row
        for row in book.rows("scope")
        if panel is not None and row["panel"] == panel.id and row["region"] == region
    ]
    covering = next((row for row in scopes if finding.gene in row["genes"]), None)
    known = report.when.date
    if panel is None or (region and covering is None):
        return
    if covering is not None and known is not None and known < covering["from"]:
        return
    since: dt.date | None = covering["from"] if covering is not None else None
    where = f"in {region} since {since}" if since else "in some regions (region not stated)"
    timing = f"tested on {known}" if known else "the date of the test is not stated"
    sure = covering is not None and known is not None
    row = covering or panel
    yield Assessment(
        f"drivers.discordance.{finding.gene.lower()}.{report.id}",
        f"{finding.gene} and the panel's summary",
        Verdict.MET if sure else Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"{finding.gene} is positive, and a report on {report.assay}, whose scope includes {finding.gene} "
        f"{where}, says that it shows no other driver ({timing}): the tests disagree, or a result was "
        "left out.",
        ""
        if sure
        else ("the date" if covering is not None else "the region") + " of the panel is not stated",
        inputs=(
            *(item.fact for item in positive),
            Input(path_of("molecular", report.id, "claims_no_other_driver"), value=True),
            Input(path_of("molecular", report.id, "when"), known.isoformat() if known else None),
        ),
        origin=report.origin,
        facts_item="j15" if finding.gene == "ALK" else None,
        **book.credit(row),
    )
