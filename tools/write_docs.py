"""Write the pages of `docs/` that come from the code: `ct.md`, `case.md`, `vocabulary.md`, `cli.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from miliary.cli.main import cli
from miliary.clinical.rulebook import RuleBook, RuleRow, find_rules, list_rules, load_rules
from miliary.exchange.case.case_file import LAB_COLUMNS, read_case_schema
from miliary.exchange.fhir.fhir_tables import KINDS, PATIENT_OBSERVATIONS, Kind
from miliary.exchange.folders.kinds import read_schema
from miliary.exchange.folders.tables import MATCH_COLUMNS
from miliary.model.nodules import COLUMNS, TRACK_COLUMNS, Attenuation, Fate, NoduleFlag
from miliary.model.vocabulary import ANALYTES, CLAIM_KINDS, Finding, History, Structure, Symptom
from miliary.workflow.word_lists import list_words

DOCS = Path(__file__).resolve().parents[1] / "docs"
_MADE = "<!-- Made by `make docs` from the code; do not edit. -->\n"


def render_ct_page() -> str:
    """The columns of `nodules.csv` and the fields of `scan.json`."""
    lines = [
        "# What `miliary ct` writes",
        "",
        _MADE,
        "## `nodules.csv` and `nodules.parquet`",
        "",
        "| column | unit | meaning |",
        "|---|---|---|",
        *(f"| `{c.name}` | {c.unit or '-'} | {c.meaning} |" for c in COLUMNS),
        "",
        f"`attenuation` is one of {_words(Attenuation)}.",
        f"`flags` may hold {_words(NoduleFlag)}.",
        "",
        "## `scan.json`",
        "",
        "A field that may be `null` has a sibling `..._reason` saying why, present only then.",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in _fields(read_schema(), "")),
        "",
    ]
    return "\n".join(lines)


def render_compare_page() -> str:
    """The columns and fields that a comparison writes."""
    lines = [
        "# What `miliary compare` writes",
        "",
        _MADE,
        "[What the response number means, and what it does not](response.md) comes first.",
        "",
        "| file | holds |",
        "|---|---|",
        "| `response.json` | the summary: fields below |",
        f"| `matches.csv` | nodules that are the same on both scans: {_quote(MATCH_COLUMNS)} |",
        "| `tracks.csv` | what became of each nodule: columns below |",
        "| `transform.npz` | baseline points to follow-up points, patient LPS mm: arrays of `Transform` |",
        "| `registered.zarr` | the follow-up in the frame of the baseline, int16 HU |",
        "| `response.png` | both scans at one level, nodules by what became of them, burden by zone, sizes |",
        "| `figures/` | its slabs with marks as coordinates, for a report |",
        "",
        "With three or more scans the folder holds `series.json` and one such folder per follow-up under",
        "`compare/`.",
        "",
        "## `tracks.csv`",
        "",
        "| column | unit | meaning |",
        "|---|---|---|",
        *(f"| `{c.name}` | {c.unit or '-'} | {c.meaning} |" for c in TRACK_COLUMNS),
        "",
        f"`fate` is one of {_words(Fate)}.",
        "",
        "## `response.json`",
        "",
        "A field that may be `null` has a sibling `..._reason` saying why, present only then.",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *(f"| `{n}` | {kind} | {meaning} |" for n, kind, meaning in _fields(read_schema("response"), "")),
        "",
    ]
    return "\n".join(lines)


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _words(vocabulary: Any) -> str:
    return ", ".join(f"`{word.value}`" for word in vocabulary)


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Dotted name, type and meaning of every field below an object."""
    for name, field in schema.get("properties", {}).items():
        if name.endswith("_reason"):
            continue
        path = f"{prefix}{name}"
        items = field.get("items", {})
        if "properties" in field:
            yield path, "object", field.get("description", "")
            yield from _fields(field, f"{path}.")
        elif "properties" in items:
            yield f"{path}[]", "list", field.get("description", "")
            yield from _fields(items, f"{path}[].")
        else:
            yield path, _type_of(field), field.get("description", "")


