"""The form for a case: what the server answers, what comes to lie in the file, and the page in a browser."""

import json
import tomllib
from importlib import resources

import pytest

from miliary.cli.main import main
from miliary.exchange.case.case_file import inspect_case_text, read_case
from miliary.viewer.case_form import MAX_BYTES, list_pick_words, load_form
from miliary.viewer.server import ViewerServer
from tests.chromium import Chromium

TEXT = """\
# from the outpatient record
schema_version: "1.0"
id: case-7
patient:
  age_years: 61  # at first visit
  sex: female
  shoe_size: 38
treatments:
  - name: osimertinib
    dose: 80
    unit: mg
"""
MENDED = "  shoe_size: 38\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "case").mkdir()
    (tmp_path / "case/case.yaml").write_text(TEXT.replace(MENDED, ""), encoding="utf-8")
    return tmp_path / "case"


@pytest.fixture
def form(folder, serve):
    return serve(folder, only_case=True)


def _save(form, content, stamp=None):
    held = form.ask("case").content
    return form.ask(
        "case", method="POST", body={"content": content, "stamp": held["stamp"] if stamp is None else stamp}
    )


def test_what_is_saved_is_the_case_as_by_hand(form, folder):
    content = form.ask("case").content["content"]
    content["patient"]["weight_kg"] = "52"
    content["symptoms"] = {"fever": "present", "hemoptysis": "absent"}
    assert _save(form, content).status == 200
    text = (folder / "case.yaml").read_text()
    assert text.startswith(TEXT.replace(MENDED, "").partition("treatments")[0].rstrip())
    case = read_case(folder)
    assert case.patient.weight_kg == 52
    assert list(folder.iterdir()) == [folder / "case.yaml"]


def test_a_case_is_begun_in_an_empty_folder(tmp_path, serve):
    form = serve(tmp_path / "new", only_case=True)
    content = form.ask("case").content["content"]
    content |= {"id": "case-1", "patient": {"age_years": "70"}}
    answer = _save(form, content)
    assert answer.status == 200, answer.content
    assert read_case(tmp_path / "new").patient.age_years == 70


def test_it_is_checked_in_the_words_of_case_check(form, folder, capsys):
    content = form.ask("case").content["content"]
    content["patient"]["sex"] = "femal"
    content["treatments"][0]["unit"] = "milligrammes"
    found = form.ask("case-check", method="POST", body={"content": content}).content["problems"]
    text = TEXT.replace(MENDED, "").replace("sex: female", "sex: femal")
    (folder / "case.yaml").write_text(text.replace("unit: mg", "unit: milligrammes"))
    assert main(["case", "check", str(folder)]) != 0
    said = "".join(capsys.readouterr())
    assert len(found) == 2
    assert all(line in said for line in found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"patient": {"sex": "femal"}}, "sex"),
        ({"patient": {"age_years": "1\n"}}, "one line"),
        ({"symptoms": ["x" * 2001]}, "one line"),
        ({"symptoms": [[[[[[[[["x"]]]]]]]]]}, "less than that"),
        ("text", "sends its content"),
    ],
)
def test_what_is_wrong_is_not_written(form, folder, content, said):
    before = (folder / "case.yaml").read_text()
    if isinstance(content, dict):
        content = form.ask("case").content["content"] | content
    answer = _save(form, content)
    assert answer.status == 409
    assert said in answer.content["error"]
    assert (folder / "case.yaml").read_text() == before
    assert list(folder.iterdir()) == [folder / "case.yaml"]


def test_a_change_of_somebody_else_is_not_overwritten(form, folder):
    held = form.ask("case").content
    (folder / "case.yaml").write_text(TEXT.replace("61", "62").replace(MENDED, ""))
    answer = _save(form, held["content"], held["stamp"])
    assert answer.status == 409
    assert "somebody else" in answer.content["error"]


def test_a_comment_is_not_lost(form, folder):
    text = TEXT.replace(MENDED, "").replace("    unit: mg\n", "    unit: mg  # as told by phone\n")
    (folder / "case.yaml").write_text(text)
    content = form.ask("case").content["content"]
    content["treatments"] = []
    assert "comment" in _save(form, content).content["error"]
    assert (folder / "case.yaml").read_text() == text


