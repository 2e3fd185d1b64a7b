"""Cases of the tests: a few words of YAML or a plain dict made into a `Case` by the reader users have."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from miliary.exchange.case.case_file import read_case_text
from miliary.model.case import Case

CASES = Path(__file__).parents[1] / "cases"


def read_rows(name: str, table: str) -> list[dict[str, Any]]:
    """The rows of one table of a file of cases."""
    rows: list[dict[str, Any]] = tomllib.loads((CASES / name).read_text("utf-8"))[table]
    return rows


def make_case(facts: dict[str, Any]) -> Case:
    """A case of these facts, read as a case file is; JSON is YAML."""
    return read_case_text(json.dumps({"schema_version": "1.0", "id": "case-1", **facts}, default=str))
