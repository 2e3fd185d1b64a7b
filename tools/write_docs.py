"""Write the pages of `docs/` that come from the code: `ct.md` and `cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from miliary.cli import cli
from miliary.exchange.store import read_schema
from miliary.nodules import COLUMNS, Attenuation, NoduleFlag

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
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kinds = field.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else kinds


def render_cli_page() -> str:
    """The help of every command."""
    lines = ["# Command line", "", _MADE]
    for name in ("", *sorted(cli.commands)):
        command = cli.commands[name] if name else cli
        title = f"miliary {name}".strip()
        context = click.Context(
            command,
            info_name=title,
            terminal_width=100,
            max_content_width=100,
            help_option_names=["-h", "--help"],
        )
        lines += [f"## `{title}`", "", "```text", command.get_help(context).strip(), "```", ""]
    return "\n".join(lines)


PAGES = {"ct.md": render_ct_page, "cli.md": render_cli_page}


def main() -> int:
    """Write every page."""
    for name, render in PAGES.items():
        (DOCS / name).write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
