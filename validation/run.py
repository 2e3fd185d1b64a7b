"""Measure `miliary` against the bars: ``python -m validation.run`` (``make validate``).

Every scan is measured in a process of its own, so that memory is bounded and one failure does not end the
run. Simulated volumes are kept in a cache outside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from validation.cases import CASES, ROOT, Case, data_folder
from validation.results import record, row_state, write_run
from validation.rows import ROWS, cases_of_row, measure_row

TIME_LIMIT_S = 900


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.weights:
        os.environ["MILIARY_WEIGHTS"] = str(options.weights.resolve())
    if options.worker:
        return _work(options.worker, options.out)
    if options.list:
        for case in CASES:
            print(f"{case.name:20s} {case.source:12s} {' '.join(sorted(case.tags))}")
        return 0
    cases = choose(options.only, is_quick=options.quick)
    weights = options.weights.stem if options.weights else "shipped"
    results = {case.name: _run_case(case) for case in cases}
    shown = sys.argv[1:] if arguments is None else arguments
    command = "python -m validation.run " + " ".join(shlex.quote(word) for word in _portable(shown))
    _report(results, command=command.strip(), weights=weights, has_record=not options.no_record)
    return 1 if any("error" in figures for figures in results.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m validation.run", description=__doc__)
    parser.add_argument("--only", default="", help="scans, rows, `sim` or `real`, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a few simulated scans, about five minutes")
    parser.add_argument("--weights", type=Path, help="other weights than the shipped ones")
    parser.add_argument(
        "--no-record", action="store_true", help="print only; leave tables and RESULTS.md alone"
    )
    parser.add_argument("--list", action="store_true", help="list the scans and end")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser


def _portable(words: Sequence[str]) -> list[str]:
    """Arguments without the folders of this machine."""
    return [Path(word).name if "/" in word else word for word in words]


def choose(only: str, *, is_quick: bool) -> list[Case]:
    """The cases asked for; real ones are left out with a word where their data is absent."""
    wanted = {word.strip() for word in only.split(",") if word.strip()}
    by_row = {row.id: cases_of_row(row) for row in ROWS}
    chosen = []
    for case in CASES:
        kind = "real" if case.source == "real" else "sim"
        names = {case.name, kind, case.source} | {row for row, cases in by_row.items() if case in cases}
        if not (wanted & names if wanted else not is_quick or case.is_quick):
            continue
        if case.source == "real" and not (data_folder() / str(case.settings["folder"])).exists():
            print(f"{case.name}: left out, its data is absent (set MILIARY_DATA)", file=sys.stderr)
            continue
        chosen.append(case)
    unknown = wanted - {"sim", "real", "shipped", "independent"} - set(by_row) - {case.name for case in CASES}
    if unknown:
        raise SystemExit(f"not a scan or row of the validation: {', '.join(sorted(unknown))}")
    return chosen


def _run_case(case: Case) -> dict[str, Any]:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = [sys.executable, "-m", "validation.run", "--worker", case.name, "--out", str(out)]
        try:
            done = subprocess.run(
                words, cwd=ROOT, check=False, timeout=TIME_LIMIT_S, capture_output=True, text=True
            )
            figures = json.loads(out.read_text()) if out.exists() else {"error": _last_line(done.stderr)}
        except subprocess.TimeoutExpired:
            figures = {"error": f"took longer than {TIME_LIMIT_S} s"}
    figures.setdefault("name", case.name)
    print(f"{case.name}: {time.perf_counter() - start:.0f} s {_glance(figures)}", flush=True)
    return figures


def _glance(figures: dict[str, Any]) -> str:
    if "error" in figures:
        return f"FAILED: {figures['error']}"
    found = figures["score"]
    shares = {key: found["sensitivity"][key] for key in ("1-1.5", "1.5-2", "2-3")}
    text = ", ".join(f"{key} mm {hits / n:.3f}" for key, (hits, n) in shares.items() if n)
    rate = figures.get("marks_per_litre", found["false_per_litre"])
    return f"{text}{', ' if text else ''}{rate:.2f} per litre, found in {figures['seconds']:.1f} s"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "ended without a word"


def _work(name: str, out: Path) -> int:
    from validation.measure import measure_case

    case = next(case for case in CASES if case.name == name)
    out.write_text(json.dumps(measure_case(case)))
    return 0


def _report(results: dict[str, Any], *, command: str, weights: str, has_record: bool) -> None:
    rows = [(row, measured) for row in ROWS if (measured := measure_row(row, results))]
    for row, measured in rows:
        shown = "; ".join(map(str, measured))
        print(f"{row.id:14s} {shown}  [{row_state(row, measured, weights=weights)}]")
    if has_record:
        is_partial = len(results) < len(CASES)
        table = write_run(results, command=command, weights=weights, is_partial=is_partial)
        record(rows, command=command, weights=weights)
        print(f"wrote {table.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
