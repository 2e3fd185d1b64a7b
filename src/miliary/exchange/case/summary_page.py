"""`summary.md`: one page of what to do, then everything in full with its sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from miliary.model.assessment import Assessment, Basis, Severity, Verdict
from miliary.model.case import Case
from miliary.model.saved.case_summary import CitationSummary

FIRST_PAGE_WORDS = 600
_HEADINGS = {
    Severity.ERROR: "Errors",
    Severity.QUERY: "Queries",
    Severity.NOTE: "Notes",
}
_ASK = {Severity.ERROR: "to correct", Severity.QUERY: "to answer", Severity.NOTE: "to know"}
_ONE = {"errors": "error", "queries": "query", "notes": "note"}
_DISCLAIMER = "States and cites for a reader who decides; no medical device, no advice."
# What touches the patient first, then what decides the case, then what only its report needs.
_ORDER = (
    *(
        "therapy.pregnancy",
        "therapy.breastfeeding",
        "therapy.interaction",
        "therapy.age",
        "therapy.no_contraception",
    ),
    *("therapy.hold", "therapy.event", "therapy.same_target", "therapy.driver", "therapy.", "ctcae."),
    *("differential.", "words.", "tnm.", "drivers.", "recist.", "labs.", "consistency.", "definition."),
    *("literature.", "rules.", "care."),
)
_LONGEST_LINE = 24  # words of one line of the first page


def render_summary(
    case: Case, assessments: Sequence[Assessment], sources: Mapping[str, CitationSummary]
) -> str:
    """The assessments as a Markdown page.

    Parameters
    ----------
    case : Case
    assessments : sequence of Assessment
    sources : mapping of str to CitationSummary
        By the id of the citation.

    Returns
    -------
    str
        A first page of at most `FIRST_PAGE_WORDS` words: the results in short, then what to correct, to
        answer and to know in the order of what to do. Below it everything in full: by severity, then
        results, then what cannot be told.
    """
    lines = [f"# {case.title or case.id}", "", f"Facts: {case.origin.value}. {_DISCLAIMER}", ""]
    lines += _first_page(assessments, _count_words(lines))
    lines += ["---", "", "# In full", ""]
    for severity, heading in _HEADINGS.items():
        lines += _section(heading, sorted(_of(assessments, severity), key=_order), sources)
    calm = [a for a in assessments if a.severity is Severity.INFO]
    lines += _section("Results", (a for a in calm if a.verdict is Verdict.MET), sources)
    lines += _section("Cannot be told", (a for a in calm if a.verdict is Verdict.NOT_ASSESSABLE), sources)
    n_quiet = sum(a.verdict is Verdict.NOT_MET for a in calm)
    lines += [f"{n_quiet} further checks found nothing to raise; they are in `case.json`.", ""]
    return "\n".join(lines)


def _of(assessments: Iterable[Assessment], severity: Severity) -> Iterator[Assessment]:
    return (a for a in assessments if a.severity is severity)


def _order(assessment: Assessment) -> int:
    found = (n for n, prefix in enumerate(_ORDER) if assessment.rule_id.startswith(prefix))
    return next(found, len(_ORDER))


def _count_words(lines: Iterable[str]) -> int:
    return sum(len(line.split()) for line in lines)


# --- the first page -------------------------------------------------------------------------------------


def _first_page(assessments: Sequence[Assessment], n_used: int) -> Iterator[str]:
    """Lines of the first page within its number of words; what no longer fits is counted."""
    glance = [f"- {_shorten(a.statement)}" for a in _list_key_results(assessments)]
    if glance:
        glance = ["## At a glance", "", *glance, ""]
        yield from glance
    left = FIRST_PAGE_WORDS - n_used - _count_words(glance) - 40  # for headings and the last line
    unsaid: list[str] = []
    for severity, heading in _HEADINGS.items():
        found = sorted(_of(assessments, severity), key=_order)
        lines = []
        for assessment in found:
            line = f"- {_shorten(assessment.statement)}"
            if _count_words([line]) > left:
                break
            left -= _count_words([line])
            lines.append(line)
        if lines:
            yield from (f"## {heading}, {_ASK[severity]} ({len(found)})", "", *lines, "")
        if len(found) > len(lines):
            n_more, words = len(found) - len(lines), heading.lower()
            unsaid.append(f"{n_more} more {_ONE[words] if n_more == 1 else words}")
            left = 0
    yield (
        f"Below: {' and '.join(unsaid)}, and all results with their sources." if unsaid else "Sources: below."
    )
    yield ""


def _list_key_results(assessments: Sequence[Assessment]) -> Iterator[Assessment]:
    """What a reader asks first: cause, stage in the newest edition, drivers, drugs, response."""
    calm = [a for a in assessments if a.severity is Severity.INFO and a.verdict is not Verdict.NOT_MET]
    yield from [a for a in calm if a.rule_id == "differential.ranking"][:1]
    yield from [a for a in calm if a.rule_id == "tnm.group" and "cannot be told" not in a.statement][-1:]
    yield from [a for a in calm if a.rule_id.startswith("drivers.gene.") and a.verdict is Verdict.MET]
    yield from [a for a in calm if a.rule_id.startswith("therapy.dose.")][:2]
    yield from [a for a in calm if a.rule_id == "recist.best_response" and a.verdict is Verdict.MET][:1]


def _shorten(statement: str) -> str:
    words = statement.split()
    return (
        statement
        if len(words) <= _LONGEST_LINE
        else " ".join(words[: _LONGEST_LINE - 1]).rstrip(",;:") + " …"
    )


# --- in full --------------------------------------------------------------------------------------------


def _section(
    title: str, found: Iterable[Assessment], sources: Mapping[str, CitationSummary]
) -> Iterator[str]:
    items = list(found)
    if items:
        yield from (f"## {title} ({len(items)})", "")
        yield from (_line(assessment, sources) for assessment in items)
        yield ""


def _line(assessment: Assessment, sources: Mapping[str, CitationSummary]) -> str:
    missing = assessment.reason.rstrip(".")
    is_said = missing.removeprefix("not stated: ") in assessment.statement
    # That it cannot be told is said once: by the statement, by the heading, or here.
    is_named = "cannot be" in assessment.statement or assessment.severity is Severity.INFO
    words = missing[:1].upper() + missing[1:] if is_named else f"Cannot be told: {missing}"
    reason = f" {words}." if missing and not is_said else ""
    cited = "; ".join(sources[name].text for name in assessment.citations if name in sources)
    basis = "" if assessment.basis is Basis.READ else f", {assessment.basis.value}"
    as_of = f", as of {assessment.as_of.isoformat()}" if assessment.as_of else ""
    return f"- {assessment.statement}{reason} [{assessment.rule_id}: {cited or 'own check'}{basis}{as_of}]"
