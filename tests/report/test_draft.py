"""The draft of a case report: CARE's order, gaps marked, nothing invented."""

import io
import json

import pytest

from miliary.exchange.folders.study_file import read_study
from miliary.report.care import render_docx, render_markdown, write_draft
from tests.report.conftest import add_to

HEADINGS = (
    *("1. Title", "2. Key words", "3. Abstract", "4. Introduction", "5. Patient information"),
    *("6. Clinical findings", "7. Timeline", "8. Diagnostic assessment", "9. Therapeutic intervention"),
    *("10. Follow-up and outcomes", "11. Discussion", "12. Patient perspective", "13. Informed consent"),
    *("Methods of measurement", "Figures", "References"),
)


@pytest.fixture
def draft(study):
    return write_draft(read_study(study))


def part(draft, heading):
    return next(section for section in draft.sections if section.heading == heading)


def test_headings_stand_in_the_order_of_care(draft):
    assert tuple(section.heading for section in draft.sections) == HEADINGS


def test_what_only_a_clinician_can_write_is_marked(draft):
    text = render_markdown(draft)
    for heading in ("2. Key words", "3. Abstract", "11. Discussion", "12. Patient perspective"):
        assert part(draft, heading).gaps
    assert text.count("> \\[") == 0
    assert text.count("[To be written by the clinician:") == sum(len(s.gaps) for s in draft.sections)


def test_stated_facts_and_measurements_are_filled_in(draft):
    text = render_markdown(draft)
    assert "4,812 nodules (95 % interval 4,500–5,100)" in text
    assert "alectinib: 300 mg 2 times a day (day 0)" in text
    assert "day 12 " not in text
    assert "| age \\[years\\] | 32 |" in text.replace("[", "\\[").replace("]", "\\]").replace("\\\\", "\\")
    assert "0.123 times" in text
    assert "Rash maculo-papular: grade 2" in text


def test_what_was_not_stated_is_said_to_be(draft):
    rows = dict(part(draft, "5. Patient information").tables[0].rows)
    assert rows["performance status (ECOG)"] == "not stated in the record"
    assert part(draft, "7. Timeline").gaps


def test_every_statement_of_a_fact_names_its_origin(draft):
    for sentence in part(draft, "8. Diagnostic assessment").paragraphs[:-1]:
        assert sentence.rstrip(".").endswith(("[recorded]", "[measured]"))


def test_figures_are_numbered_captioned_and_embedded(draft):
    from docx import Document

    figures = part(draft, "Figures").figures
    assert [f.caption.split(".")[0] for f in figures] == [f"Figure {n}" for n in range(1, len(figures) + 1)]
    document = Document(io.BytesIO(render_docx(draft)))
    assert len(document.inline_shapes) == len(figures) >= 4
    headings = [p.text for p in document.paragraphs if p.style.name == "Heading 1"]
    assert tuple(headings) == HEADINGS
    assert document.core_properties.author == ""


def test_simulated_figures_say_so(study, draft):
    for path in study.glob("ct/*/scan.json"):
        add_to(path, origin="simulated")
    simulated = write_draft(read_study(study))
    captions = [f.caption for f in part(simulated, "Figures").figures]
    assert captions
    # A radiograph is put there by a person and never made.
    assert all("(simulated)" in caption for caption in captions if "Radiograph" not in caption)


def test_the_draft_speaks_japanese(study):
    draft = write_draft(read_study(study), language="ja")
    assert draft.sections[0].heading == "1. 表題"
    assert "［臨床医が記入：" in render_markdown(draft)
    assert render_docx(draft).startswith(b"PK")


def test_a_study_without_a_case_gives_gaps_only(study):
    draft = write_draft(read_study(study / "ct/baseline"))
    assert tuple(section.heading for section in draft.sections) == HEADINGS
    assert render_docx(draft).startswith(b"PK")


def test_text_of_the_record_is_no_markup_in_markdown(study):
    add_to(study / "case/case.json", record={"title": "*a* <b> | `c` \x00", "events": []})
    draft = write_draft(read_study(study))
    assert r"\*a\* \<b\> \| \`c\`" in render_markdown(draft)
    assert render_docx(draft).startswith(b"PK")


def test_simulated_and_published_sentences_never_share_a_paragraph(study):
    for path in study.glob("ct/*/scan.json"):
        add_to(path, origin="simulated")
    abstract = part(write_draft(read_study(study)), "3. Abstract").paragraphs
    simulated = [paragraph for paragraph in abstract if "[simulated]" in paragraph]
    assert any("4,812" in paragraph for paragraph in simulated)
    assert not any("[recorded]" in paragraph or "[measured]" in paragraph for paragraph in simulated)
    (driver,) = [
        paragraph for paragraph in abstract if paragraph.startswith("Driver and therapy: ALK is positive")
    ]
    assert driver.endswith("[recorded]")


def test_radiographs_are_the_first_figures(draft):
    captions = [f.caption for f in part(draft, "Figures").figures]
    assert captions[0] == "Figure 1. Radiograph 1."


def test_a_caption_says_simulated_once(study):
    for path in (*study.glob("ct/*/scan.json"), *study.glob("compare/*/response.json")):
        add_to(path, origin="simulated")
    figures = study / "ct/baseline/figures/figures.json"
    content = json.loads(figures.read_text())
    for about in content["figures"]:
        about["title"] = f"{about.get('title', '')} (simulated)"
    figures.write_text(json.dumps(content))
    captions = [f.caption for f in part(write_draft(read_study(study)), "Figures").figures]
    assert [c.count("(simulated)") for c in captions if "Radiograph" not in c] == [1] * (len(captions) - 1)
