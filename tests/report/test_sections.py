"""Sections of the page: one module and one partial each, and what happens where one is misspelled."""

import dataclasses
import re
import typing
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest
from jinja2 import DictLoader, UndefinedError, meta

from miliary.model.study import StudyResult
from miliary.report.catalog import load_catalog
from miliary.report.page import assemble_page, load_templates
from miliary.report.sections import BUILDERS, Section
from miliary.report.sources import Sources
from tests.report.outline import Page

REPORT = Path(import_module("miliary.report").__file__).parent
NAMES = [build.__module__.rpartition(".")[2] for build in BUILDERS]


@dataclass(frozen=True)
class ToyContent:
    """Content of a section that only the tests have."""

    n_scans: int


def build_toy(study, catalog, sources):
    """A section in one function."""
    return Section("toy", catalog("section.toy"), "sections/toy.html", ToyContent(len(study.scans)))


def render_toy(study, partial, builders=(*BUILDERS, build_toy)):
    """The page with the toy section at its end."""
    english = load_catalog("en")
    catalog = replace(english, texts={**english.texts, "section.toy": "Toys"})
    templates = load_templates(DictLoader({"sections/toy.html": partial}))
    return assemble_page(study, catalog, templates=templates, builders=builders)


def find_content_type(build):
    """The dataclass that a builder's section holds, from its annotation."""
    module = import_module(build.__module__)
    written = build.__annotations__["return"].removesuffix(" | None")
    return getattr(module, re.fullmatch(r"Section\[(\w+)\]", written)[1])


def read_partials():
    """Every template with its text."""
    return {str(p.relative_to(REPORT / "templates")): p.read_text() for p in REPORT.rglob("*.html")}


def test_every_section_is_one_module_and_one_partial_of_the_same_name():
    modules = {p.stem for p in (REPORT / "sections").glob("*.py")} - {"__init__", "section"}
    # The board page has a room of its own.
    modules.add("answer")
    partials = {p.stem for p in (REPORT / "templates/sections").glob("*.html")}
    assert modules == partials == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


def test_a_section_has_the_partial_of_its_module_a_title_and_a_frozen_content_of_its_own_type():
    study, catalog = StudyResult("empty"), load_catalog("en")
    for name, build in zip(NAMES, BUILDERS, strict=True):
        section = build(study, catalog, Sources())
        if section is None:
            assert name == "problems"
            continue
        assert section.partial == f"sections/{name}.html"
        assert catalog(f"section.{section.id}")
        assert type(section.content) is find_content_type(build)
        with pytest.raises(dataclasses.FrozenInstanceError):
            section.content.title = "changed"


def test_nothing_after_the_references_cites_a_number(study):
    from miliary.exchange.folders.study_file import read_study

    sources, catalog = Sources(), load_catalog("en")
    counts = {}
    for name, build in zip(NAMES, BUILDERS, strict=True):
        build(read_study(study), catalog, sources)
        counts[name] = len(sources.list_footnotes())
    assert counts["references"] == counts["words"] > 10


def test_a_new_section_needs_a_builder_a_partial_its_words_and_its_place():
    html = render_toy(StudyResult("toys"), "<p>{{ content.n_scans }} scans</p>")
    page = Page(html)
    assert page.trouble == []
    assert page.ids()[-2:] == ["toy", "h-toy"]
    assert '<li><a href="#toy">Toys</a></li>' in html
    assert "<p>0 scans</p>" in html


def test_a_section_takes_the_place_of_its_builder():
    html = render_toy(StudyResult("toys"), "<p>toy</p>", builders=(BUILDERS[0], build_toy, *BUILDERS[1:]))
    ids = [name for name in Page(html).ids() if not name.startswith("h-")]
    assert ids[:3] == ["answer", "toy", "timeline"]


@pytest.mark.parametrize(
    ("partial", "name"),
    [
        ("{{ content.n_scan }}", "n_scan"),
        ("{{ contents.n_scans }}", "contents"),
        ("{% for x in content.rows %}{% endfor %}", "rows"),
    ],
)
def test_a_misspelled_name_in_a_template_is_an_error(partial, name):
    with pytest.raises(UndefinedError, match=name):
        render_toy(StudyResult("toys"), partial)


def test_a_misspelled_word_of_the_catalog_is_an_error():
    with pytest.raises(KeyError, match="scnas"):
        render_toy(StudyResult("toys"), "{{ t('none.scnas') }}")


@pytest.mark.parametrize(("build", "name"), list(zip(BUILDERS, NAMES, strict=True)), ids=NAMES)
def test_a_partial_reads_every_field_of_its_content_and_no_other(build, name):
    text = read_partials()[f"sections/{name}.html"]
    fields = {field.name for field in dataclasses.fields(find_content_type(build))}
    assert set(re.findall(r"\bcontent\.(\w+)", text)) == fields


@pytest.mark.parametrize("name", sorted(read_partials()))
def test_a_template_uses_only_what_the_page_hands_it(name):
    tree = load_templates().parse(read_partials()[name])
    known = {"t", "lang", "section", "content", "is_whole"}
    if name == "report.html":
        known |= {"style", "version", "generator", "title", "corrections", "sections"}
        known |= {"is_simulated", "is_all_simulated", "groups"}
    assert meta.find_undeclared_variables(tree) <= known


def test_types_of_content_are_resolvable():
    for build in BUILDERS:
        assert typing.get_type_hints(find_content_type(build))
