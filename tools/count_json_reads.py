"""Count reads of saved results by string key, outside the codec; exit 1 where there is one.

A read is ``x["key"]`` or ``x.get("key")`` whose constant key is a field of a saved record (`scan.json`,
`response.json`, `series.json`, `case.json`, `figures.json`, `study.json`) and no column of a table. Results
are read through the records of `miliary.model`, so that the type checker finds every use of a field.

    python tools/count_json_reads.py            list and count them
"""

from __future__ import annotations

import ast
import dataclasses
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from miliary.model.nodules import COLUMN_NAMES, TRACK_COLUMN_NAMES
from miliary.model.saved.case_summary import CaseSummary
from miliary.model.saved.comparison_summary import ComparisonSummary, SeriesSummary
from miliary.model.saved.figure_index import FigureIndex, RadiographIndex
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.saved.study_index import StudyIndex

SOURCE = Path(__file__).resolve().parents[1] / "src" / "miliary"
RECORDS = (
    *(ScanSummary, ComparisonSummary, SeriesSummary, CaseSummary),
    *(FigureIndex, RadiographIndex, StudyIndex),
)

# What reads something else by key, and why its keys may be called like fields of a result.
ALLOWED = {
    "model/saved/codec.py": "the codec itself",
    "model/corrections.py": "lines of corrections.jsonl",
    "exchange/dicom/": "DICOM",
    "exchange/fhir/": "FHIR resources",
    "exchange/phenopacket/": "Phenopackets",
    "exchange/case/": "case.yaml and labs.csv",
    "exchange/volumes/": "headers of volumes",
    "exchange/folders/volume_store.py": "attributes of a zarr array",
    "exchange/folders/corrections_file.py": "lines of corrections.jsonl",
    "exchange/folders/result_file.py": "kind and schema version, before the codec",
    "clinical/": "rows of rule files; bridge and course, which read results, are checked",
    "image/": "tables and cards of model files: the numerics open no result",
    "viewer/server.py": "parameters of requests",
}
# Single keys of modules that are checked otherwise.
ALLOWED_KEYS = {
    "cli/demo_command.py": ({"kind"}, "a column of simulated truth"),
    "cli/simulate_command.py": ({"kind"}, "a column of simulated truth"),
    "workflow/demo_patient.py": ({"kind"}, "a column of simulated truth"),
    "clinical/labs/course.py": ({"value", "name", "unit"}, "rows of rule files"),
    "exchange/folders/atomic_folder.py": ({"kind"}, "which command wrote a folder, before it is replaced"),
    "workflow/word_lists.py": (
        {"analyte", "category", "kind", "lobe", "name"},
        "rows of rule files and tables of spellings",
    ),
    "report/paths.py": ({"name"}, "a group of a regular expression"),
    "pair_rules.py": ({"agreement"}, "measures of a registration in memory"),
    "followup.py": ({"agreement", "tre_estimate_mm"}, "measures of a registration in memory"),
}
CHECKED = ("clinical/miliary/bridge.py", "clinical/labs/course.py")


class KeyRead(NamedTuple):
    """One read: file, line and key."""

    file: str
    line: int
    key: str


def list_fields() -> set[str]:
    """Names of all fields of saved records, but those that tables have as columns."""
    found: set[str] = set()
    waiting: list[Any] = list(RECORDS)
    seen: set[Any] = set()
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        waiting += typing.get_args(kind)
        is_tuple = isinstance(kind, type) and hasattr(kind, "_fields")
        if dataclasses.is_dataclass(kind) or is_tuple:
            hints = typing.get_type_hints(kind)
            found |= {name for name in hints if name.islower()}
            waiting += hints.values()
    return found - set(COLUMN_NAMES) - set(TRACK_COLUMN_NAMES)


def find_reads(source: str, fields: set[str], file: str = "") -> Iterator[KeyRead]:
    """Reads of a field by its key in the text of one module."""
    for node in ast.walk(ast.parse(source)):
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = node.args[0] if node.args else None
        if isinstance(key, ast.Constant) and key.value in fields:
            yield KeyRead(file, key.lineno, str(key.value))


def is_allowed(file: str) -> bool:
    """Whether a module, by its path in the package, reads something else by key."""
    return file not in CHECKED and any(file.startswith(place) for place in ALLOWED)


def count(source: Path = SOURCE) -> list[KeyRead]:
    """Every read that is not allowed, in the order of the files."""
    fields = list_fields()
    found: list[KeyRead] = []
    for path in sorted(source.rglob("*.py")):
        file = path.relative_to(source).as_posix()
        if not is_allowed(file):
            keys, _reason = ALLOWED_KEYS.get(file, (set(), ""))
            found += find_reads(path.read_text("utf-8"), fields - keys, file)
    return found


def main() -> int:
    """Print what was found; 1 where anything was."""
    found = count()
    for read in found:
        print(f"src/miliary/{read.file}:{read.line}: reads a saved result by its key {read.key!r}")
    print(f"{len(found)} reads of saved results by string key outside the codec")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