def test_an_unknown_field_stays(form, folder):
    (folder / "case.yaml").write_text(TEXT)
    content = form.ask("case").content["content"]
    content["patient"]["weight_kg"] = "52"
    found = form.ask("case-check", method="POST", body={"content": content}).content["problems"]
    # The same as `case check` says; an unknown field is for the writer to mend, not to be dropped.
    assert found == list(inspect_case_text(TEXT))
    assert "shoe_size" in (folder / "case.yaml").read_text()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {"Host": "evil.example"}}, 421),
        ({"headers": {"Content-Type": "text/plain"}}, 415),
        ({"headers": {"Content-Length": str(MAX_BYTES + 1)}}, 413),
        ({"headers": {"Origin": "http://evil.example"}}, 403),
    ],
)
def test_the_rules_of_the_viewer_hold(form, request_, status):
    for name in ("case", "case-check"):
        assert form.ask(name, method="POST", body={"content": {}, "stamp": ""}, **request_).status == status


def test_without_the_token_nothing_is_told_or_saved(form, folder):
    before = (folder / "case.yaml").read_text()
    for method in ("GET", "POST"):
        body = {"content": {}} if method == "POST" else None
        assert form.ask_raw("/wrong/case", method=method, body=body).status in (403, 404)
    assert (folder / "case.yaml").read_text() == before


def test_every_field_has_its_words_in_both_languages():
    form = load_form()
    for section in form["section"]:
        assert section["en"]
        assert not section["ja"].isascii()
        for field in section.get("fields", ()):
            assert field["en"]
            assert field["ja"]
            if field["type"] == "word":
                assert len(list_pick_words()[field["words"]]) > 1
            known = set(form["choices"]) | set("012345")
            assert set(field.get("options", ())) <= known
    text = resources.files("miliary.viewer").joinpath("case_form.toml").read_text("utf-8")
    assert tomllib.loads(text) == form


@pytest.fixture(scope="module")
def browser():
    with Chromium() as running:
        yield running


@pytest.fixture
def page(browser, form):
    page = browser.open(form.server.url, script="Object.defineProperty(navigator, 'language', {value: 'en'})")
    page.wait_for("document.documentElement.dataset.ready")
    yield page
    assert page.errors == []
    page.close()


def test_it_is_filled_in_by_keyboard(page, folder):
    def focused():
        return page.evaluate(
            "document.activeElement.name || document.activeElement.id || document.activeElement.className"
        )

    for _ in range(40):
        page.press("Tab")
        if focused() == "weight_kg":
            break
    page.type("0")
    page.wait_for("document.getElementById('problems').children.length === 1")
    assert page.evaluate("document.getElementById('save').disabled")
    page.press("Backspace")
    page.evaluate("document.activeElement.select()")
    page.type("52")
    page.wait_for("!document.getElementById('save').disabled")
    page.press("Enter")
    page.wait_for("document.documentElement.dataset.saved === '1'")
    assert read_case(folder).patient.weight_kg == 52
    assert "# at first visit" in (folder / "case.yaml").read_text()


def test_it_speaks_japanese_and_fits_a_telephone(page, tmp_path):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.send("Emulation.setDeviceMetricsOverride", size)
    for language in ("en", "ja"):
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("#language")
        page.evaluate("new Promise(done => requestAnimationFrame(done))")
    page.click("#language")
    page.screenshot(tmp_path / "form.png")
    legends = page.evaluate("[...document.querySelectorAll('legend')].map(l => l.textContent)")
    assert "患者" in legends
    assert (
        page.evaluate("document.querySelector('select[name=sex]').selectedOptions[0].textContent") == "女性"
    )


def test_a_treatment_is_added_and_taken_away(page, folder):
    path = json.dumps('fieldset[data-path="treatments"] > button.add')
    page.evaluate(f"document.querySelector({path}).focus()")
    page.press("Enter")
    page.wait_for("document.activeElement.name === 'name'")
    page.type("carboplatin")
    page.wait_for("!document.getElementById('save').disabled")
    page.click("#save")
    page.wait_for("document.documentElement.dataset.saved === '1'")
    assert [t.name for t in read_case(folder).treatments] == ["osimertinib", "carboplatin"]


def test_a_file_is_no_folder_for_a_case(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="is a file"):
        ViewerServer(tmp_path / "file", only_case=True)
