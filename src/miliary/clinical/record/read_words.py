"""Words of the record that no list knows are asked back; nothing is derived from them."""

from __future__ import annotations

from collections.abc import Iterator

from miliary.clinical.record.controlled_words import find_nearest, list_unknown
from miliary.clinical.record.diagnosis_words import DiagnosisStatus, list_names, read_diagnosis
from miliary.clinical.record.microbiology_words import find_test, list_test_names
from miliary.clinical.record.tumor import list_other_proof, may_have_lung_cancer
from miliary.clinical.rulebook import RuleBook, find_rules
from miliary.model.assessment import Assessment, Input, Severity, Verdict
from miliary.model.case import Case, MicrobiologyResult, Specimen, path_of


def assess(case: Case, rules: RuleBook | None = None) -> tuple[Assessment, ...]:
    """Ask back what was not understood in the words of tissue and tests.

    Parameters
    ----------
    case : Case
    rules : RuleBook, optional
        Edition of the words; the newest packaged one by default.

    Returns
    -------
    tuple of Assessment
        One query per specimen with unknown words, per specimen whose sentence can be read in two ways, and
        per test whose name is unknown.
    """
    book = rules or find_rules("words")
    return (
        *(query for specimen in case.specimens for query in _ask_diagnosis(specimen, book)),
        *(_ask_test(test, book) for test in case.microbiology if test.test and not find_test(test.test)),
        *_ask_words(case),
        *_explain_no_stage(case, book),
    )


def _explain_no_stage(case: Case, book: RuleBook) -> Iterator[Assessment]:
    """Why no stage of lung cancer is derived, where none is on record or another cause is proved."""
    proof = list_other_proof(case)
    if proof or not may_have_lung_cancer(case):
        lead = "tissue or culture proves another cause, and " if proof else ""
        yield Assessment(
            "words.no_lung_stage",
            "Stage of lung cancer",
            Verdict.NOT_ASSESSABLE,
            Severity.INFO,
            f"No stage of lung cancer is derived: {lead}no lung cancer is on record.",
            "no lung cancer is on record",
            inputs=proof,
            origin=case.origin,
            **book.credit(*book.rows("entity")[:1]),
        )


def _ask_words(case: Case) -> Iterator[Assessment]:
    """One query for all unknown words of one list."""
    book = find_rules("vocabulary")
    for name, words in list_unknown(case).items():
        listed = "; ".join(
            f"{item.word!r} (nearest known: {', '.join(item.nearest)})" for item in dict.fromkeys(words)
        )
        yield Assessment(
            f"words.unknown_{name.replace(' ', '_')}",
            f"Words for: {name}",
            Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"Not known as {name}, so that no rule reads it: {listed}.",
            "not known: " + ", ".join(dict.fromkeys(item.word for item in words)),
            values=tuple(dict.fromkeys(item.word for item in words)),
            inputs=tuple(item.fact for item in words),
            origin=case.origin,
            **book.credit(*book.rows("word")[:1]),
        )


def _ask_diagnosis(specimen: Specimen, book: RuleBook) -> Iterator[Assessment]:
    reading = read_diagnosis(specimen.histology)
    path = path_of("specimens", specimen.id, "histology")
    fact = Input(path, specimen.histology)
    rows = book.rows("entity")
    if reading.unknown:
        names = [name for row in rows for name in list_names(row)]
        nearest = {word: find_nearest(word, names) for word in reading.unknown}
        listed = "; ".join(f"{word!r} (nearest known: {', '.join(near)})" for word, near in nearest.items())
        yield Assessment(
            "words.unknown_diagnosis",
            "Words of a tissue report",
            Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"Not known in the histology, and nothing is derived from it: {listed}.",
            "not known: " + ", ".join(reading.unknown),
            values=reading.unknown,
            inputs=(fact,),
            origin=specimen.origin,
            **book.credit(*rows[:1]),
        )
    unclear = [m.words for m in reading.mentions if m.status is DiagnosisStatus.UNCLEAR]
    if unclear:
        yield Assessment(
            "words.unclear_diagnosis",
            "Words of a tissue report",
            Verdict.NOT_ASSESSABLE,
            Severity.QUERY,
            f"The histology can be read as affirming or denying: {', '.join(unclear)}. Neither is taken; one "
            "sentence for each diagnosis would say it.",
            "can be read in two ways: " + ", ".join(unclear),
            values=tuple(unclear),
            inputs=(fact,),
            origin=specimen.origin,
            **book.credit(*book.rows("cue")[:1]),
        )


def _ask_test(test: MicrobiologyResult, book: RuleBook) -> Assessment:
    nearest = find_nearest(test.test, list_test_names())
    return Assessment(
        "words.unknown_test",
        "Name of a test",
        Verdict.NOT_ASSESSABLE,
        Severity.QUERY,
        f"The test {test.test!r} is not known, and no rule reads its result. Nearest known names: "
        f"{', '.join(nearest)}.",
        f"not known: {test.test}",
        values=nearest,
        inputs=(Input(path_of("microbiology", test.id, "test"), test.test),),
        origin=test.origin,
        **book.credit(*book.rows("test")[:1]),
    )
