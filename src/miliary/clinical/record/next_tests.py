"""Which tests that would come next are done already, so that no list of next tests names them again."""

from __future__ import annotations

from miliary.clinical.genes.stated_result import settle_result
from miliary.clinical.record.diagnosis_words import find_status, is_from_chest
from miliary.clinical.record.microbiology_words import find_test
from miliary.clinical.rulebook import RuleBook, RuleRow
from miliary.model.case import Case
from miliary.model.vocabulary import Result

_ANSWERS = (Result.POSITIVE, Result.NEGATIVE)


def list_open_tests(diagnosis: RuleRow, case: Case, book: RuleBook) -> tuple[str, ...]:
    """The next tests of a cause that the record does not hold with a result.

    Parameters
    ----------
    diagnosis : RuleRow
        Of the table ``diagnosis`` of the rules ``differential``.
    case : Case
    book : RuleBook
        The rules ``differential``, with the table ``examination``.

    Returns
    -------
    tuple of str
        In the words of the rule; empty where all of them are done.
    """
    named = str(diagnosis["next_test"]).split(", ")
    rows = book.rows("examination")
    done = {
        row["words"] for row in rows if row.get("diagnosis") in {None, diagnosis.id} and _is_done(row, case)
    }
    return tuple(words for words in named if words not in done)


def _is_done(row: RuleRow, case: Case) -> bool:
    """Whether everything that a row asks for is on record."""
    answered = {find_test(test.test) for test in case.microbiology if test.result in _ANSWERS}
    measured = {lab.analyte for lab in case.labs if lab.value is not None}
    genes = [gene for report in case.molecular for gene in report.genes]
    reported = {gene.gene for gene in genes if settle_result(gene, gene.gene)[0] in _ANSWERS}
    read = [specimen for specimen in case.specimens if specimen.histology]
    named = row.get("tissue_of")
    return (
        set(row.get("tests", ())) <= answered
        and set(row.get("analytes", ())) <= measured
        and set(row.get("genes", ())) <= reported
        and (not row.get("tissue") or any(is_from_chest(specimen) for specimen in read))
        and (not named or any(find_status(specimen.histology, named) for specimen in read))
        and (not row.get("molecular") or bool(reported))
    )