def _type_of(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"] if value is not None)
    kinds = field.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else kinds


def _commands(title: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Full name of a command and of everything below it."""
    yield title, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(f"{title} {name}", command.commands[name])


def render_case_page() -> str:
    """The fields of `case.yaml`, its words, and the rules that are applied."""
    lines = [
        "# What a case holds",
        "",
        _MADE,
        "`miliary case new FOLDER` writes a commented `case.yaml` to start from, and an empty `labs.csv`;",
        "`miliary view FOLDER --case` fills it in in a [form](viewer.md).",
        "What is left out counts as not stated, never as absent; `absent` means that somebody looked.",
        "A point in time is a date (`2021-03-09`, `2021/3/9`, `令和3年3月9日`, `9 Mar 2021`), `day 90`",
        "counted from `day_zero`, or words. Words may be written in any spelling of [](vocabulary.md).",
        "An item without an `id` is named by its place; ids are unique within the case.",
        "A response is decided only where somebody said that nothing is new: `new_lesions: absent` of a",
        "follow-up study. A doubtful new lesion (`state: equivocal`) that proves true counts from then on.",
        "",
        "## `case.yaml`",
        "",
        "| field | type |",
        "|---|---|",
        *(f"| `{name}` | {kind} |" for name, kind, _ in _fields(read_case_schema(), "")),
        "",
        "## `labs.csv`",
        "",
        f"Columns: {', '.join(f'`{name}`' for name in LAB_COLUMNS)}. `analyte` is needed.",
        "Tables as hospitals export them are read too: headings and names in English, Japanese,",
        "German, French and Spanish ([](vocabulary.md)), units such as `10*2/μL`, `G/l` or `mg%`,",
        "limits in one column as `7-23`, a column of marks (`H`, `L`); one time a row with an",
        "analyte a column (`ALT (U/L)`), or one analyte a row with a column for each date;",
        "separated by commas, semicolons or tabs. Decimal commas and thousands are read where the",
        "table tells which is which; a number or a date with two readings is asked back with both.",
        "`<`, `>` and `~` (about) may stand before a value. A result in words (`negative`, `2+`) is",
        "kept in `words`, read by no rule and asked about; a test for an infection among them is",
        "read as microbiology. A spreadsheet (`labs.xlsx`) is refused with what to do.",
        "",
        "A value, or its limits, outside of bounds that hardly any patient leaves in the stated",
        "unit (`Hemoglobin 121 g/dL`) is asked about as `labs.doubted` and used by no other rule,",
        "as is a value said to be about so much; values of one day that differ are asked about. The",
        "bounds are set wide by hand.",
        "",
        f"Analytes with rules or named here: {', '.join(f'`{name}`' for name in sorted(ANALYTES))}.",
        "",
        "## What `miliary case run` writes",
        "",
        "`summary.md`: a page of what to correct, answer and know, then everything in full; `case.json`:",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *(f"| `{n}` | {kind} | {meaning} |" for n, kind, meaning in _fields(read_schema("case_result"), "")),
        "",
        "## Words",
        "",
        *(line for name, words in _VOCABULARIES.items() for line in (f"- {name}: {_words(words)}",)),
        "",
        "## Sites of metastasis",
        "",
        "Words for `staging.metastases[].site` and `staging.nodes[].station`; side, number and words such as",
        "metastasis may stand around them, and `liver and bone` names two. `4R` is one too.",
        "What is not here is asked back with the nearest words, and leaves M open.",
        "",
        "| site | counts as | words |",
        "|---|---|---|",
        *(_describe_site(row) for row in find_rules("sites").rows("site")),
        "",
        "## Claims",
        "",
        "| kind | meaning |",
        "|---|---|",
        *(f"| `{kind}` | {meaning} |" for kind, meaning in CLAIM_KINDS.items()),
        "",
        "## Rules",
        "",
        "| system | edition | title |",
        "|---|---|---|",
        *(_describe_book(load_rules(system, edition)) for system, edition in list_rules()),
        "",
    ]
    return "\n".join(lines)


_VOCABULARIES = {
    "imaging findings": Finding,
    "symptoms": Symptom,
    "history": History,
    "structures that a primary may involve": Structure,
}


def _describe_site(row: RuleRow) -> str:
    means = row.get("system") or row.get("station") or row.get("lobe") or ""
    words = ", ".join((*row["words"], *row["words_ja"]))
    return f"| `{row.id}` | {row['category']}{f' ({means})' if means else ''} | {words} |"


def _describe_book(book: RuleBook) -> str:
    return f"| `{book.system}` | {book.edition or '-'} | {book.title} |"


def render_vocabulary_page() -> str:
    """Every list of controlled words with the other spellings that are taken."""
    lines = [
        "# Words of a case",
        "",
        _MADE,
        "`miliary vocabulary` shows the same lists (`miliary vocabulary drugs`, or `--find` in all).",
        "Upper and lower case, full and half width, spaces, hyphens and underscores do not matter. A word",
        "that no list holds is refused or asked back with the nearest words of the whole list, and never",
        "taken for another.",
        "",
    ]
    for name, words in list_words().items():
        lines += [f"## {name}", "", "| word | also taken | counts as |", "|---|---|---|"]
        lines += [f"| `{w.word}` | {_cell(', '.join(w.spellings))} | {_cell(w.note)} |" for w in words]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text of a cell of a table, without what Markdown would read as markup."""
    return re.sub(r"([|*_<>\[\]`^])", r"\\\1", text)


def render_interchange_page() -> str:
    """The page on exchange formats, its table made anew between the two marks."""
    before, rest = (DOCS / "interchange.md").read_text("utf-8").split(_TABLE_STARTS)
    _, after = rest.split(_TABLE_ENDS)
    table = [
        "| part of the case | resource | mCODE profile | code | what it is |",
        "|---|---|---|---|---|",
        *(_describe_kind(kind) for kind in sorted(KINDS, key=lambda kind: kind.section)),
        *(_describe_patient_fact(name) for name in PATIENT_OBSERVATIONS),
    ]
    return "\n".join([before + _TABLE_STARTS, *table, _TABLE_ENDS + after])


_TABLE_STARTS, _TABLE_ENDS = "<!-- made by `make docs` -->", "<!-- to here -->"


def _describe_kind(kind: Kind) -> str:
    codes = [
        f"{c['system'].rpartition('/')[2]} {c['code']}" for c in kind.fixed.get("code", {}).get("coding", [])
    ]
    profile = f"mcode-{kind.profile}" if kind.profile else "-"
    return f"| `{kind.section}` | {kind.resource} | {profile} | {', '.join(codes) or '-'} | {kind.title} |"


def _describe_patient_fact(name: str) -> str:
    code, _, _, profile = PATIENT_OBSERVATIONS[name]
    coding = code["coding"][0]
    profile = f"mcode-{profile}" if profile else "-"
    system = coding["system"].rpartition("/")[2]
    return f"| `patient.{name}` | Observation | {profile} | {system} {coding['code']} | {code['text']} |"


def render_cli_page() -> str:
    """The help of every command."""
    lines = ["# Command line", "", _MADE]
    for title, command in _commands("miliary", cli):
        context = click.Context(
            command,
            info_name=title,
            terminal_width=100,
            max_content_width=100,
            help_option_names=["-h", "--help"],
        )
        lines += [f"## `{title}`", "", "```text", command.get_help(context).strip(), "```", ""]
    return "\n".join(lines)


PAGES = {
    "compare.md": render_compare_page,
    "ct.md": render_ct_page,
    "case.md": render_case_page,
    "vocabulary.md": render_vocabulary_page,
    "cli.md": render_cli_page,
}
PAGES["interchange.md"] = render_interchange_page


def write_situations() -> None:
    """The table of situations in `reading.md`, from the tests that try them."""
    sys.path.insert(0, str(DOCS.parent))
    from tests.exchange.situations import render_table

    page = DOCS / "reading.md"
    head, rest = page.read_text("utf-8").split("<!-- situations -->\n")
    tail = rest.split("<!-- end of situations -->")[1]
    text = f"{head}<!-- situations -->\n{render_table()}<!-- end of situations -->{tail}"
    page.write_text(text, encoding="utf-8")


def main() -> int:
    """Write every page."""
    for name, render in PAGES.items():
        (DOCS / name).write_text(render(), encoding="utf-8")
    write_situations()
    return 0


if __name__ == "__main__":
    sys.exit(main())
