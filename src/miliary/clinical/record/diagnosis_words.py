"""The one reader of diagnoses written in words: what a tissue report names, and whether it affirms it.

A report says "adenocarcinoma", "no evidence of adenocarcinoma" or "adenocarcinoma cannot be excluded"; a
search for the word alone reads all three alike. Here every known diagnosis (table ``entity`` of
``rules/words``) is matched as whole words, in English and Japanese, and judged by the words of negation and
doubt (table ``cue``) of its own clause. What the reader cannot decide is unclear and counts for nothing; a
word that it does not know is returned, so that it can be asked back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from enum import StrEnum
from functools import cache, lru_cache
from typing import NamedTuple

from miliary.clinical.rulebook import RuleRow, find_rules
from miliary.model.assessment import Input
from miliary.model.case import Case, Specimen, path_of


class DiagnosisStatus(StrEnum):
    """What a report says of a diagnosis that it names.

    ``not_this_tissue`` is a diagnosis of another time or person ("history of"); ``unclear`` one whose
    sentence can be read in two ways.
    """

    CONFIRMED = "confirmed"
    SUSPECTED = "suspected"
    NEGATED = "negated"
    NOT_THIS_TISSUE = "not_this_tissue"
    UNCLEAR = "unclear"


class Mention(NamedTuple):
    """One diagnosis named in a text.

    Attributes
    ----------
    entity : str
        Id of the row of the table ``entity``.
    status : DiagnosisStatus
    words : str
        As written, in lower case and without hyphens.
    """

    entity: str
    status: DiagnosisStatus
    words: str


class DiagnosisReading(NamedTuple):
    """What a text says.

    Attributes
    ----------
    mentions : tuple of Mention
        In the order of the text.
    unknown : tuple of str
        Words that are in no list; nothing is derived from them.
    """

    mentions: tuple[Mention, ...]
    unknown: tuple[str, ...]


class _Token(NamedTuple):
    """A stretch of a clause: an entity, a cue, a plain or an unknown word."""

    words: str
    entity: str = ""
    before: str = ""  # status of a cue that judges what follows it
    after: str = ""  # status of a cue that judges what stands before it
    is_adjacent: bool = False
    role: str = ""  # of a plain word: grammar, noun, or marker (a stain or gene with a result of its own)
    organ: str = ""  # the tumor of an organ that is named


_Clause = list[_Token]
_JAPANESE = "\u3040-\u30ff\u3400-\u9fff々"
_CONNECTORS = frozenset(
    ("is", "are", "was", "were", "stain", "stains", "staining", "culture", "cultures", "pcr")
)
_SENTENCE_END = re.compile(
    r"[;。!\n]+|\.(?=\s|$)|\b(?:but|however|although|though|whereas|yet|except)\b|(?:ものの|だが|一方)"
)
# Tumors that arise in many organs, and how many words before them an organ may stand to be theirs.
_OF_ANY_ORGAN = frozenset(("adenocarcinoma", "carcinoma", "squamous_cell_carcinoma", "small_cell_carcinoma"))
_ARTICLES = frozenset(("the", "a", "an", "patient"))
_NEAR = 2
_ORIGINS = frozenset(("origin", "primary", "原発", "由来"))
_COMMA = re.compile(r"[,、()\[\]]+")
_UNKNOWN = re.compile(rf"[a-z0-9]+|[{_JAPANESE}]+|\?")
_JAPANESE_NEGATION = re.compile(r"ない|なか|なく|ず|ません|ぬ|にく|難")
_KANJI_RUN = re.compile(r"[\u30a1-\u30ff\u3400-\u9fff々ー]{2,}")


def fold_words(text: str) -> str:
    """A text in the form in which words are compared.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Full-width letters narrowed, in lower case, hyphens, underscores and slashes as spaces, apostrophes
        left out, "granulomas" and "granulomata" as "granuloma", single spaces.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    folded = re.sub(r"\b(?:can't|can not)\b", "cannot", folded)
    folded = re.sub(r"(?<=[a-z])n't\b", " not", folded).replace("'", "")
    folded = re.sub(r"(?<![a-z])([a-z]|vs|no)\.(?=\s*[a-z0-9])", r"\1 ", folded)
    folded = re.sub(r"[-\u2010-\u2015\u2212_/:\"]", " ", folded)
    folded = re.sub(r"(^|[\s(,;])\?\s*(?=\w)", r"\1possible ", folded)  # "?X", as in a request for a test
    folded = re.sub(r"oma(?:s|ta)\b", "oma", folded)
    folded = re.sub(r"\bnegative (?:[a-z]+ ){1,3}for\b", "negative for", folded)
    return re.sub(r"[^\S\n]+", " ", folded).strip()


