"""The page as a reader meets it: in a real headless browser, on screen, by keyboard and on paper."""

import base64
import os

import pytest

from miliary.exchange.folders.study_file import read_study
from miliary.report import render_report
from tests.chromium import Chromium
from tests.pdf_text import read_sheets


@pytest.fixture(scope="module")
def browser():
    with Chromium(width=1280, height=1000) as running:
        yield running


@pytest.fixture
def open_page(browser, draw, tmp_path):
    def start(language="en"):
        path = tmp_path / f"report-{language}.html"
        path.write_text(draw(language), encoding="utf-8")
        page = browser.open(path.as_uri())
        page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
        return page

    return start


@pytest.fixture
def page(open_page):
    shown = open_page()
    yield shown
    assert shown.errors == []
    assert [r for r in shown.requests if not r.startswith(("file:", "data:"))] == []


def _is_seen(page, selector):
    return page.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().height > 0")


def test_it_opens_from_disk_with_every_picture_and_asks_for_nothing(page):
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 1)")
    assert page.evaluate("document.images.length") >= 6
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_marks_are_hidden_and_shown_with_the_keyboard(page):
    mark = ".slabset .marks polygon"
    assert _is_seen(page, mark)
    page.evaluate("document.getElementById('show-marks').focus()")
    page.press(" ")
    page.wait_for(f"document.querySelector('{mark}').getBoundingClientRect().height === 0")
    page.press(" ")
    page.wait_for(f"document.querySelector('{mark}').getBoundingClientRect().height > 0")


def test_planes_are_chosen_with_the_arrow_keys(study, open_page):
    for file in (study / "compare/baseline__followup").rglob("*.*"):
        if file.is_file():
            file.unlink()
    page = open_page()
    assert _is_seen(page, ".set-axial-5")
    assert not _is_seen(page, ".set-axial-10")
    page.evaluate("document.getElementById('slab-axial-5').focus()")
    page.press("ArrowDown")
    page.wait_for("document.querySelector('.set-axial-10').getBoundingClientRect().height > 0")
    assert not _is_seen(page, ".set-axial-5")


def test_the_first_tab_offers_to_skip_to_the_answer(page):
    page.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#answer"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0


def test_a_number_is_a_link_to_its_place_among_the_sources(page):
    page.evaluate("document.querySelector('.answer a.src').focus()")
    assert page.evaluate("document.activeElement.className") == "src"
    page.press("Enter")
    page.wait_for("location.hash.startsWith('#s')")
    place = page.evaluate("document.querySelector(location.hash).textContent")
    source = page.evaluate("document.querySelector('.answer a.src data').title")
    assert place in source


def test_everything_with_a_use_is_reached_by_tab(page):
    wanted = page.evaluate(
        "[...document.querySelectorAll('#answer a[href], nav a, summary, input')]"
        ".filter(e => e.getBoundingClientRect().height > 0 && !(e.type === 'radio' && !e.checked)"
        " && e.tabIndex < 0).length"
    )
    assert wanted == 0
    order = page.evaluate("[...document.querySelectorAll('[tabindex]')].every(e => e.tabIndex <= 0)")
    assert order
    page.evaluate("window.seen = new Set(); addEventListener('focusin', e => seen.add(e.target))")
    for _ in range(12):
        page.press("Tab")
    assert page.evaluate("seen.size") == 12


@pytest.mark.parametrize("language", ["en", "ja"])
def test_no_serious_finding_of_accessibility(open_page, root, language):
    axe = root / "web/node_modules/axe-core/axe.min.js"
    if not axe.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("axe-core is not there: 'make viewer' installs it")
        pytest.skip("axe-core is not there: run 'make viewer'")
    page = open_page(language)
    # The page itself forbids scripts: the checker comes in from outside, through the debugger.
    page.evaluate(axe.read_text() + "; 0")
    found = page.evaluate(
        "axe.run().then(r => [r.passes.length, r.violations.filter(v => ['serious', 'critical']"
        ".includes(v.impact)).map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html).join(' | '))])"
    )
    assert found[0] > 20
    assert found[1] == []


