"""A stage as somebody wrote it, checked: legal categories, edition, group, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from miliary.clinical.rulebook import RuleBook, find_rules, list_editions, load_rules
from miliary.clinical.tnm.category import T_ORDER, TnmCategory, categories
from miliary.clinical.tnm.n_category import parse_station
from miliary.clinical.tnm.read_sites import read_sites
from miliary.clinical.tnm.staging import derive_stage, derive_t, lobes_named, stage_group
from miliary.clinical.tnm.tumor_size import size_row
from miliary.clinical.tnm.written_stage import (
    WrittenStage,
    edition_of,
    named_edition,
    parse_tnm,
    written_group,
)
from miliary.model.assessment import Assessment, Basis, Input, Severity, Verdict
from miliary.model.case import AssertedStage, Case, Staging, path_of
from miliary.model.vocabulary import Modality, Presence

_PARENTS = {
    "T": ("TX", "T0", "Tis", "T1", "T2", "T3", "T4"),
    "N": ("NX", "N0", "N1", "N2", "N3"),
    "M": ("M0", "M1", "M1c"),
}
_Outcome = tuple[Verdict, Severity]
_CORRECT: _Outcome = (Verdict.NOT_MET, Severity.INFO)
_ASK: _Outcome = (Verdict.MET, Severity.QUERY)
_WRONG: _Outcome = (Verdict.MET, Severity.ERROR)
_NOT_COMPARED: _Outcome = (Verdict.NOT_ASSESSABLE, Severity.INFO)
_UNDECIDED: _Outcome = (Verdict.NOT_ASSESSABLE, Severity.QUERY)


def legal_words(axis: str, *, book: RuleBook) -> tuple[str, ...]:
    """The words allowed for one axis in an edition.

    Parameters
    ----------
    axis : str
        T, N or M.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    tuple of str
        The categories, and the parents that cover several of them, as T1 for T1a to T1c.
    """
    return tuple(dict.fromkeys((*categories(axis, book), *_PARENTS[axis])))


def nearest_legal(word: str, axis: str, *, book: RuleBook) -> str | None:
    """The longest beginning of a word that is a category of lung cancer.

    Parameters
    ----------
    word : str
        As in T4a.
    axis : str
        T, N or M.
    book : RuleBook
        Of the TNM edition.

    Returns
    -------
    str or None
        As in T4; None where no beginning is one.
    """
    legal = legal_words(axis, book=book)
    return next((word[:n] for n in range(len(word), 1, -1) if word[:n] in legal), None)


def _rules_for(stage: AssertedStage) -> RuleBook:
    """The rules of the edition that a stage names, or the newest."""
    return find_rules("tnm", edition=edition_of(stage) or "")


def assess(case: Case) -> tuple[Assessment, ...]:
    """Check every stage that somebody wrote against the classification and the recorded findings.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Assessment
        Ids start with ``tnm.asserted_``; and ``tnm.bone_imaging``.
    """
    found: list[Assessment] = []
    for stage in case.staging.asserted:
        found.extend(_check_stage(case, stage))
    return (*found, *_check_bone_imaging(case))


def _check_stage(case: Case, stage: AssertedStage) -> Iterator[Assessment]:
    named = named_edition(stage)
    if named and edition_of(stage) is None:
        yield _finding(
            case,
            stage,
            "tnm.asserted_edition",
            _NOT_COMPARED,
            f"{named}th edition: not encoded; the stage as written is not judged.",
            reason=f"the {named}th edition is not encoded",
        )
        return
    written = parse_tnm(stage.tnm)
    if stage.tnm and written is None:
        yield _finding(
            case,
            stage,
            "tnm.asserted_form",
            _UNDECIDED,
            f"The stage '{stage.tnm}' is not written as T, N and M.",
            reason="it cannot be taken apart into T, N and M",
        )
    if written is not None:
        yield from _check_categories(case, stage, written)
    yield from _check_edition(case, stage)
    yield from _check_group(case, stage, written)
    if written is not None:
        yield from _check_against_findings(case, stage, written)


def _check_categories(case: Case, stage: AssertedStage, written: WrittenStage) -> Iterator[Assessment]:
    """Words that are no category of the lung, in the edition named or in any."""
    named = edition_of(stage)
    books = [load_rules("tnm", edition) for edition in ((named,) if named else list_editions("tnm"))]
    for axis in "TNM":
        word = written.axis(axis)
        if not word:
            continue
        is_legal = any(word in legal_words(axis, book=book) for book in books)
        near = None if is_legal else nearest_legal(word, axis, book=books[-1])
        editions = " or ".join(f"{book.edition}th" for book in books)
        statement = (
            f"{word} is a category of lung cancer in the {editions} edition."
            if is_legal
            else f"{word} is not a category of lung cancer in the {editions} edition"
            + (f"; the nearest legal one is {near}." if near else ".")
        )
        yield _finding(
            case,
            stage,
            "tnm.asserted_category",
            _CORRECT if is_legal else _WRONG,
            statement,
            value=near,
            facts_item=None if is_legal else "j1",
        )


def _check_edition(case: Case, stage: AssertedStage) -> Iterator[Assessment]:
    named = edition_of(stage)
    if named:
        statement = f"The stage names the {named}th edition."
    elif stage.edition:
        statement = f"The stage names the edition '{stage.edition}', which names no number of an edition."
    else:
        statement = "The stage does not say which edition of the TNM classification it uses."
    outcome, item = (_CORRECT, None) if named else (_ASK, "j3")
    yield _finding(case, stage, "tnm.asserted_edition", outcome, statement, facts_item=item)


def _check_group(case: Case, stage: AssertedStage, written: WrittenStage | None) -> Iterator[Assessment]:
    """A group that is unspecific, unknown, or not that of the written categories."""
    if not written_group(stage):
        return
    book = _rules_for(stage)
    legal = {row["stage"] for table in ("groups", "m_groups") for row in book.rows(table)}
    group = written_group(stage)
    expected = _groups_written(written, book) if written is not None else set()
    if group not in legal:
        within = sorted(expected or {name for name in legal if name.startswith(group)})
        statement = f"'{stage.group or group}' is not one stage group of lung cancer"
        statement += f"; the categories written give {' or '.join(within)}." if expected else "."
        yield _finding(
            case,
            stage,
            "tnm.asserted_group",
            _WRONG,
            statement,
            value=_only(within),
            values=tuple(within),
            facts_item="j2",
        )
        return
    fits = not expected or group in expected
    statement = (
        f"The group {group} fits the categories written beside it."
        if fits and expected
        else f"The group {group} exists; no categories beside it to compare with."
        if fits
        else f"The group {group} does not fit {stage.tnm}, which gives {' or '.join(sorted(expected))}."
    )
    outcome = _CORRECT if fits else _WRONG
    yield _finding(case, stage, "tnm.asserted_group", outcome, statement, values=tuple(sorted(expected)))


def _groups_written(written: WrittenStage, book: RuleBook) -> set[str]:
    """Groups of the categories as written, nearest legal ones where they are not legal."""
    choices = [_expand_category(written.axis(axis), axis, book) for axis in "TNM"]
    groups = {stage_group(t, n, m, book=book) for t in choices[0] for n in choices[1] for m in choices[2]}
    return {group for group in groups if group is not None}


def _expand_category(word: str, axis: str, book: RuleBook) -> list[str]:
    """Categories that a word stands for: itself, or all below a parent."""
    near = nearest_legal(word, axis, book=book) if word else None
    if near is None:
        return []
    full = categories(axis, book)
    return [near] if near in full else [name for name in full if name.startswith(near)]


def _check_against_findings(case: Case, stage: AssertedStage, written: WrittenStage) -> Iterator[Assessment]:
    book = _rules_for(stage)
    t, n, m, _ = derive_stage(case, book=book)
    for category, word in ((t, written.t), (n, written.n), (m, written.m)):
        if not word:
            continue
        prefix = written.prefix_of(category.axis)
        if set(prefix) & set("yra"):
            yield _describe_other_time(case, stage, category.axis, prefix + word)
        elif category.axis == "T" and "p" in prefix:
            yield _compare_pathologic(case, stage, t, word, book)
        else:
            yield _compare(case, stage, category, word, book)
    if not set(written.prefix_of("T")) & set("yrap"):
        yield _check_t_basis(case, stage, t, written, book)
    if not set(written.prefix_of("N")) & set("yra"):
        yield _check_n_basis(case, stage, written)


def _describe_other_time(case: Case, stage: AssertedStage, axis: str, written: str) -> Assessment:
    """After treatment (y), at recurrence (r) or autopsy (a): the findings are not said to be of that time."""
    return _finding(
        case,
        stage,
        f"tnm.asserted_{axis.lower()}",
        _NOT_COMPARED,
        f"{written} is a category after treatment, at recurrence or at autopsy; the findings recorded are "
        "those before treatment and are not compared with it.",
        reason="the findings of that time are not recorded",
    )


def _compare_pathologic(
    case: Case, stage: AssertedStage, t: TnmCategory, word: str, book: RuleBook
) -> Assessment:
    """PT rests on the invasive size where that is stated; a size by imaging does not contradict it."""
    invasive_mm = case.staging.invasive_mm
    if invasive_mm is not None:
        whole = replace(case.staging, size_mm=invasive_mm, solid_mm=None)
        by_part = derive_t(whole, book=book)
        measured = Input("staging.invasive_mm", invasive_mm)
        inputs = tuple(measured if given.path == "staging.size_mm" else given for given in by_part.inputs)
        return _compare(case, stage, replace(by_part, inputs=inputs), word, book)
    if set(_expand_category(word, "T", book)) & set(t.stated):
        return _compare(case, stage, t, word, book)
    return _finding(
        case,
        stage,
        "tnm.asserted_t",
        _UNDECIDED,
        f"p{word} as written rests on the invasive size, which is not stated; the size recorded does not "
        "decide it.",
        reason="not stated: the invasive size",
        inputs=(Input("staging.invasive_mm", None),),
    )


def _compare(
    case: Case, stage: AssertedStage, category: TnmCategory, word: str, book: RuleBook
) -> Assessment:
    """Whether the findings allow the category written."""
    meant = set(_expand_category(word, category.axis, book))
    possible = set(category.values)
    rule_id = f"tnm.asserted_{category.axis.lower()}"
    if meant & set(category.stated):
        statement = f"{word} as written agrees with the findings stated"
        statement += f" ({'; '.join(category.because)})." if category.because else "."
        return _finding(case, stage, rule_id, _CORRECT, statement)
    if not category.stated:
        return _finding(
            case,
            stage,
            rule_id,
            _UNDECIDED,
            f"No finding stated gives a {category.axis} category to compare {word} with.",
            reason="not stated: " + (", ".join(category.unknown) or "findings"),
            facts_item={"T": "j4", "N": "j5"}.get(category.axis),
        )
    outcome = _ASK if meant & possible else _WRONG
    seen = f"the findings stated give {' or '.join(category.stated)}"
    why = f" ({'; '.join(category.because)})" if category.because else ""
    statement = f"{word} as written, but {seen}{why}."
    return _finding(case, stage, rule_id, outcome, statement, values=category.values, inputs=category.inputs)


def _check_t_basis(
    case: Case, stage: AssertedStage, t: TnmCategory, written: WrittenStage, book: RuleBook
) -> Assessment:
    """A T above that of the size rests on something: it should be named."""
    staging, rule_id = case.staging, "tnm.asserted_t_basis"
    by_size = size_row(staging.size_mm, book=book)["category"] if staging.size_mm is not None else None
    meant = [T_ORDER.index(name) for name in _expand_category(written.t, "T", book) if name in T_ORDER]
    if by_size is None or not meant or min(meant) <= T_ORDER.index(by_size):
        statement = f"{written.t} is not above what the size gives."
        if by_size is None:
            statement = "No size is stated to compare T with."
        return _finding(case, stage, rule_id, _CORRECT, statement)
    named = any(p is Presence.PRESENT for p in staging.invades.values()) or lobes_named(staging)
    statement = f"{written.t} is above {by_size}, which the size of {staging.size_mm:g} mm gives"
    if named:
        statement += f"; the findings name what it rests on ({'; '.join(t.because)})."
        return _finding(case, stage, rule_id, _CORRECT, statement)
    statement += "; neither invasion nor a lobe with separate nodules is named as its basis."
    return _finding(case, stage, rule_id, _ASK, statement, facts_item="j4")


def _check_n_basis(case: Case, stage: AssertedStage, written: WrittenStage) -> Assessment:
    """N rests on stations and sides."""
    rule_id = "tnm.asserted_n_basis"
    if written.n in ("", "N0", "NX"):
        statement = "No involved node is asserted."
        return _finding(case, stage, rule_id, _CORRECT, statement)
    missing = missing_node_facts(case.staging)
    if not missing:
        statement = f"{written.n} rests on nodes whose station, side and size are stated."
        return _finding(case, stage, rule_id, _CORRECT, statement)
    statement = f"{written.n} is written without {', '.join(missing)} of the nodes"
    statement += "; N2a and N2b, or N3, cannot be told apart." if "station" in missing else "."
    return _finding(case, stage, rule_id, _ASK, statement, facts_item="j5")


def missing_node_facts(staging: Staging) -> tuple[str, ...]:
    """What no involved node of a case is stated with.

    Parameters
    ----------
    staging : Staging

    Returns
    -------
    tuple of str
        Of station, side and size.
    """
    nodes = [node for node in read_sites(staging).staging.nodes if node.involved is Presence.PRESENT]
    has_station = any(parse_station(node)[0][:1].isdigit() for node in nodes)
    has_side = any(parse_station(node)[1] is not None or parse_station(node)[0] == "7" for node in nodes)
    has_size = any(node.short_axis_mm is not None for node in nodes)
    stated = (("station", has_station), ("side", has_side), ("size", has_size))
    return tuple(name for name, is_stated in stated if not is_stated)


def _check_bone_imaging(case: Case) -> Iterator[Assessment]:
    """Bone metastases seen without a study of the whole skeleton."""
    places = read_sites(case.staging).sites
    bones = [place.item for place in places if place.named.row.get("system") == "skeletal"]
    if not bones:
        return
    whole = [s for s in case.studies if s.modality in (Modality.BONE_SCAN, Modality.PET_CT)]
    credit = find_rules("tnm").credit("m1c1")
    inputs = tuple(Input(path_of("staging.metastases", m.id, "study"), m.study or None) for m in bones)
    common: dict[str, Any] = {
        "title": "Imaging behind bone metastases",
        "origin": case.origin,
        "inputs": inputs,
        **credit,
    }
    if whole:
        yield Assessment(
            rule_id="tnm.bone_imaging",
            verdict=Verdict.NOT_MET,
            severity=Severity.INFO,
            statement="A bone scan or PET is recorded beside the bone metastases.",
            **common,
        )
        return
    modalities = sorted({s.modality.value for s in case.studies if s.id in {m.study for m in bones}})
    seen = f" (seen on {', '.join(modalities)})" if modalities else ""
    yield Assessment(
        rule_id="tnm.bone_imaging",
        verdict=Verdict.MET,
        severity=Severity.NOTE,
        statement=f"Bone metastases are recorded{seen}; no bone scan or PET is recorded.",
        facts_item="j45",
        **common,
    )


def _finding(
    case: Case,
    stage: AssertedStage,
    rule_id: str,
    outcome: _Outcome,
    statement: str,
    **more: Any,
) -> Assessment:
    """An assessment of a written stage."""
    book = _rules_for(stage)
    edition = edition_of(stage) or " and ".join(list_editions("tnm"))
    written = (("tnm", stage.tnm), ("group", stage.group), ("edition", stage.edition))
    section = "staging.asserted"
    inputs = tuple(Input(path_of(section, stage.id, name), value or None) for name, value in written)
    inputs += more.pop("inputs", ())
    return Assessment(
        rule_id=rule_id,
        title="Stage as written",
        verdict=outcome[0],
        severity=outcome[1],
        statement=statement,
        inputs=inputs,
        edition=f"tnm {edition}",
        citations=book.row("group_t4_n3").citations,
        basis=Basis.SECONDARY,
        as_of=book.as_of,
        origin=case.origin,
        **more,
    )


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None