@lru_cache(maxsize=4096)
def read_diagnosis(text: str) -> DiagnosisReading:
    """Read the diagnoses of a text.

    Parameters
    ----------
    text : str
        Such as the histology of a specimen.

    Returns
    -------
    DiagnosisReading
        A negation or doubt reaches the end of its clause and through lists joined by "or"; where a comma or
        "and" leaves open how far a negation reaches, the diagnosis behind it is unclear.
    """
    sentences: list[list[_Clause]] = []
    for sentence in _SENTENCE_END.split(fold_words(text)):
        clauses = _join_verdicts([_split_tokens(part) for part in _COMMA.split(sentence) if part.strip()])
        if clauses and sentences and _is_verdict_alone(clauses[0]):
            sentences[-1][-1].extend(clauses.pop(0))
        if clauses:
            sentences.append(clauses)
    mentions = tuple(mention for clauses in sentences for mention in _judge_sentence(clauses))
    unknown = (
        token.words
        for clauses in sentences
        for clause in clauses
        for token in clause
        if _is_unknown(token) and not token.words.isdigit()
    )
    return DiagnosisReading(mentions, tuple(dict.fromkeys(unknown)))


def _is_unknown(token: _Token) -> bool:
    known = token.entity or token.before or token.after or token.role or token.organ
    return not known and token.words != "?" and len(token.words) > 1


# --- words of a clause


@cache
def _known_words() -> tuple[re.Pattern[str], dict[str, _Token]]:
    """A pattern of every known phrase, longest first, and what each is."""
    book = find_rules("words")
    tokens: dict[str, _Token] = {}
    for row in book.rows("plain"):
        for name in list_names(row):
            tokens[name] = _Token(name, role=row["role"])
    for row in book.rows("organ"):
        for name in list_names(row):
            tokens[name] = _Token(name, organ=row["tumor"])
    for row in book.rows("cue"):
        for name in list_names(row):
            token = tokens.get(name, _Token(name))
            adjacent = token.is_adjacent or bool(row["is_adjacent"])
            tokens[name] = token._replace(is_adjacent=adjacent, **{row["stands"]: row["status"]})
    for row in book.rows("entity"):
        for name in list_names(row):
            tokens[name] = _Token(name, entity=row.id)
    longest = sorted(tokens, key=len, reverse=True)
    english = "|".join(re.escape(name) for name in longest if name.isascii() and name != "?")
    other = "|".join(re.escape(name) for name in longest if not name.isascii())
    pattern = rf"(?<![a-z0-9])(?:{english})(?![a-z0-9])|(?:{other})|\?"
    return re.compile(pattern), tokens


def list_names(row: RuleRow) -> tuple[str, ...]:
    """Every name of a row of words, folded, and its id as words.

    Parameters
    ----------
    row : RuleRow

    Returns
    -------
    tuple of str
    """
    own = [row.id] if row.table in ("entity", "test") else []
    return tuple(dict.fromkeys(fold_words(name) for name in (*own, *row["names"], *row.get("names_ja", ()))))


def _split_tokens(text: str) -> _Clause:
    pattern, known = _known_words()
    tokens: _Clause = []
    end = 0
    for match in pattern.finditer(text):
        tokens += _split_unknown(text[end : match.start()])
        tokens.append(known.get(match[0], _Token(match[0])))
        end = match.end()
    return tokens + _split_unknown(text[end:])


