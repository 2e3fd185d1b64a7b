"""`miliary rules`: the rules that cases are checked against."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import click

from miliary.errors import InputError

if TYPE_CHECKING:
    from miliary.clinical.rulebook import RuleBook, RuleRow


@click.group()
def rules() -> None:
    """Look at the rules that cases are checked against."""


@rules.command("list")
def rules_list() -> None:
    """List every system and edition with its rows."""
    from miliary.clinical.rulebook import list_rules, load_rules

    for system, edition in list_rules():
        book = load_rules(system, edition)
        as_of = f", as of {book.as_of}" if book.as_of else ""
        print(f"{book.label:<24} {book.title} ({len(book.all_rows())} rows{as_of})")


@rules.command("show")
@click.argument("system")
@click.argument("edition", default="")
@click.option("--term", default="", help="Only rows whose id or words contain this.")
def rules_show(system: str, edition: str, *, term: str) -> None:
    """Show rows of SYSTEM EDITION with their sources."""
    from miliary.clinical.rulebook import find_edition, load_rules

    book = load_rules(system, edition or find_edition(system))
    found = [row for row in book.all_rows() if term.lower() in _row_words(row)]
    if not found:
        raise InputError(f"{book.label}: no row holds {term!r}; leave out --term to see all")
    for row in found:
        print(_describe_row(row, book))


@rules.command("check")
@click.option("--on", type=click.DateTime(["%Y-%m-%d"]), help="The day to compare with; today by default.")
def rules_check(*, on: dt.datetime | None) -> None:
    """List every row whose recheck date has passed, with its date and sources.

    Editions that a newer one has replaced are left out.
    """
    from miliary.clinical.rulebook import list_rules, load_rules

    day = on.date() if on else dt.datetime.now(tz=dt.UTC).date()
    due = 0
    for system, edition in dict(list_rules()).items():  # of several the last, the newest
        book = load_rules(system, edition)
        for row in book.list_due_rows(day):
            due += 1
            cited = "; ".join(book.citations[name].text for name in row.citations)
            print(f"{book.label:<24} {row.table} / {row.id}: due {book.find_recheck_date(row)}\n  {cited}")
    print(f"{due} rows are due on {day}." if due else f"No row is due on {day}.")


def _row_words(row: RuleRow) -> str:
    data = json.dumps(dict(row.data), default=str, ensure_ascii=False)
    return f"{row.id} {data}".lower().replace("_", " ") + f" {row.id} {data}".lower()


def _describe_row(row: RuleRow, book: RuleBook) -> str:
    """One row: its data, then what it rests on."""
    data = ", ".join(f"{name}: {value}" for name, value in row.data.items())
    as_of = row.as_of or book.as_of
    sources = (book.citations[name] for name in row.citations)
    cited = "; ".join(c.text + (f", doi {c.doi}" if c.doi else "") for c in sources)
    drives = "" if row.drives else "; shown only, no verdict rests on it"
    trust = f"basis {row.basis}, confidence {row.confidence}" + (f", as of {as_of}" if as_of else "") + drives
    return f"{row.table} / {row.id}\n  {data}\n  {trust}\n  {cited}"