def test_it_narrows_without_scrolling_sideways(page):
    for width in (390, 820):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        page.send("Emulation.setDeviceMetricsOverride", size)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_as_pages(page, tmp_path):
    page.print_pdf(tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type/Page/") >= 3


def _put_on_paper(page):
    """The page laid out as it prints on A4 within its margins of 10 and 11 mm."""
    size = {"width": 711, "height": 1047, "deviceScaleFactor": 1, "mobile": False}
    page.send("Emulation.setDeviceMetricsOverride", size)
    page.send("Emulation.setEmulatedMedia", {"media": "print"})
    return page


# What a tumor board asks, and the words in which sheet one has to answer.
QUESTIONS = {
    "how much disease": ("4,812", "23,456"),
    "how certain is that": ("(4,500–5,100)", "(22,000–25,000)"),
    "which pattern": ("pattern random, probability 93 %",),
    "which stage, in both editions": ("IVB (TNM 9)", "IVB (TNM 8)"),
    "which driver, by which method": ("ALK is positive by ALK IHC D5F3, a stain of the protein alone",),
    "what about the dose": ('alectinib 300 mg is stated without a frequency ("300 mg daily")',),
    "which response, with its interval": ("0.123 times that before (95 % interval 0.11–0.14)",),
    "what by RECIST": ("No response by RECIST 1.1 can be computed", "Why: no target or non-"),
    "what is missing": ("What cannot be told", "No usable result for: NTRK, MET, RET, ERBB2, NRG1"),
    "what to ask next": ("Next question: Miliary tuberculosis", "culture and nucleic acid test"),
}


@pytest.fixture(scope="module")
def index_case(root, tmp_path_factory):
    """What `miliary case run` makes of the published case."""
    from miliary.cli.main import main

    out = tmp_path_factory.mktemp("index") / "out"
    assert main(["case", "run", str(root / "examples/index-case"), "--out", str(out), "--quiet"]) == 0
    return (out / "case.json").read_bytes()


def test_sheet_one_answers_ten_questions_and_the_board_page_is_one_sheet(
    study, browser, index_case, tmp_path
):
    (study / "case/case.json").write_bytes(index_case)
    path = tmp_path / "board.html"
    path.write_text(render_report(read_study(study), is_board=True), encoding="utf-8")
    assert path.stat().st_size < 1.5e6
    page = browser.open(path.as_uri())
    page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
    printed = page.send("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    sheets = read_sheets(base64.b64decode(printed["data"]))
    assert len(sheets) == 1
    missing = {
        question: [words for words in answer if words not in sheets[0]]
        for question, answer in QUESTIONS.items()
    }
    assert {question: words for question, words in missing.items() if words} == {}
    # What is copied from paper has no footnote in its numbers.
    assert "0.123 times" in sheets[0]
    assert page.errors == []


def test_the_first_sheet_ends_with_the_answer(open_page):
    paper = _put_on_paper(open_page())
    after = paper.evaluate("getComputedStyle(document.querySelector('#answer')).breakAfter")
    bottom = paper.evaluate("document.querySelector('#answer').getBoundingClientRect().bottom + scrollY")
    assert after == "page"
    assert 100 < bottom < 1047


def test_an_origin_is_legible_on_paper(page):
    paper = _put_on_paper(page)
    size, line, border = paper.evaluate(
        "(() => { const s = getComputedStyle(document.querySelector('.chip'));"
        " return [s.fontSize, s.lineHeight, s.borderTopWidth].map(parseFloat); })()"
    )
    assert size >= 8
    assert line >= 1.35 * size
    assert border <= 3


def test_paper_shows_marked_slabs_of_5_mm_and_plain_ones_of_10_mm(study, draw, browser, tmp_path):
    for file in (study / "compare/baseline__followup").rglob("*.*"):
        if file.is_file():
            file.unlink()
    (tmp_path / "alone.html").write_text(draw(), encoding="utf-8")
    page = browser.open((tmp_path / "alone.html").as_uri())
    page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
    page.send("Emulation.setEmulatedMedia", {"media": "print"})
    for name, is_marked in (
        ("axial-5", True),
        ("axial-10", False),
        ("coronal-5", True),
        ("coronal-10", False),
    ):
        assert _is_seen(page, f".set-{name} img")
        shown = page.evaluate(f"getComputedStyle(document.querySelector('.set-{name} .marks')).display")
        assert (shown != "none") is is_marked, name
    assert page.errors == []


def test_pdf_of_the_command_is_printed_by_the_browser(study, tmp_path, capsys):
    from miliary.cli.main import main
    from tests.chromium import find_chromium

    find_chromium()
    assert main(["report", str(study), "--out", str(tmp_path / "page.pdf")]) == 0
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert [p.name for p in tmp_path.glob("page*")] == ["page.pdf"]