def _split_unknown(text: str) -> _Clause:
    """Words of no list; of Japanese only what is not written in hiragana, which holds the grammar."""
    tokens = []
    for word in _UNKNOWN.findall(text):
        parts = [word] if word.isascii() else _KANJI_RUN.findall(word)
        tokens += [_Token(part) for part in parts]
        if not word.isascii() and _JAPANESE_NEGATION.search(word):
            tokens.append(_Token(word, after=DiagnosisStatus.UNCLEAR))
    return tokens


def _has_entity(clause: _Clause) -> bool:
    return any(token.entity for token in clause)


def _is_verdict_alone(clause: _Clause) -> bool:
    """Whether a clause names nothing and only judges what stood before it, as in "X, ruled out"."""
    first = next((token for token in clause if token.role != "grammar"), None)
    return not _has_entity(clause) and first is not None and bool(first.after)


def _join_verdicts(clauses: list[_Clause]) -> list[_Clause]:
    joined: list[_Clause] = []
    for clause in clauses:
        if joined and _is_verdict_alone(clause):
            joined[-1] = joined[-1] + clause
        else:
            joined.append(clause)
    return joined


# --- what is said of each


def _judge_sentence(clauses: list[_Clause]) -> Iterator[Mention]:
    own = [[_judge(clause, place) for place, t in enumerate(clause) if t.entity] for clause in clauses]
    for number, clause in enumerate(clauses):
        entities = [token for token in clause if token.entity]
        for token, status in zip(entities, own[number], strict=True):
            final = status or _inherit(clauses, number) or DiagnosisStatus.CONFIRMED
            entity, doubt = _find_origin(token, clauses)
            yield Mention(
                entity, doubt if doubt and final is DiagnosisStatus.CONFIRMED else final, token.words
            )


def _find_origin(token: _Token, clauses: list[_Clause]) -> tuple[str, DiagnosisStatus | None]:
    """The diagnosis of a token with the organ its sentence gives it, and what is in doubt about that.

    "Adenocarcinoma of the colon" and "of colorectal origin" are no adenocarcinoma of the lung; of one that is
    "metastatic to the liver" the liver is no origin.
    """
    if token.entity not in _OF_ANY_ORGAN:
        return token.entity, None
    words = [other for clause in clauses for other in clause]
    place = next(number for number, other in enumerate(words) if other is token)
    doubt = None
    for number, organ in enumerate(words):
        if not organ.organ:
            continue
        cues = {other.before for other in words[max(0, number - 3, place + 1) : number]}
        before = [other.words for other in words[max(0, number - 3) : number] if other.words not in _ARTICLES]
        after = words[number + 1].words if number + 1 < len(words) else ""
        is_of = bool(before) and before[-1] in ("of", "from") and number > place
        if DiagnosisStatus.NEGATED in cues:
            continue
        if is_of or after in _ORIGINS or 0 < place - number <= _NEAR:
            return organ.organ, DiagnosisStatus.SUSPECTED if DiagnosisStatus.SUSPECTED in cues else None
        if not before or before[-1] not in ("to", "in", "into", "with"):
            doubt = DiagnosisStatus.UNCLEAR
    return token.entity, doubt


def _judge(clause: _Clause, place: int) -> DiagnosisStatus | None:
    """Status by the cues of the clause itself; None where it has none that reaches this place."""
    back = list(_look_back(clause, place))
    if back[:2] == [DiagnosisStatus.SUSPECTED, DiagnosisStatus.NEGATED] and _is_doubt_denied(clause, place):
        back.pop(0)
    found = {*back, *_look_ahead(clause, place)}
    if not found and _is_alternative(clause, place):
        return DiagnosisStatus.SUSPECTED
    for status in (DiagnosisStatus.NOT_THIS_TISSUE, DiagnosisStatus.UNCLEAR):
        if status in found:
            return status
    if {DiagnosisStatus.NEGATED, DiagnosisStatus.SUSPECTED} <= found:
        return DiagnosisStatus.UNCLEAR
    for status in (DiagnosisStatus.NEGATED, DiagnosisStatus.SUSPECTED, DiagnosisStatus.CONFIRMED):
        if status in found:
            return status
    return None


