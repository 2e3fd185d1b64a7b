"""Tables of the validation: one file per run, the state on top of `RESULTS.md`, a history never deleted."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.cases import ROOT
from validation.rows import ROWS, Measured, Row, measure_row

RESULTS = ROOT / "validation" / "RESULTS.md"
TABLES = ROOT / "validation" / "tables"
HISTORY_HEADING = "## History"
HISTORY_HEADER = (
    "| date | commit | row | measured | state | command |",
    "|---|---|---|---|---|---|",
)
SEEN_STATE = "not comparable: these weights saw this patient"


def today() -> str:
    """Date of the run, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def commit() -> str:
    """Short commit, with "-dirty" where tracked files of the package differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
        return done.stdout.strip()

    head = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{head}-dirty" if git("status", "--porcelain", "--untracked-files=no", "src") else head


def row_state(row: Row, measured: Sequence[Measured], *, weights: str) -> str:
    """State of a row: that of its worst metric."""
    if row.id == "real-0314" and weights == "shipped":
        return SEEN_STATE
    order = ("not met", "met by the mean only", "met", "aim met", "reported")
    return min((item.state for item in measured), key=order.index)


def write_run(results: Mapping[str, Any], *, command: str, weights: str, is_partial: bool) -> Path:
    """Write or extend the table of this date and commit; returns the Markdown file."""
    TABLES.mkdir(parents=True, exist_ok=True)
    suffix = "" if weights == "shipped" else f"-{weights}"
    stem = TABLES / f"{today()}-{commit()}{suffix}"
    path = stem.with_name(stem.name + ".json")
    kept = json.loads(path.read_text())["cases"] if path.exists() else {}
    merged = {**kept, **results}
    facts = {"date": today(), "commit": commit(), "command": command, "weights": weights}
    path.write_text(json.dumps({**facts, "cases": merged}, indent=1) + "\n")
    table = stem.with_name(stem.name + ".md")
    table.write_text(render_run(merged, command=command, weights=weights, is_partial=is_partial))
    return table


def render_run(results: Mapping[str, Any], *, command: str, weights: str, is_partial: bool) -> str:
    """Rows, then every scan with its sizes, attached and isolated apart."""
    lines = [
        f"# Validation {today()}, commit {commit()}",
        "",
        f"Command: `{command}`; weights: {weights}; {'a part of' if is_partial else 'all'} the scans.",
        "",
        "| row | what | measured: mean (worst scan) | bar / aim | state |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        measured = measure_row(row, results)
        if measured:
            limits = "; ".join(
                f"{'<=' if m.metric.is_ceiling else '>='} {m.metric.bar:g} / {m.metric.aim:g}"
                for m in measured
                if m.metric.bar is not None
            )
            text = "; ".join(map(str, measured))
            state = row_state(row, measured, weights=weights)
            lines.append(f"| `{row.id}` | {row.title} | {text} | {limits} | {state} |")
    lines += ["", "## Every scan", "", *_scan_table(results), "", "## Attached and isolated", ""]
    lines += [*_attached_table(results), "", "## Diameter and volume", "", *_diameter_table(results)]
    lines += ["", "## Lungs, noise, blur, time", "", *_lung_table(results), ""]
    return "\n".join(lines)


def _percent(share: Sequence[int]) -> str:
    hits, n = share
    return f"{100 * hits / n:.1f} ({n})" if n else "-"


_BINS = ("1-1.5", "1.5-2", "2-2.5", "2.5-3", "1.5-3", "2-3")


def _done(results: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, figures) for name, figures in results.items() if "score" in figures]


def _scan_table(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "Sensitivity in percent (number) by true diameter [mm].",
        "",
        "| scan | " + " | ".join(_BINS) + " | marks | precision | false per litre | calibration error |",
        "|---" * (len(_BINS) + 5) + "|",
    ]
    for name, figures in _done(results):
        found = figures["score"]
        cells = [_percent(found["sensitivity"][key]) for key in _BINS]
        if "marks_per_litre" in figures:
            rest = [str(figures["n_marks"]), "-", f"{figures['marks_per_litre']:.1f} (un-inserted)", "-"]
        else:
            rest = [
                str(found["n_marks"]),
                f"{found['precision']:.3f}",
                f"{found['false_per_litre']:.2f}",
                f"{found['calibration_error']:.3f}",
            ]
        lines.append(f"| {name} | " + " | ".join([*cells, *rest]) + " |")
        if "sensitivity_aerated" in figures:
            cells = [_percent(figures["sensitivity_aerated"][key]) for key in _BINS]
            lines.append(f"| {name}, aerated lung only | " + " | ".join([*cells, "", "", "", ""]) + " |")
    lines += [f"\nFailed: {name}: {f['error']}" for name, f in results.items() if "error" in f]
    return lines


def _attached_table(results: Mapping[str, Any]) -> list[str]:
    bins = ("1-1.5", "1.5-2", "2-3", "1.5-3")
    lines = [
        "| scan | " + " | ".join(f"{kind} {key}" for kind in ("attached", "isolated") for key in bins) + " |",
        "|---" * 9 + "|",
    ]
    for name, figures in _done(results):
        cells = [
            _percent(figures["score"][f"sensitivity_{kind}"][key])
            for kind in ("attached", "isolated")
            for key in bins
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _diameter_table(results: Mapping[str, Any]) -> list[str]:
    bins = ("1-1.5", "1.5-2", "2-2.5", "2.5-3", "1.5-3")
    lines = [
        "Median absolute error / signed bias [mm]; volume as reported over true.",
        "",
        "| scan | " + " | ".join(bins) + " | volume | calcified found, flagged |",
        "|---" * 8 + "|",
    ]
    for name, figures in _done(results):
        found = figures["score"]
        cells = [
            f"{found['diameter'][key][1]:.3f} / {found['diameter'][key][2]:+.3f}"
            if found["diameter"][key][0]
            else "-"
            for key in bins
        ]
        cells.append(f"{found['volume_ratio']:.3f}")
        cells.append(f"{_percent(found['calcified_found'])}, {_percent(found['calcified_flagged'])}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _lung_table(results: Mapping[str, Any]) -> list[str]:
    columns = "scan;true L;found L;Dice right, left;pleural inside;noise [HU];"
    columns += "sigma xy, z [mm];candidates;find [s];peak [MB]"
    lines = ["| " + columns.replace(";", " | ") + " |", "|---" * 10 + "|"]
    for name, f in _done(results):
        lungs = f.get("lungs")
        dice = f"{lungs['dice']['right']:.4f}, {lungs['dice']['left']:.4f}" if lungs else "-"
        pleural = _percent(lungs["pleural_inside"]) if lungs else "-"
        true = f"{f['score']['lung_litres']:.2f}" if lungs else "-"
        lines.append(
            f"| {name} | {true} | {f['found_litres']:.2f} | {dice} | {pleural} | {f['noise_hu']:.1f} | "
            f"{f['sigma_xy_mm']:.2f}, {f['sigma_z_mm']:.2f} | {f['n_candidates']} | {f['seconds']:.1f} | "
            f"{f['peak_mb']:.0f} |"
        )
    return lines


def record(rows: Sequence[tuple[Row, Sequence[Measured]]], *, command: str, weights: str) -> None:
    """Renew the state in `RESULTS.md` and append a dated row per acceptance row to its history."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Validation results\n"
    date, revision = today(), commit()
    lines = []
    for row, measured in rows:
        state = row_state(row, measured, weights=weights)
        shown = "; ".join(map(str, measured))
        lines.append(f"| {date} | {revision} | `{row.id}` | {shown} | {state} | `{command}` |")
        for item in measured:
            value = item.mean_text + (f" ({state})" if state == SEEN_STATE else f" ({item.state})")
            cells = {"measured": value, "worst scan": item.worst_text, "date": date, "commit": revision}
            text = renew_state(text, item.metric.line, {**cells, "command": f"`{command}`"})
    RESULTS.write_text(append_history(text, lines))


