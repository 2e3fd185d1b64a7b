"""Rule files: knowledge as data. Loads, validates and hands out rows; contains no medicine.

Editions are found, not listed: a file ``rules/SYSTEM/EDITION.toml`` is an edition of its system, and
`find_rules` hands out the one asked for, or the newest. A file holds::

    [edition]
    system = "tnm"
    edition = "9"
    title = "..."
    as_of = 2025-11-01           # when its content was last checked
    in_force = "..."             # optional: when the edition itself applied, in words
    recheck = 2027-05-01         # optional: when its rows are to be compared with their sources again

    [citations.rami_porta_2024]
    text = "Rami-Porta ... 2024"
    doi = "10.1016/..."          # optional
    basis = "read"               # read, secondary or unverified
    recheck = 2026-12-01         # optional: a day of its own

    [[groups]]                   # any number of tables of rows, any names
    id = "t1a_n0"                # unique in the file
    citations = ["rami_porta_2024"]
    basis = "read"
    confidence = "H"             # H, M or L; a row of L drives nothing
    stage = "IA1"                # everything else is the row's data

Which keys and values a row may hold is declared per table in ``rules/SYSTEM/schema.toml``, see
`miliary.clinical.rule_schema`; a file that holds anything else is refused with the row named.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from miliary.clinical.rule_schema import (
    ROW_KEYS,
    RuleSchema,
    TableSchema,
    check_row,
    check_table_ids,
    parse_schema,
    refuse_unknown,
    suggest,
)
from miliary.errors import RuleError
from miliary.model.assessment import Basis

T = TypeVar("T")

# The folder of the rule files, one folder per system. Another folder may be put in its place.
RULES_FOLDER = Path(__file__).with_name("rules")
SCHEMA_FILE = "schema.toml"
_HEAD_KEYS = ("system", "edition", "title", "as_of", "in_force", "recheck")
_CITATION_KEYS = ("text", "basis", "doi", "recheck")
_CONFIDENCES = ("H", "M", "L")
_WEAKEST_LAST = (Basis.READ, Basis.SECONDARY, Basis.UNVERIFIED)
_ID = re.compile(r"[a-z0-9][a-z0-9_.+-]*\Z")


@dataclass(frozen=True)
class Citation:
    """A source that rows rest on.

    Attributes
    ----------
    id : str
    text : str
        Authors, journal, year and pages.
    basis : Basis
        Whether the source itself was read.
    doi : str
        Empty where none is known.
    recheck : date or None
        When the source is to be looked at again, where that differs from the date of its file.
    """

    id: str
    text: str
    basis: Basis
    doi: str = ""
    recheck: dt.date | None = None


@dataclass(frozen=True)
class RuleRow:
    """One row of knowledge; ``row["name"]`` is one of its data.

    Attributes
    ----------
    id : str
        Unique in its file.
    table : str
    citations : tuple of str
        Ids of its sources.
    basis : Basis
    confidence : str
        H, M or L.
    as_of : date or None
        When it was last checked, where that differs from the date of its file.
    data : mapping of str to Any
        Everything else, as its table's schema declares.
    recheck : date or None
        When it is to be compared with its sources again, where that differs from the date of its file.
    """

    id: str
    table: str
    citations: tuple[str, ...]
    basis: Basis
    confidence: str
    as_of: dt.date | None
    data: Mapping[str, Any]
    recheck: dt.date | None = None

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A datum that the row may lack."""
        return self.data.get(name, default)

    @property
    def drives(self) -> bool:
        """Whether a verdict may rest on it."""
        return self.confidence != "L"

    @property
    def is_verified(self) -> bool:
        """Whether somebody read its content in a source; one that nobody read raises a query and no more."""
        return self.basis is not Basis.UNVERIFIED