def _is_doubt_denied(clause: _Clause, place: int) -> bool:
    """Whether a negation stands right before a word of doubt, as in "no features consistent with X"."""
    cues = [token for token in clause[:place] if token.before or token.entity]
    return len(cues) > 1 and cues[-1].words.endswith((" with", " for", " of")) and not cues[-2].entity


def _is_alternative(clause: _Clause, place: int) -> bool:
    """Whether a diagnosis is one of two, as in "X or Y"."""
    words = {token.words for token in clause[max(0, place - 1) : place + 2]}
    return "or" in words and sum(bool(token.entity) for token in clause) > 1


def _look_back(clause: _Clause, place: int) -> Iterator[DiagnosisStatus]:
    """Cues before a diagnosis, as far as the last word that affirms ("with", "showing")."""
    passed: _Clause = []
    for number in range(place - 1, -1, -1):
        token = clause[number]
        if token.before == DiagnosisStatus.CONFIRMED:
            yield DiagnosisStatus.CONFIRMED
            if _is_negation_open(clause[:number]):
                yield DiagnosisStatus.UNCLEAR
            return
        if token.before:
            between = [other.words for other in passed]
            is_list = _has_entity(passed) and "or" not in between and "nor" not in between
            is_negation = token.before == DiagnosisStatus.NEGATED
            yield DiagnosisStatus.UNCLEAR if is_negation and is_list else DiagnosisStatus(token.before)
        passed.append(token)


def _is_negation_open(tokens: _Clause) -> bool:
    """Whether a negation before this point has not reached any diagnosis yet."""
    for token in reversed(tokens):
        if token.entity:
            return False
        if token.before == DiagnosisStatus.NEGATED:
            return True
    return False


def _look_ahead(clause: _Clause, place: int) -> Iterator[DiagnosisStatus]:
    """Cues behind a diagnosis, as far as the next one that judges only what follows it."""
    passed: _Clause = []
    for token in clause[place + 1 :]:
        is_far = any(other.words not in _CONNECTORS for other in passed)
        is_of_marker = any(other.role == "marker" for other in passed)
        if token.after and not (token.is_adjacent and is_far) and not is_of_marker:
            if not _belongs_to_next(token, clause):
                is_doubtful = token.after == DiagnosisStatus.NEGATED and any(map(_is_unknown, passed))
                yield DiagnosisStatus.UNCLEAR if is_doubtful else DiagnosisStatus(token.after)
        elif _is_unknown(token) and token.words.endswith("ed"):
            yield DiagnosisStatus.UNCLEAR  # a verb that may deny it
        if token.before and (not token.after or token.before == DiagnosisStatus.CONFIRMED):
            return
        passed.append(token)


def _belongs_to_next(token: _Token, clause: _Clause) -> bool:
    """Whether a cue that may judge either side stands before something, as "no" in "X with no Y"."""
    return token.is_adjacent and bool(token.before) and clause[-1] is not token


def _inherit(clauses: list[_Clause], number: int) -> DiagnosisStatus | None:
    """What a list judged as a whole says of a member that has no cue of its own."""
    for earlier in range(number - 1, -1, -1):
        open_cue = _find_open_cue(clauses[earlier])
        if open_cue == DiagnosisStatus.NEGATED:
            rest = [token.words for clause in clauses[earlier + 1 :] for token in clause]
            return DiagnosisStatus.NEGATED if {"or", "nor"} & {*rest} else DiagnosisStatus.UNCLEAR
        if open_cue == DiagnosisStatus.SUSPECTED:
            return DiagnosisStatus.SUSPECTED
        if open_cue == DiagnosisStatus.NOT_THIS_TISSUE:
            return DiagnosisStatus.UNCLEAR
        if open_cue or any(token.after for token in clauses[earlier]):
            break
    for later in clauses[number + 1 :]:
        if any(token.before and not token.after for token in later):
            return None
        if not _has_entity(later):
            continue
        judged = [token for token in later if token.after and not token.is_adjacent]
        if judged:
            status = DiagnosisStatus(judged[-1].after)
            return DiagnosisStatus.UNCLEAR if status is DiagnosisStatus.NEGATED else status
    return None


