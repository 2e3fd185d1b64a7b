"""The words of the report: the same keys and places in every language, all of them used."""

import re
from string import Formatter

import pytest

from miliary.report.catalog import LANGUAGES, load_catalog, read_strings

# Keys that are put together from what was saved.
BY_VALUE = {
    "word",
    "alike",
    "radiograph",
    "glossary",
    "problem",
    "severity",
    "section",
    "figure",
    "lesion",
    "facts",
    "none",
}


def places(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def test_every_text_is_in_every_language_with_the_same_places():
    for section, entries in read_strings().items():
        for name, texts in entries.items():
            assert set(texts) == set(LANGUAGES), f"{section}.{name}"
            assert all(text.strip() for text in texts.values()), f"{section}.{name}"
            assert len({tuple(places(text)) for text in texts.values()}) == 1, f"{section}.{name}"


def test_japanese_texts_are_japanese():
    kana = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
    bare = {k: re.sub(r"\{.*?\}|mm|\s", "", text) for k, text in load_catalog("ja").texts.items()}
    latin = [k for k, text in bare.items() if text and not kana.search(text)]
    assert latin == []


def test_every_text_is_used(root):
    sources = [p for p in (root / "src/miliary/report").rglob("*") if p.suffix in {".py", ".html"}]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    # Keys put together from a value: f"draft.p_{name}", or 'section.' ~ name in the template.
    starts = tuple(re.findall(r"""["']([a-z]+\.[a-z_]*)(?:\{|' ~)""", code))
    unused = [
        key
        for key in load_catalog("en").texts
        if key.partition(".")[0] not in BY_VALUE
        and not key.startswith(starts)
        and not re.search(rf"""["']{re.escape(key)}["']""", code)
    ]
    assert unused == []


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="language must be one of en, ja"):
        load_catalog("de")


def test_a_word_that_the_catalog_lacks_is_shown_as_it_is():
    assert load_catalog("ja").word("some_new_word") == "some new word"


def test_every_glossary_entry_has_a_term_and_its_meaning():
    for language in LANGUAGES:
        for name, text in load_catalog(language).section("glossary"):
            term, _, meaning = text.partition(":")
            assert term.strip(), name
            assert meaning.strip(), name