@dataclass(frozen=True)
class RuleBook:
    """One validated rule file.

    Attributes
    ----------
    system, edition, title : str
    as_of : date or None
        When its content was last checked.
    citations : mapping of str to Citation
    tables : mapping of str to tuple of RuleRow
    recheck : date or None
        When rows without a date of their own are to be compared with their sources again.
    """

    system: str
    edition: str
    title: str
    as_of: dt.date | None
    citations: Mapping[str, Citation]
    tables: Mapping[str, tuple[RuleRow, ...]]
    recheck: dt.date | None = None

    @property
    def label(self) -> str:
        """System and edition in words."""
        return f"{self.system} {self.edition}".strip()

    def rows(self, table: str) -> tuple[RuleRow, ...]:
        """All rows of one table.

        Parameters
        ----------
        table : str

        Returns
        -------
        tuple of RuleRow
            In the order of the file; none for a table that this edition lacks.
        """
        return self.tables.get(table, ())

    def all_rows(self) -> tuple[RuleRow, ...]:
        """The rows of every table."""
        return tuple(row for rows in self.tables.values() for row in rows)

    def find_recheck_date(self, row: RuleRow) -> dt.date | None:
        """The first day on which a row is to be compared with its sources again.

        Parameters
        ----------
        row : RuleRow

        Returns
        -------
        date or None
            The earliest date of the row and its citations, or else that of the file; None where none is set.
        """
        dates = [row.recheck, row.get("recheck_after"), *(self.citations[c].recheck for c in row.citations)]
        return min((date for date in dates if date is not None), default=self.recheck)

    def list_due_rows(self, on: dt.date) -> tuple[RuleRow, ...]:
        """Rows whose recheck date has passed.

        Parameters
        ----------
        on : date
            The day of asking; a row whose date is this day is not due yet.

        Returns
        -------
        tuple of RuleRow
        """
        return tuple(
            row for row in self.all_rows() if (date := self.find_recheck_date(row)) is not None and date < on
        )

    def derive(self, make: Callable[[RuleBook], T]) -> T:
        """What a function makes of these rows, such as an index of their words; made once.

        Parameters
        ----------
        make : callable
            Called with the book. A module-level function: what it gives is kept under it.

        Returns
        -------
        object
            What `make` returned; it must not be changed.
        """
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @cached_property
    def _derived(self) -> dict[Callable[[RuleBook], Any], Any]:
        return {}

    @cached_property
    def _by_id(self) -> Mapping[str, RuleRow]:
        return {row.id: row for row in self.all_rows()}

    def row(self, row_id: str) -> RuleRow:
        """The row of an id.

        Parameters
        ----------
        row_id : str

        Returns
        -------
        RuleRow

        Raises
        ------
        KeyError
            If the file has no such row.
        """
        return self._by_id[row_id]

    def credit(self, *rows: RuleRow | str) -> dict[str, Any]:
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


def load_rules(system: str, edition: str) -> RuleBook:
    """Read and validate one edition of the rules of one system.

    Parameters
    ----------
    system : str
        Name of the folder of the system, as in ``tnm``, ``recist``, ``ctcae``, ``labs``.
    edition : str
        Name of the edition's file without its suffix, as in ``9``, ``1.1``.

    Returns
    -------
    RuleBook
        The same object in every call: files are read once per process.

    Raises
    ------
    RuleError
        If there are no such rules, or the file breaks its schema.
    """
    return _load(RULES_FOLDER, system, edition)


def find_rules(system: str, *, edition: str = "") -> RuleBook:
    """The rules of one system, in the edition that applies.

    Parameters
    ----------
    system : str
        As in ``tnm``, ``recist``, ``ctcae``, ``labs``.
    edition : str
        The edition asked for; by default the one that the system's schema names as its default, or else the
        newest.

    Returns
    -------
    RuleBook
        Its `label` is the edition to state in a result.

    Raises
    ------
    RuleError
        If there is no such system or edition, or if its file is damaged.
    """
    return load_rules(system, edition or load_schema(system).default_edition or find_edition(system))


def load_schema(system: str) -> RuleSchema:
    """Read and validate what the rule files of a system may hold.

    Parameters
    ----------
    system : str
        As in ``tnm``.

    Returns
    -------
    RuleSchema

    Raises
    ------
    RuleError
        If there is no such system, it has no schema, or its schema is wrong.
    """
    return _load_schema(RULES_FOLDER, system)


def list_rules() -> tuple[tuple[str, str], ...]:
    """System and edition of every rule file.

    Returns
    -------
    tuple of (str, str)
        Systems in alphabetical order, of each the oldest edition first.
    """
    return _list_rules(RULES_FOLDER)


def list_editions(system: str) -> tuple[str, ...]:
    """Every edition of a system, the oldest first.

    Parameters
    ----------
    system : str
        As in ``tnm``.

    Returns
    -------
    tuple of str

    Raises
    ------
    RuleError
        If there is no such system.
    """
    editions = tuple(edition for name, edition in list_rules() if name == system)
    if not editions:
        names = tuple(dict.fromkeys(name for name, _ in list_rules()))
        raise RuleError(f"no rules {system!r}: known are {', '.join(names)}")
    return editions


def find_edition(system: str) -> str:
    """The newest edition of a system.

    Parameters
    ----------
    system : str
        As in ``tnm``.

    Returns
    -------
    str

    Raises
    ------
    RuleError
        If there is no such system.
    """
    return list_editions(system)[-1]


