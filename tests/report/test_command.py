"""`miliary report` on the command line."""

import os
import stat

import pytest

from miliary.cli.main import main
from miliary.report.pdf import find_browser


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_page_goes_into_the_study_and_is_replaced_by_a_newer_one(capsys, study):
    for _ in range(2):
        code, out, _ = run(capsys, "report", study)
        assert code == 0
        assert out.strip() == str(study / "report.html")
    assert not list(study.glob(".*"))


def test_a_study_with_its_page_may_still_be_made_anew(capsys, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "case.yaml").write_text("id: p1\n")
    for _ in range(2):
        assert run(capsys, "case", "run", tmp_path / "p", "--out", tmp_path / "out", "--quiet")[0] == 0
        assert run(capsys, "report", tmp_path / "out", "--quiet")[:2] == (0, "")


def test_out_names_the_page_and_care_lies_beside_it(capsys, study, tmp_path):
    code, out, _ = run(capsys, "report", study, "--out", tmp_path / "page.html", "--care", "--lang", "ja")
    assert code == 0
    assert [line.rpartition("/")[2] for line in out.split()] == ["page.html", "page.docx", "page.md"]
    assert 'lang="ja"' in (tmp_path / "page.html").read_text()


def test_what_is_no_page_of_ours_is_not_overwritten(capsys, study, tmp_path):
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "mine.html")
    assert code == 2
    assert "mine.html: exists and is no page of miliary" in err
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"


@pytest.mark.parametrize("name", ["mine.docx", "mine.md", "mine.pdf"])
def test_a_document_that_somebody_may_have_edited_is_not_overwritten(capsys, study, tmp_path, name):
    (tmp_path / name).write_text("edited for hours")
    arguments = ["--pdf"] if name.endswith("pdf") else ["--care"]
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "mine.html", *arguments)
    assert code == 2
    assert f"{name}: exists" in err
    assert (tmp_path / name).read_text() == "edited for hours"
    assert not (tmp_path / "mine.html").exists()


def test_a_missing_study_or_folder_is_one_line(capsys, study, tmp_path):
    code, _, err = run(capsys, "report", tmp_path / "nowhere")
    assert code == 2
    assert err.startswith("miliary: error: nowhere: is no folder")
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "no" / "page.html")
    assert code == 2
    assert "its folder does not exist" in err
    assert str(tmp_path) not in err


def test_without_a_browser_a_pdf_is_refused_with_what_to_do(capsys, study, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MILIARY_CHROMIUM", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "weasyprint", None)
    assert find_browser() is None
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "page.html", "--pdf")
    assert code == 2
    assert "a PDF needs Chromium" in err
    assert not (tmp_path / "page.html").exists()


def test_without_a_browser_weasyprint_prints_where_it_is_installed(study, tmp_path, monkeypatch):
    try:
        import weasyprint  # noqa: F401
    except OSError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"WeasyPrint finds no Pango: {error}")
        pytest.skip("WeasyPrint finds no Pango")
    monkeypatch.setattr("miliary.report.pdf.find_browser", lambda: None)
    assert main(["report", str(study), "--out", str(tmp_path / "page.pdf"), "--quiet"]) == 0
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_a_browser_that_fails_is_said(capsys, study, tmp_path, monkeypatch):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MILIARY_CHROMIUM", os.fspath(fake))
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "page.pdf")
    assert code == 2
    assert "printed nothing (exit code 3)" in err
    assert not (tmp_path / "page.pdf").exists()


def test_a_damaged_study_exits_zero_and_says_so_on_the_page(capsys, study, tmp_path):
    (study / "ct/baseline/scan.json").write_text("{")
    assert run(capsys, "report", study, "--out", tmp_path / "page.html")[0] == 0
    assert "Missing or damaged" in (tmp_path / "page.html").read_text()


def test_without_python_docx_a_draft_is_refused_with_what_to_do(capsys, study, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "docx", None)
    code, _, err = run(capsys, "report", study, "--out", tmp_path / "page.html", "--care")
    assert code == 2
    assert "needs python-docx, which is not installed; install it with: pip install 'miliary[docx]'" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("page*"))


def test_the_page_alone_needs_no_python_docx(capsys, study, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "docx", None)
    assert run(capsys, "report", study, "--out", tmp_path / "page.html")[0] == 0
