"""Compare two folders of results file by file: ``python tools/compare_results.py BEFORE AFTER``.

Every JSON, CSV and Markdown file of BEFORE must be in AFTER and say the same; times (``stages``) and the
moment of an export (``created``) are left out. To show that a change of the code changes no result, make
both by the same commands, one with each checkout on PYTHONPATH. Exit status 1 where anything differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SUFFIXES = (".json", ".csv", ".md")
PASSED_OVER = frozenset({"stages", "created"})
MOST_LISTED = 15


def main(arguments: Sequence[str]) -> int:
    """Print what differs, and how many files were compared."""
    before, after = (Path(argument) for argument in arguments)
    files = sorted(
        path.relative_to(before)
        for path in before.rglob("*")
        if path.is_file()
        and path.suffix in SUFFIXES
        and not any(part.endswith(".zarr") for part in path.parts)
    )
    n_different = 0
    for file in files:
        found = list(compare_files(before / file, after / file))
        n_different += bool(found)
        for line in found[:MOST_LISTED]:
            print(f"{file}{line}")
    print(f"{len(files)} files compared, {n_different} differ")
    return 1 if n_different or not files else 0


def compare_files(before: Path, after: Path) -> Iterator[str]:
    """What differs between two files: a line each, beginning with the place in the file."""
    if not after.is_file():
        yield ": is missing"
    elif before.suffix != ".json":
        if before.read_bytes() != after.read_bytes():
            yield ": differs"
    else:
        first, second = (json.loads(path.read_text("utf-8")) for path in (before, after))
        yield from compare_values(first, second)


def compare_values(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """What differs between two JSON values, by dotted place."""
    if type(before) is not type(after):
        yield f"{place}: {before!r} -> {after!r}"[:200]
    elif isinstance(before, dict):
        for key in dict.fromkeys((*before, *after)):
            if key in PASSED_OVER:
                continue
            if key not in before or key not in after:
                yield f"{place}.{key}: {'added' if key in after else 'removed'}"
            else:
                yield from compare_values(before[key], after[key], f"{place}.{key}")
    elif isinstance(before, list):
        if len(before) != len(after):
            yield f"{place}: {len(before)} -> {len(after)} entries"
        for number, pair in enumerate(zip(before, after, strict=False)):
            yield from compare_values(*pair, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} -> {after!r}"[:200]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