@cache
def _load(folder: Path, system: str, edition: str) -> RuleBook:
    if (system, edition) not in _list_rules(folder):
        known = ", ".join(" ".join(pair) for pair in _list_rules(folder))
        raise RuleError(f"no rules {f'{system} {edition}'.strip()!r}: known are {known}")
    name = f"{system}/{edition}.toml"
    text = (folder / system / f"{edition}.toml").read_text("utf-8")
    book = parse_rules(text, name=name, schema=_load_schema(folder, system))
    if (book.system, book.edition) != (system, edition):
        raise RuleError(f"rules/{name}: its [edition] says {book.label}, its name {system} {edition}")
    return book


@cache
def _load_schema(folder: Path, system: str) -> RuleSchema:
    path = folder / system / SCHEMA_FILE
    if not path.is_file():
        raise RuleError(f"rules/{system}: needs {SCHEMA_FILE}, which says what its tables may hold")
    schema = parse_schema(path.read_text("utf-8"), name=f"{system}/{SCHEMA_FILE}")
    if schema.system != system:
        raise RuleError(f"rules/{system}/{SCHEMA_FILE}: its [schema] says {schema.system}")
    return schema


@cache
def _list_rules(folder: Path) -> tuple[tuple[str, str], ...]:
    found = [
        (system.name, file.name.removesuffix(".toml"))
        for system in folder.iterdir()
        if system.is_dir()
        for file in system.iterdir()
        if file.name.endswith(".toml") and file.name != SCHEMA_FILE
    ]
    return tuple(sorted(found, key=lambda pair: (pair[0], _order_editions(pair[1]))))


def _order_editions(edition: str) -> tuple[list[int], str]:
    """Sort key: 9 before 10, 2026-2 before 2026-11."""
    return [int(n) for n in re.findall(r"\d+", edition)], edition


