"""Terms of the page and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from miliary.model.study import StudyResult
from miliary.report.catalog import Catalog
from miliary.report.section import Section
from miliary.report.sources import Sources


@dataclass(frozen=True)
class GlossaryEntry:
    """A term and its meaning."""

    term: str
    meaning: str


@dataclass(frozen=True)
class WordsContent:
    """The glossary in the order of the catalog."""

    entries: tuple[GlossaryEntry, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[WordsContent]:
    """The section that explains the terms of the page."""
    pairs = (text.partition(":") for _, text in catalog.section("glossary"))
    content = WordsContent(tuple(GlossaryEntry(term, meaning) for term, _, meaning in pairs))
    return Section("words", catalog("section.words"), "sections/words.html", content)
