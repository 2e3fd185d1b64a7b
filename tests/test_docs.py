import importlib.util
import json
import re

import pytest

import miliary
from miliary.model.nodules import COLUMN_NAMES

PAGES = ("ct.md", "case.md", "cli.md", "interchange.md")


@pytest.fixture(scope="module")
def write_docs(root):
    spec = importlib.util.spec_from_file_location("write_docs", root / "tools/write_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(root, write_docs, name):
    assert (root / "docs" / name).read_text() == write_docs.PAGES[name](), "run `make docs`"


def test_every_column_is_described(root):
    page = (root / "docs/ct.md").read_text()
    assert all(f"| `{name}` |" in page for name in COLUMN_NAMES)


def test_every_field_of_a_result_is_described(root, make_result):
    page = (root / "docs/ct.md").read_text()

    def names(value, path):
        for key, inner in value.items():
            if path == "provenance" or key.endswith("_reason"):
                continue
            yield f"{path}.{key}".lstrip(".")
            if isinstance(inner, dict):
                yield from names(inner, f"{path}.{key}".lstrip("."))

    summary = json.loads(json.dumps(miliary.to_json(miliary.summarize(make_result()))))
    missing = [name for name in names(summary, "") if f"| `{name}` |" not in page.replace("[]", "")]
    assert missing == []


def test_the_readme_is_short_and_says_what_it_must(root):
    text = (root / "README.md").read_text()
    assert text.count("\n") <= 150
    assert len(re.findall("not a medical device", text)) == 1
    assert "make demo" in text
    assert "make test" in text
    assert text.index("<!-- accuracy:begin -->") < text.index("<!-- accuracy:end -->")


def test_links_between_pages_lead_somewhere(root):
    pages = [
        *root.glob("*.md"),
        *root.glob("docs/*.md"),
        *root.glob("docs/tutorials/*.md"),
        *root.glob("validation/*.md"),
    ]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_names_used_in_the_readme_are_public(root):
    used = set(re.findall(r"miliary\.([A-Za-z_]+)\(", (root / "README.md").read_text()))
    assert used
    assert used <= set(miliary.__all__)


def read_tables(text):
    """Rows of every table that starts with a column `measure`, by the names of its columns."""
    header = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
        if not cells:
            header = None
        elif header is None:
            header = cells
        elif not set(line) <= set("|- ") and header[0] == "measure":
            assert len(cells) == len(header), line
            yield dict(zip(header, cells, strict=True))


def test_the_results_name_every_bar_with_its_state(root):
    state = (root / "validation/RESULTS.md").read_text().partition("## History")[0]
    asked = [row for row in read_tables(state) if row["bar"]]
    assert len(asked) >= 50
    assert all(row["measured"] for row in asked)
    measured = [row for row in asked if row["measured"] != "not measured"]
    for row in measured:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"]), row
        assert re.fullmatch(r"`?[0-9a-f]{7,}(-dirty)?`?", row["commit"]), row


def test_the_citation_names_this_version(root):
    assert f"version: {miliary.__version__}\n" in (root / "CITATION.cff").read_text()
