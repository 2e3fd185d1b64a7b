"""Rule files: knowledge as data. Loads, validates and hands out rows; contains no medicine.

A file ``rules/SYSTEM/EDITION.toml`` (or ``rules/SYSTEM.toml`` for a system without editions) holds::

    [edition]
    system = "tnm"
    edition = "9"
    title = "..."
    as_of = 2025-11-01

    [citations.rami_porta_2024]
    text = "Rami-Porta ... 2024"
    doi = "10.1016/..."          # optional
    basis = "read"               # read, secondary or unverified

    [[groups]]                   # any number of tables of rows, any names
    id = "t1a_n0"                # unique in the file
    citations = ["rami_porta_2024"]
    basis = "read"
    confidence = "H"             # H, M or L; a row of L drives nothing
    stage = "IA1"                # everything else is the row's data
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any

from miliary.errors import RuleError
from miliary.model.assessment import Basis

_ROW_KEYS = ("id", "citations", "basis", "confidence", "as_of")
_CONFIDENCES = ("H", "M", "L")
_WEAKEST_LAST = (Basis.READ, Basis.SECONDARY, Basis.UNVERIFIED)
_ID = re.compile(r"[a-z0-9][a-z0-9_.+-]*\Z")


@dataclass(frozen=True)
class Citation:
    """A source of rows."""

    id: str
    text: str
    basis: Basis
    doi: str = ""


@dataclass(frozen=True)
class Row:
    """One row of knowledge. `row["name"]` is its data; `drives` is false for low confidence."""

    id: str
    table: str
    citations: tuple[str, ...]
    basis: Basis
    confidence: str
    as_of: dt.date | None
    data: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A datum that the row may lack."""
        return self.data.get(name, default)

    @property
    def drives(self) -> bool:
        """Whether a verdict may rest on it."""
        return self.confidence != "L"


@dataclass(frozen=True)
class RuleBook:
    """One validated rule file."""

    system: str
    edition: str
    title: str
    as_of: dt.date | None
    citations: Mapping[str, Citation]
    tables: Mapping[str, tuple[Row, ...]]

    @property
    def label(self) -> str:
        """System and edition in words."""
        return f"{self.system} {self.edition}".strip()

    def rows(self, table: str) -> tuple[Row, ...]:
        """All rows of one table; an unknown table has none."""
        return self.tables.get(table, ())

    def all_rows(self) -> tuple[Row, ...]:
        """The rows of every table."""
        return tuple(row for rows in self.tables.values() for row in rows)

    @cached_property
    def _by_id(self) -> Mapping[str, Row]:
        return {row.id: row for row in self.all_rows()}

    def row(self, row_id: str) -> Row:
        """The row of this id; KeyError if there is none."""
        return self._by_id[row_id]

    def credit(self, *rows: Row | str) -> dict[str, Any]:
        """The fields `edition`, `citations`, `basis`, `as_of` of an assessment resting on these rows.

        The basis is the weakest, the date the oldest of them.
        """
        used = [self.row(row) if isinstance(row, str) else row for row in rows]
        dates = [date for row in used if (date := row.as_of or self.as_of) is not None]
        return {
            "edition": self.label,
            "citations": tuple(dict.fromkeys(name for row in used for name in row.citations)),
            "basis": max((row.basis for row in used), key=_WEAKEST_LAST.index, default=Basis.UNVERIFIED),
            "as_of": min(dates, default=None),
        }


@cache
def load_rules(system: str, edition: str = "") -> RuleBook:
    """The packaged rules of one system.

    Parameters
    ----------
    system : str
        As in tnm, recist, ctcae, labs.
    edition : str
        As in 9, 1.1; empty for a system that has only one file.

    Raises
    ------
    RuleError
        If there are no such rules, or the file breaks the rules for rule files.
    """
    known = {(s, e) for s, e in list_rules()}
    if (system, edition) not in known:
        raise RuleError(
            f"no rules {f'{system} {edition}'.strip()!r}: known are "
            + ", ".join(sorted(" ".join(pair).strip() for pair in known))
        )
    name = f"{system}/{edition}.toml" if edition else f"{system}.toml"
    return parse_rules((_folder() / name).read_text("utf-8"), name=name)


@cache
def list_rules() -> tuple[tuple[str, str], ...]:
    """System and edition of every packaged rule file; the edition is empty where there is only one file."""
    found: list[tuple[str, str]] = []
    for entry in _folder().iterdir():
        if entry.name.endswith(".toml"):
            found.append((entry.name.removesuffix(".toml"), ""))
        elif entry.is_dir():
            found.extend(
                (entry.name, file.name.removesuffix(".toml"))
                for file in entry.iterdir()
                if file.name.endswith(".toml")
            )
    return tuple(sorted(found))