def renew_state(text: str, line: tuple[str, str], cells: Mapping[str, str]) -> str:
    """Replace the named cells of one row of the state table.

    Parameters
    ----------
    text : str
        `RESULTS.md`; its history is left alone.
    line : tuple of str
        Start of the title of the section (a row whose first cell is bold) and the measure: the first cell,
        or its start when no first cell is the same.
    cells : mapping
        By column name, lower case; columns that the table does not have are left out.
    """
    state, mark, history = text.partition(HISTORY_HEADING)
    lines = state.split("\n")
    found = _rows_of_section(lines, line[0])
    exact = [number for number in found if _cells(lines[number])[0] == line[1]]
    starting = [number for number in found if _cells(lines[number])[0].startswith(line[1])]
    for number in (exact or starting)[:1]:
        header = next(_cells(lines[i]) for i in range(number, -1, -1) if _is_header(lines, i))
        values = _cells(lines[number])
        named = [name.lower() for name in header]
        merged = [cells.get(name, value) for name, value in zip(named, values, strict=False)]
        lines[number] = "| " + " | ".join(merged) + " |"
    return "\n".join(lines) + mark + history


def _rows_of_section(lines: Sequence[str], title: str) -> list[int]:
    """Numbers of the table rows below the bold row whose text starts with the title."""
    numbers, is_inside = [], False
    for number, line in enumerate(lines):
        cells = _cells(line)
        if not cells or cells[0].startswith("**"):
            is_inside = bool(cells) and cells[0].startswith(f"**{title}")
        elif is_inside:
            numbers.append(number)
    return numbers


def _is_header(lines: Sequence[str], number: int) -> bool:
    return number + 1 < len(lines) and lines[number + 1].startswith("|---")


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    return [cell.strip() for cell in stripped[1:-1].split("|")] if stripped.startswith("|") else []


def append_history(text: str, lines: Sequence[str]) -> str:
    """The text with rows added at the end of the history table, which is begun where there is none."""
    if HISTORY_HEADING not in text:
        text = text.rstrip("\n") + "\n\n" + HISTORY_HEADING + "\n\n"
    before, mark, history = text.partition(HISTORY_HEADING)
    body, next_mark, after = history.partition("\n## ")
    if HISTORY_HEADER[1] not in body:
        body = body.rstrip("\n") + "\n\n" + "\n".join(HISTORY_HEADER)
    body = body.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
    return before + mark + body + next_mark + after
