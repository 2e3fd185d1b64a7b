"""What is known of a driver in groups of patients: context for a result, never a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from miliary.clinical.record.diagnosis_words import list_specimens
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case
from miliary.model.vocabulary import Sex, Smoking

_EAST_ASIA = ("JP", "KR", "CN", "TW", "HK")
_EUROPE = ("EU", "AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "PT", "SE")


def list_frequencies(case: Case, genes: Iterable[str], book: RuleBook) -> Iterator[Assessment]:
    """How often each driver is found in people like this patient: context, never a result.

    Parameters
    ----------
    case : Case
    genes : sequence of str
        Symbols as in the rule file.
    book : RuleBook
        The rules ``drivers``.

    Yields
    ------
    Assessment
    """
    population = _find_population(case)
    for gene in genes:
        rows = [row for row in book.rows("frequency") if _applies(row, gene, population, case)]
        rows += [row for row in book.rows("pattern") if row["gene"] == gene and _is_diffuse(case)]
        rows += [row for row in book.rows("tendency") if row["gene"] == gene and row.drives]
        if not rows:
            continue
        texts = tuple(_describe_frequency(row) for row in rows)
        yield Assessment(
            f"drivers.frequency.{gene.lower()}",
            f"Expected frequency of {gene}",
            Verdict.MET,
            Severity.INFO,
            f"{gene} elsewhere, as context and not as a result: " + "; ".join(texts) + ".",
            values=texts,
            inputs=(Input("patient.region", case.patient.region or None),),
            origin=case.origin,
            **book.credit(*rows),
        )


def _find_population(case: Case) -> str:
    region = case.patient.region.upper()
    if region in _EAST_ASIA:
        return "east_asia"
    return "europe_us" if region in ("US", *_EUROPE) else ""


def _applies(row: RuleRow, gene: str, population: str, case: Case) -> bool:
    """A row applies where every group it names is stated of the patient."""
    if row["gene"] != gene or row.get("population", population) != population:
        return False
    sex, smoking = case.patient.sex, case.patient.smoking
    if row.get("sex") and (sex is None or sex is not Sex(row["sex"])):
        return False
    if row.get("smoking") and (smoking is None or smoking is not Smoking(row["smoking"])):
        return False
    histology = row.get("histology", "")
    return not histology or any(list_specimens(case, (histology,)))


def _is_diffuse(case: Case) -> bool:
    return case.has_claim("miliary")


def _describe_frequency(row: RuleRow) -> str:
    """One row in words."""
    if row.table == "pattern":
        return (
            f"{row['mutant_percent']:g} % of mutant against {row['wild_type_percent']:g} % of wild-type: "
            f"{row['setting']}"
        )
    if row.table == "tendency":
        return f"more often in {', '.join(row['names'])} (without a number)"
    low, high = row["low_percent"], row["high_percent"]
    who = [str(row[key]).replace("_", " ") for key in ("population", "sex", "histology") if row.get(key)]
    who += [f"{row['smoking']} smokers"] if row.get("smoking") else []
    span = f"{low:g} %" if low == high else f"{low:g}-{high:g} %"
    what = f"{row['what']} " if row.get("what") else ""
    return what + span + (f" ({', '.join(who)})" if who else "")


def describe_dissemination(
    case: Case, positive: Mapping[str, tuple[Input, ...]], book: RuleBook
) -> Iterator[Assessment]:
    """How disease with a found driver spread elsewhere: miliary pattern, metastatic sites, brain.

    Parameters
    ----------
    case : Case
    positive : mapping of str to tuple of Input
        The facts behind each positive gene, by its symbol.
    book : RuleBook
        The rules ``drivers``.

    Yields
    ------
    Assessment
    """
    for row in book.rows("site"):
        gene = str(row["gene"])
        if gene not in positive:
            continue
        texts = tuple(f"{site} {ratio:g}" for site, ratio in row["odds_ratios"].items())
        none = " or ".join(row["none_for"])
        yield Assessment(
            f"drivers.spread.{gene.lower()}",
            f"Spread of {gene}-positive disease elsewhere",
            Verdict.MET,
            Severity.INFO,
            f"Odds ratios of metastatic sites in {gene}-positive disease elsewhere: {', '.join(texts)}; "
            f"no predisposition to {none} was found; {row['mean_sites'][0]:g} sites on average against "
            f"{row['mean_sites'][1]:g}.",
            values=texts,
            inputs=positive[gene],
            origin=case.origin,
            **book.credit(row),
        )
    for row in book.rows("brain"):
        if row["gene"] in positive:
            yield Assessment(
                f"drivers.brain.{row['gene'].lower()}",
                f"Brain metastases in {row['gene']}-positive disease elsewhere",
                Verdict.MET,
                Severity.INFO,
                f"In {row['gene']}-positive disease elsewhere {row['percent_at_diagnosis']:g} % had brain "
                "metastases at diagnosis; this says nothing of this patient.",
                value=row["percent_at_diagnosis"],
                inputs=positive[row["gene"]],
                origin=case.origin,
                **book.credit(row),
            )