def find_edition(system: str) -> str:
    """The newest edition of a system.

    Raises
    ------
    RuleError
        If there is no such system.
    """
    editions = [edition for name, edition in list_rules() if name == system]
    if not editions:
        known = ", ".join(dict.fromkeys(name for name, _ in list_rules()))
        raise RuleError(f"no rules {system!r}: known are {known}")
    return max(editions, key=lambda edition: [int(n) for n in re.findall(r"\d+", edition)])


def _folder() -> Any:
    return resources.files("miliary.clinical") / "rules"


def parse_rules(text: str, *, name: str) -> RuleBook:
    """Parse and validate one rule file; `name` is used in errors.

    Raises
    ------
    RuleError
        Naming the file and the row.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"rules/{name}: not TOML ({error})") from None
    head = raw.pop("edition", None)
    if not isinstance(head, dict) or not {"system", "edition", "title"} <= head.keys():
        raise RuleError(f"rules/{name}: needs [edition] with system, edition and title")
    citations = {key: _parse_citation(key, item, name) for key, item in raw.pop("citations", {}).items()}
    tables = {table: _parse_table(table, rows, name, citations) for table, rows in raw.items()}
    _check_unique((row.id for rows in tables.values() for row in rows), name)
    _check_cited(citations, tables, name)
    return RuleBook(
        system=str(head["system"]),
        edition=str(head["edition"]),
        title=str(head["title"]),
        as_of=_parse_date(head.get("as_of"), f"rules/{name}: [edition]"),
        citations=MappingProxyType(citations),
        tables=MappingProxyType(tables),
    )


def _parse_citation(key: str, item: Any, name: str) -> Citation:
    where = f"rules/{name}: citation {key}"
    if not isinstance(item, dict) or not item.get("text"):
        raise RuleError(f"{where} needs a text")
    return Citation(key, str(item["text"]), _parse_basis(item.get("basis"), where), str(item.get("doi", "")))


def _parse_table(table: str, rows: Any, name: str, citations: Mapping[str, Citation]) -> tuple[Row, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RuleError(f"rules/{name}: {table} must be a table of rows, [[{table}]]")
    return tuple(_parse_row(table, row, name, citations, number) for number, row in enumerate(rows, start=1))


def _parse_row(
    table: str, raw: dict[str, Any], name: str, citations: Mapping[str, Citation], number: int
) -> Row:
    where = f"rules/{name}: {table} row {number} ({raw.get('id', 'no id')})"
    if not isinstance(raw.get("id"), str) or not _ID.match(raw["id"]):
        raise RuleError(f"{where} needs an id of lower-case letters, digits and _ . + -")
    cited = raw.get("citations")
    if not isinstance(cited, list) or not cited:
        raise RuleError(f"{where} cites nothing: give citations = [...]")
    unknown = [c for c in cited if c not in citations]
    if unknown:
        raise RuleError(f"{where} cites {unknown[0]}, which is not under [citations]")
    if raw.get("confidence") not in _CONFIDENCES:
        raise RuleError(f"{where} needs confidence H, M or L")
    return Row(
        id=raw["id"],
        table=table,
        citations=tuple(cited),
        basis=_parse_basis(raw.get("basis"), where),
        confidence=raw["confidence"],
        as_of=_parse_date(raw.get("as_of"), where),
        data=MappingProxyType({key: value for key, value in raw.items() if key not in _ROW_KEYS}),
    )


def _parse_basis(value: Any, where: str) -> Basis:
    if value not in tuple(Basis):
        raise RuleError(f"{where} needs basis = {', '.join(Basis)}; found {value!r}")
    return Basis(value)


def _parse_date(value: Any, where: str) -> dt.date | None:
    if value is not None and not isinstance(value, dt.date):
        raise RuleError(f"{where}: as_of must be a date such as 2025-11-01; found {value!r}")
    return value


def _check_unique(ids: Iterable[str], name: str) -> None:
    seen: set[str] = set()
    for row_id in ids:
        if row_id in seen:
            raise RuleError(f"rules/{name}: two rows have the id {row_id}")
        seen.add(row_id)


def _check_cited(citations: Mapping[str, Citation], tables: Mapping[str, tuple[Row, ...]], name: str) -> None:
    used = {cited for rows in tables.values() for row in rows for cited in row.citations}
    for key in citations:
        if key not in used:
            raise RuleError(f"rules/{name}: citation {key} is used by no row")


def check_bands(rows: Iterable[Row], *, name: str, low: str = "low", high: str = "high") -> None:
    """Make sure that rows which split one axis leave no gap and do not overlap.

    Each row holds from `low` (excluded) to `high` (included); a missing bound is open. Rows must be in
    ascending order.

    Raises
    ------
    RuleError
        Naming the two rows.
    """
    before: Row | None = None
    for row in rows:
        if before is not None and before.get(high) != row.get(low):
            problem = "a gap" if (before.get(high) or 0) < (row.get(low) or 0) else "an overlap"
            raise RuleError(f"rules/{name}: {problem} between {before.id} and {row.id}")
        before = row