def parse_rules(text: str, *, name: str, schema: RuleSchema) -> RuleBook:
    """Parse and validate the text of one rule file.

    Parameters
    ----------
    text : str
        The file, in TOML.
    name : str
        Its name under ``rules/``, for errors.
    schema : RuleSchema
        What its tables may hold.

    Returns
    -------
    RuleBook

    Raises
    ------
    RuleError
        Naming the file, the table, the row and the key, and the nearest key or word that is allowed.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"rules/{name}: not TOML ({error})") from None
    return build_rules(document, name=name, schema=schema)


def build_rules(document: Mapping[str, Any], *, name: str, schema: RuleSchema) -> RuleBook:
    """Validate the parsed document of one rule file.

    Parameters
    ----------
    document : mapping
        The file as parsed from TOML.
    name : str
        Its name under ``rules/``, for errors.
    schema : RuleSchema
        What its tables may hold.

    Returns
    -------
    RuleBook

    Raises
    ------
    RuleError
        As `parse_rules`.
    """
    raw = dict(document)
    head = raw.pop("edition", None)
    if not isinstance(head, dict) or not {"system", "edition", "title"} <= head.keys():
        raise RuleError(f"rules/{name}: needs [edition] with system, edition and title")
    refuse_unknown(head, _HEAD_KEYS, f"rules/{name}: [edition]")
    citations = {key: _parse_citation(key, item, name) for key, item in raw.pop("citations", {}).items()}
    for table in raw:
        if table not in schema.tables:
            raise RuleError(f"rules/{name}: unknown table {table!r}{suggest(table, schema.tables)}")
    tables = {
        table: _parse_table(table, rows, name, citations, schema.tables[table]) for table, rows in raw.items()
    }
    _check_unique((row.id for rows in tables.values() for row in rows), name)
    _check_tables(raw, schema, name)
    _check_cited(citations, tables, name)
    for table, rows in tables.items():
        if bounds := schema.tables[table].bands:
            check_bands(rows, name=name, low=bounds[0], high=bounds[1])
    return RuleBook(
        system=str(head["system"]),
        edition=str(head["edition"]),
        title=str(head["title"]),
        as_of=_parse_date(head.get("as_of"), f"rules/{name}: [edition]"),
        citations=MappingProxyType(citations),
        tables=MappingProxyType(tables),
        recheck=_parse_date(head.get("recheck"), f"rules/{name}: [edition]", "recheck"),
    )


def _check_tables(raw: Mapping[str, list[dict[str, Any]]], schema: RuleSchema, name: str) -> None:
    """Every table and its rows against the schema, once the ids of all rows are known."""
    ids = {table: tuple(str(row["id"]) for row in rows) for table, rows in raw.items()}
    for table, item in schema.tables.items():
        if table not in raw:
            if not item.is_optional:
                raise RuleError(f"rules/{name} lacks the table {table}")
            continue
        check_table_ids(ids[table], item, where=f"rules/{name}: {table}")
        for number, row in enumerate(raw[table], start=1):
            where = _name_row(name, table, number, row)
            check_row(row, item, where=where, ids=lambda other: ids.get(other, ()))


def _name_row(name: str, table: str, number: int, row: Mapping[str, Any]) -> str:
    return f"rules/{name}: {table} row {number} ({row.get('id', 'no id')})"


def _parse_citation(key: str, item: Any, name: str) -> Citation:
    where = f"rules/{name}: citation {key}"
    if not isinstance(item, dict) or not item.get("text"):
        raise RuleError(f"{where} needs a text")
    refuse_unknown(item, _CITATION_KEYS, where)
    return Citation(
        key,
        str(item["text"]),
        _parse_basis(item.get("basis"), where),
        str(item.get("doi", "")),
        _parse_date(item.get("recheck"), where, "recheck"),
    )


def _parse_table(
    table: str, rows: Any, name: str, citations: Mapping[str, Citation], schema: TableSchema
) -> tuple[RuleRow, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RuleError(f"rules/{name}: {table} must be a table of rows, [[{table}]]")
    return tuple(
        _parse_row(table, row, _name_row(name, table, number, row), citations, schema)
        for number, row in enumerate(rows, start=1)
    )


def _parse_row(
    table: str, raw: dict[str, Any], where: str, citations: Mapping[str, Citation], schema: TableSchema
) -> RuleRow:
    """The keys that every row has; `check_row` sees to the others."""
    refuse_unknown(raw, schema.allowed, where)
    if not isinstance(raw.get("id"), str) or not _ID.match(raw["id"]):
        raise RuleError(f"{where} needs an id of lower-case letters, digits and _ . + -")
    cited = raw.get("citations")
    if not isinstance(cited, list) or not cited:
        raise RuleError(f"{where} cites nothing: give citations = [...]")
    unknown = [c for c in cited if c not in citations]
    if unknown:
        raise RuleError(f"{where} cites {unknown[0]}, which is not under [citations]")
    if raw.get("confidence") not in _CONFIDENCES:
        raise RuleError(f"{where} needs confidence H, M or L; found {raw.get('confidence')!r}")
    return RuleRow(
        id=raw["id"],
        table=table,
        citations=tuple(cited),
        basis=_parse_basis(raw.get("basis"), where),
        confidence=raw["confidence"],
        as_of=_parse_date(raw.get("as_of"), where),
        recheck=_parse_date(raw.get("recheck"), where, "recheck"),
        data=MappingProxyType({key: value for key, value in raw.items() if key not in ROW_KEYS}),
    )


def _parse_basis(value: Any, where: str) -> Basis:
    if value not in tuple(Basis):
        raise RuleError(f"{where} needs basis = {', '.join(Basis)}; found {value!r}")
    return Basis(value)


def _parse_date(value: Any, where: str, key: str = "as_of") -> dt.date | None:
    if value is not None and not isinstance(value, dt.date):
        raise RuleError(f"{where}: {key} must be a date such as 2025-11-01; found {value!r}")
    return value


def _check_unique(ids: Iterable[str], name: str) -> None:
    seen: set[str] = set()
    for row_id in ids:
        if row_id in seen:
            raise RuleError(f"rules/{name}: two rows have the id {row_id}")
        seen.add(row_id)


def _check_cited(
    citations: Mapping[str, Citation], tables: Mapping[str, tuple[RuleRow, ...]], name: str
) -> None:
    used = {cited for rows in tables.values() for row in rows for cited in row.citations}
    for key in citations:
        if key not in used:
            raise RuleError(f"rules/{name}: citation {key} is used by no row")


def check_bands(rows: Iterable[RuleRow], *, name: str, low: str = "low", high: str = "high") -> None:
    """Make sure that rows which split one axis leave no gap and do not overlap.

    Each row holds from `low` (excluded) to `high` (included); a missing bound is open. Rows must be in
    ascending order.

    Raises
    ------
    RuleError
        Naming the two rows.
    """
    before: RuleRow | None = None
    for row in rows:
        if before is not None and before.get(high) != row.get(low):
            problem = "a gap" if (before.get(high) or 0) < (row.get(low) or 0) else "an overlap"
            raise RuleError(f"rules/{name}: {problem} between {before.id} and {row.id}")
        before = row