def _find_open_cue(clause: _Clause) -> str:
    """The cue at work at the end of a clause; empty where there is none or it was closed by a verb."""
    for token in reversed(clause):
        if token.after and not token.before:
            return ""
        if token.before:
            return token.before
    return ""


# --- tissue of a case


@cache
def list_broader(entity: str) -> frozenset[str]:
    """A diagnosis with everything that it is a kind of.

    Parameters
    ----------
    entity : str
        Id of the table ``entity``.

    Returns
    -------
    frozenset of str
    """
    broader = find_rules("words").row(entity).get("broader", ())
    return frozenset((entity,)).union(*(list_broader(name) for name in broader))


def find_status(text: str, entities: Collection[str]) -> DiagnosisStatus | None:
    """What a text says of any of several diagnoses.

    Parameters
    ----------
    text : str
    entities : collection of str
        Ids of the table ``entity``. A kind of one of them affirms it; "no malignancy" negates every tumor.

    Returns
    -------
    DiagnosisStatus or None
        None where none is named. Confirmed before suspected, unclear and negated; the same diagnosis both
        affirmed and negated is unclear.
    """
    wanted = frozenset(entities)
    named: dict[str, set[DiagnosisStatus]] = {}
    wider: set[DiagnosisStatus] = set()
    for mention in read_diagnosis(text).mentions:
        if wanted & list_broader(mention.entity):
            named.setdefault(mention.entity, set()).add(mention.status)
        elif mention.status is DiagnosisStatus.NEGATED and _is_wider(mention.entity, wanted):
            wider.add(mention.status)
    opposed = {DiagnosisStatus.CONFIRMED, DiagnosisStatus.NEGATED}
    found = {
        status
        for statuses in named.values()
        for status in ({DiagnosisStatus.UNCLEAR} if opposed <= statuses else statuses)
    }
    return next((status for status in _STRONGEST_FIRST if status in (found or wider)), None)


_STRONGEST_FIRST = (
    *(DiagnosisStatus.CONFIRMED, DiagnosisStatus.SUSPECTED, DiagnosisStatus.UNCLEAR),
    *(DiagnosisStatus.NEGATED, DiagnosisStatus.NOT_THIS_TISSUE),
)


def _is_wider(entity: str, wanted: Collection[str]) -> bool:
    return all(entity in list_broader(name) for name in wanted)


def list_specimens(
    case: Case, entities: Collection[str], status: DiagnosisStatus = DiagnosisStatus.CONFIRMED
) -> Iterator[tuple[Specimen, Input]]:
    """Specimens whose histology says something of any of several diagnoses.

    Parameters
    ----------
    case : Case
    entities : collection of str
        Ids of the table ``entity``.
    status : DiagnosisStatus
        What it says.

    Yields
    ------
    Specimen
    Input
        The histology as the fact.
    """
    for specimen in case.specimens:
        if find_status(specimen.histology, entities) is status:
            yield specimen, Input(path_of("specimens", specimen.id, "histology"), specimen.histology)


def is_from_chest(specimen: Specimen) -> bool:
    """Whether site or procedure says that a specimen is of lung, bronchi or pleura.

    Parameters
    ----------
    specimen : Specimen

    Returns
    -------
    bool
        False also where neither says so. A site that names another organ outranks the procedure.
    """
    names = [
        name for row in find_rules("words").rows("plain") if row.get("is_chest") for name in list_names(row)
    ]
    text = fold_words(specimen.site or specimen.procedure)
    return any(
        re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", text) if name.isascii() else name in text
        for name in names
    )


@cache
def find_entities(kind: str) -> tuple[str, ...]:
    """Ids of every diagnosis of a kind.

    Parameters
    ----------
    kind : str
        As in ``extrathoracic_tumor``, of the table ``entity``.

    Returns
    -------
    tuple of str
    """
    return tuple(row.id for row in find_rules("words").rows("entity") if row["kind"] == kind)
