"""Whether the words for an alteration fit the result beside them; where they do not, neither is taken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from miliary.clinical.genes.variant_names import list_parts, read_variants
from miliary.clinical.rulebook import RuleBook
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, GeneResult, path_of
from miliary.model.vocabulary import Result

# Kinds of change that a test looks for: beside a negative result they name the test, not a finding.
_KINDS = re.compile(
    r"(gene )?(mutations?|mutated|variants?|alterations?|fusions?|rearrangements?|rearranged|translocations?|"
    r"amplifications?|amplified|overexpression|expression|ex(on)? ?14( skipping)?( mutation)?|"
    r"変異|融合|転座|再構成|増幅|遺伝子変異|融合遺伝子)\Z"
)


def settle_result(gene: GeneResult, symbol: str) -> tuple[Result, str]:
    """The result of a gene as far as the alteration beside it does not speak against it.

    Parameters
    ----------
    gene : GeneResult
    symbol : str
        Symbol of the gene as in the rules ``drivers``.

    Returns
    -------
    result : Result
        Not stated where result and alteration contradict each other, or where an alteration is named without
        a result.
    reason : str
        What is wrong; empty where they fit.
    """
    named = read_variants(gene.alteration, symbol)
    has_denial = any(is_denied for _, is_denied in list_parts(gene.alteration))
    words = " ".join(unicodedata.normalize("NFKC", gene.alteration).casefold().split())
    is_found = bool(named or gene.partner) and not (_KINDS.match(words) and not gene.partner)
    what = repr(gene.alteration or gene.partner)
    if gene.result is Result.POSITIVE and has_denial and not named and not gene.partner:
        return Result.NOT_STATED, f"the result is positive, and the alteration says {what}"
    if gene.result in (Result.NEGATIVE, Result.FAILED, Result.NOT_TESTED) and is_found:
        result = gene.result.value.replace("_", " ")
        return Result.NOT_STATED, f"the result is {result}, and an alteration is named: {what}"
    if gene.result is Result.NOT_STATED and (named or has_denial or gene.partner):
        return Result.NOT_STATED, f"an alteration is written ({what}), but no result: positive or negative"
    return gene.result, ""


def ask_results(case: Case, symbols: Mapping[str, str], book: RuleBook) -> Iterator[Assessment]:
    """A query for every gene whose alteration does not fit its result.

    Parameters
    ----------
    case : Case
    symbols : mapping of str to str
        The symbol in the rules ``drivers`` by the recorded name of a gene.
    book : RuleBook
        The rules ``drivers``.

    Yields
    ------
    Assessment
    """
    known = {row["symbol"]: (row,) for row in book.rows("gene")}
    for report in case.molecular:
        for number, gene in enumerate(report.genes):
            symbol = symbols.get(gene.gene, gene.gene)
            _, reason = settle_result(gene, symbol)
            if not reason:
                continue
            place = f"{path_of('molecular', report.id)}.genes[{number}]"
            yield Assessment(
                f"drivers.result.{gene.gene.lower()}",
                f"Result and alteration of {gene.gene}",
                Verdict.NOT_ASSESSABLE,
                Severity.QUERY,
                f"{gene.gene}: {reason}. Nothing is taken from it until the record says which is right.",
                reason,
                inputs=(
                    Input(f"{place}.result", gene.result.value),
                    Input(f"{place}.alteration", gene.alteration or gene.partner),
                ),
                origin=report.origin,
                **book.credit(*(known.get(symbol) or book.rows("gene"))[:1]),
            )
