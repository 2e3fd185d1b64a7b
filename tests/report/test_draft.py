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


def make_simulated(study):
    """Mark every result of a study as simulated."""
    for path in (*study.glob("ct/*/scan.json"), *study.glob("compare/*/response.json")):
        add_to(path, origin="simulated")


def test_simulated_figures_say_so(study):
    make_simulated(study)
    (study / "case/case.json").unlink()
    simulated = write_draft(read_study(study))
    captions = [f.caption for f in part(simulated, "Figures").figures]
    assert captions
    # A radiograph is put there by a person and never made.
    assert all("(simulated)" in caption for caption in captions if "Radiograph" not in caption)


def test_nothing_simulated_is_in_the_draft_of_a_real_case(study):
    make_simulated(study)
    text = render_markdown(write_draft(read_study(study)))
    assert "4,812" not in text
    assert "0.123" not in text
    assert "simulated]" not in text
    assert "Simulated scans lie beside this case" in text
    assert "ALK is positive" in text


def test_only_cited_references_are_listed_and_they_are_numbered(draft):
    references = part(draft, "References").paragraphs
    assert [one.partition(" ")[0] for one in references] == [f"[{n + 1}]" for n in range(len(references))]
    body = " ".join(p for s in draft.sections if s.heading != "References" for p in s.paragraphs)
    assert len(references) > 2
    assert all(f"[{n + 1}]" in body for n in range(len(references)))


def test_that_dates_are_missing_is_said_once_and_ranges_are_words(draft):
    timeline = part(draft, "7. Timeline")
    assert not any("not stated in the record" in cell for row in timeline.tables[0].rows for cell in row)
    rows = part(draft, "8. Diagnostic assessment").tables[0].rows
    assert any("0 to 5" in row[2] for row in rows)


def test_markdown_holds_its_pictures(draft):
    text = render_markdown(draft)
    assert text.count("![](data:image/") == len(part(draft, "Figures").figures) >= 4


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


def test_radiographs_are_the_first_figures(draft):
    captions = [f.caption for f in part(draft, "Figures").figures]
    assert captions[0] == "Figure 1. Radiograph 1."


def test_a_caption_says_simulated_once(study):
    make_simulated(study)
    (study / "case/case.json").unlink()
    figures = study / "ct/baseline/figures/figures.json"
    content = json.loads(figures.read_text())
    for about in content["figures"]:
        about["title"] = f"{about.get('title', '')} (simulated)"
    figures.write_text(json.dumps(content))
    captions = [f.caption for f in part(write_draft(read_study(study)), "Figures").figures]
    assert [c.count("(simulated)") for c in captions if "Radiograph" not in c] == [1] * (len(captions) - 1)
