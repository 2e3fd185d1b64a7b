"""The words of the report: the same keys and places in every language, all of them used."""

import ast
import re
from string import Formatter

import pytest

from miliary.report.catalog import LANGUAGES, load_catalog, read_strings
from miliary.report.sections import burden, gate, lesions


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


def parse_modules(folder):
    """The syntax trees of all modules below a folder."""
    return [ast.parse(path.read_text("utf-8")) for path in folder.rglob("*.py")]


def find_strings(trees):
    """Every whole string constant of some modules."""
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def find_starts(trees, templates):
    """How keys begin that are put together from a value: f"draft.p_{name}", or 'count.' ~ name."""
    starts = set(re.findall(r"""'([a-z_]+\.[a-z_]*)' ~""", templates))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                starts |= set(re.findall(r"^[a-z_]+\.[a-z_]*$", node.values[0].value))
    return starts


@pytest.fixture(scope="module")
def report(root):
    """Modules of the report, and the text of its templates."""
    folder = root / "src/miliary/report"
    templates = "\n".join(p.read_text("utf-8") for p in folder.rglob("*.html"))
    return parse_modules(folder), templates


def find_unused(keys, strings, starts, values):
    """Keys that nothing asks for, neither whole nor as a start and a value that the program knows."""
    return [
        key
        for key in keys
        if key not in strings
        and not any(key.startswith(s) and key.removeprefix(s) in values for s in starts)
        # The glossary is shown as a whole.
        and not key.startswith("glossary.")
    ]


def test_every_text_is_used(root, report):
    modules, templates = report
    strings = find_strings(modules) | set(re.findall(r"'([a-z_]+\.\w+)'", templates))
    starts = find_starts(modules, templates)
    values = find_strings(parse_modules(root / "src/miliary"))
    keys = list(load_catalog("en").texts)
    assert find_unused(keys, strings, starts, values) == []
    invented = ["none.invented", "facts.invented", "draft.gap_invented", "word.invented", "section.invented"]
    assert find_unused(invented, strings, starts, values) == invented


def find_asked(trees):
    """Every whole key that modules ask the catalog for: t("..."), catalog("..."), self._say("...")."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
                name = called.id if isinstance(called, ast.Name) else called
                if name in {"t", "catalog", "_say"}:
                    yield node.args[0].value


def test_every_key_that_is_asked_for_is_there(report):
    modules, templates = report
    asked = set(find_asked(modules))
    asked |= set(re.findall(r"""(?:\bt\(|nothing\()'([^']+)'\s*[,)]""", templates))
    assert sorted(asked - set(load_catalog("en").texts)) == []
    assert len(asked) > 150


@pytest.mark.parametrize("start", ["facts", "gate", "lesion"])
def test_every_measure_of_a_table_has_a_name(start):
    tables = {"facts": burden.MEASURES, "gate": gate.MEASURES, "lesion": lesions.MEASURES}
    assert {f"{start}.{measure[0]}" for measure in tables[start]} <= set(load_catalog("en").texts)


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
