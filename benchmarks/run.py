"""Time and memory of `miliary` and of its peers: ``python -m benchmarks.run`` (``make bench``).

Everything runs in processes of its own on one simulated scan of 512 x 512 x 350 voxels with 5,000 nodules;
peers get the volume, the true lung mask, and limits of memory and time. Ratios hold within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers import PEERS
from validation.cases import CASES, ROOT, Case, Loaded, load_simulated
from validation.results import RESULTS as STATE
from validation.results import append_history, commit, renew_state, today
from validation.score import score

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
CASE = "ship-5000-mass"
TIMES = "Time and memory"


@dataclass(frozen=True)
class Run:
    """What one process took; `error` says why there is nothing to show."""

    wall_s: float
    peak_gb: float
    error: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.worker:
        return _work(options)
    case = next(case for case in CASES if case.name == options.case)
    loaded = load_simulated(case)
    with tempfile.TemporaryDirectory(prefix="miliary-bench-") as name:
        folder = Path(name)
        figures = _measure(case, loaded, folder, options)
    text = render(figures)
    print(text)
    if not options.no_record:
        _record(text, figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--case", default=CASE, help="simulated scan of the validation")
    parser.add_argument("--peer-memory-gb", type=float, default=12.0, help="address space a peer may use")
    parser.add_argument("--peer-time-s", type=float, default=600.0)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-record", action="store_true", help="print only")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def _measure(case: Case, loaded: Loaded, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from miliary.exchange.dicom.write_ct import write_dicom_series

    scan = loaded.scan
    series = folder / "series"
    write_dicom_series(series, scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=1)
    np.save(folder / "voxels.npy", scan.voxels_hu)
    np.save(folder / "lung.npy", loaded.labels > 0)
    (folder / "spacing.json").write_text(json.dumps(scan.grid.spacing_zyx_mm))
    # The bars are those of detection and measurement; what completeness adds is shown apart.
    whole = [sys.executable, "-m", "miliary.cli", "ct", str(series), "--quiet", "--out"]
    command = [*whole[:-1], "--fast", "--out"]
    figures: dict[str, Any] = {"case": case.name, "n_nodules": int((loaded.truth["kind"] == "nodule").sum())}
    cold = {"NUMBA_CACHE_DIR": str(folder / "empty-cache")}
    figures["first"] = asdict(run_limited([*command, str(folder / "first")], extra=cold))
    # Once unmeasured, so that the compiled code of the installation is there.
    run_limited([*command, str(folder / "warm-up")])
    warm = [run_limited([*command, str(folder / f"warm-{i}")]) for i in range(3)]
    figures["warm"] = asdict(sorted(warm, key=lambda run: run.wall_s)[1])
    run_limited([*whole, str(folder / "whole-up")])
    complete = [run_limited([*whole, str(folder / f"whole-{i}")]) for i in range(3)]
    figures["whole"] = asdict(sorted(complete, key=lambda run: run.wall_s)[1])
    figures["stages"] = _own_stages(folder)
    litres = np.count_nonzero(loaded.labels) * scan.grid.voxel_volume_mm3 / 1e6
    figures["litres"] = float(litres)
    if (folder / "warm-0" / "nodules.csv").exists():
        marks = pd.read_csv(folder / "warm-0" / "nodules.csv")
        figures["accuracy"] = _accuracy(marks, loaded.truth, litres)
    if not options.no_peers:
        figures["peers"] = {name: _measure_peer(name, loaded, folder, options, litres) for name in PEERS}
    return figures


def run_limited(
    command: Sequence[str],
    *,
    extra: Mapping[str, str] | None = None,
    time_s: float = 900.0,
) -> Run:
    """Run a command to its end: wall time and its own peak of resident memory."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(extra or {})},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        usage = None
        while usage is None:
            pid, status, found = os.wait4(child.pid, os.WNOHANG)
            usage = found if pid else None
            if usage is None and time.perf_counter() - start > time_s:
                child.kill()
                child.wait()
                return Run(time_s, float("nan"), f"stopped after {time_s:g} s")
            if usage is None:
                time.sleep(0.02)
        wall_s = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
    message = (last[0] if last else f"exit code {child.returncode}") if child.returncode else ""
    return Run(wall_s, usage.ru_maxrss / 1e6, message)


def _own_stages(folder: Path) -> list[list[Any]]:
    words = [sys.executable, "-m", "benchmarks.run", "--worker", "miliary", "--folder", str(folder)]
    run_limited(words)
    path = folder / "stages.json"
    return json.loads(path.read_text()) if path.exists() else []


def _measure_peer(
    name: str, loaded: Loaded, folder: Path, options: argparse.Namespace, litres: float
) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.run", "--worker", name, "--folder", str(folder)]
    words += ["--peer-memory-gb", str(options.peer_memory_gb)]
    threads = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(len(os.sched_getaffinity(0)))}
    out = folder / "peer.npz"
    out.unlink(missing_ok=True)
    run = run_limited(words, extra=threads, time_s=options.peer_time_s)
    if run.error or not out.exists():
        return {**asdict(run), "error": run.error or "no result"}
    with np.load(out) as found:
        index, strength, seconds = found["index"], found["strength"], float(found["seconds"])
    return {
        **asdict(run),
        "wall_s": seconds,
        "accuracy": best_operating_point(index, strength, loaded, litres),
    }


def best_operating_point(
    index: np.ndarray, strength: np.ndarray, loaded: Loaded, litres: float
) -> dict[str, float]:
    """Accuracy at the strength with the best F1."""
    lps = loaded.scan.grid.lps_from_index(index.reshape(-1, 3))
    marks = pd.DataFrame(lps, columns=["x_mm", "y_mm", "z_mm"]).assign(diameter_mm=0.0, volume_mm3=0.0)
    cuts = np.unique(np.quantile(strength, np.linspace(0, 0.97, 14))) if len(strength) else [0.0]
    found = [_accuracy(marks[strength >= cut], loaded.truth, litres) for cut in cuts]
    return max(found, key=lambda accuracy: accuracy["f1"])


def _accuracy(marks: pd.DataFrame, truth: pd.DataFrame, litres: float) -> dict[str, float]:
    found = score(marks, truth, float(litres))
    n = int(((truth["kind"] == "nodule") & (truth["diameter_mm"] >= 1.0)).sum())
    f1 = 2 * found.n_hits / max(found.n_hits + found.n_false + n, 1)
    return {
        "sensitivity_1_1.5": found.sensitivity["1-1.5"].value,
        "sensitivity_1.5_3": found.sensitivity["1.5-3"].value,
        "false_per_litre": found.false_per_litre,
        "f1": f1,
    }


def _work(options: argparse.Namespace) -> int:
    if options.worker == "miliary":
        return _work_stages(options.folder)
    most = int(options.peer_memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    volume = np.load(options.folder / "voxels.npy")
    lung = np.load(options.folder / "lung.npy")
    spacing = json.loads((options.folder / "spacing.json").read_text())
    box = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(lung))
    start = time.perf_counter()
    index, strength = PEERS[options.worker](volume[box].astype(np.float32), lung[box], tuple(spacing))
    seconds = time.perf_counter() - start
    index = index.reshape(-1, 3) + [part.start for part in box]
    np.savez(options.folder / "peer.npz", index=index, strength=strength, seconds=seconds)
    return 0


def _work_stages(folder: Path) -> int:
    """Read, find and write in one process: time of every stage, and the peak of memory at its end."""
    from miliary.cli.memory import keep_freed_memory
    from miliary.exchange.ct_read import read_ct
    from miliary.pipeline import find_nodules

    keep_freed_memory()
    names: list[str] = []
    peaks: list[float] = []

    def note(name: str) -> None:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
        names.append(name)

    note("read DICOM")
    start = time.perf_counter()
    scan = read_ct(folder / "series")
    reading = time.perf_counter() - start
    result = find_nodules(scan, progress=note)
    note("end")
    seconds = [reading, *(stage.seconds for stage in result.stages)]
    shown = ["read DICOM", *(stage.name for stage in result.stages)]
    # The peak at the end of a stage is the one noted when the next begins.
    rows = [[name, s, peak] for name, s, peak in zip(shown, seconds, peaks[1:], strict=False)]
    (folder / "stages.json").write_text(json.dumps(rows))
    return 0


def _machine() -> str:
    with Path("/proc/meminfo").open() as file:
        memory_gb = int(file.readline().split()[1]) / 1e6
    return f"{len(os.sched_getaffinity(0))} cores, {memory_gb:.0f} GB memory"


def render(figures: Mapping[str, Any]) -> str:
    """The tables of one run, Markdown."""
    about = (
        f"`python -m benchmarks.run`, {_machine()}, load {os.getloadavg()[1]:.1f}; scan `{figures['case']}`: "
        f"512 x 512 x 350, {figures['n_nodules']} nodules, {figures['litres']:.1f} L of lung."
    )
    lines = [
        f"## {today()}, commit {commit()}",
        "",
        about,
        "",
        "| `miliary ct`, DICOM in to all outputs | wall [s] | peak [GB] | |",
        "|---|---|---|---|",
        *(
            f"| {name} | {run['wall_s']:.1f} | {run['peak_gb']:.2f} | {run['error']} |"
            for name, run in (
                ("first run, nothing compiled, `--fast`", figures["first"]),
                ("warm, `--fast`, median of 3", figures["warm"]),
                ("warm, completeness included, median of 3", figures["whole"]),
            )
        ),
        "",
        "| stage (in one process) | [s] | peak so far [GB] |",
        "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {peak:.2f} |" for name, seconds, peak in figures["stages"]),
    ]
    own_s = sum(row[1] for row in figures["stages"][1:])
    peak_gb, accuracy = figures["warm"]["peak_gb"], figures.get("accuracy")
    lines += [
        "",
        "Peers get the volume and the true lung mask in memory and, after the fact, the threshold with the",
        "best F1 on this scan; `miliary` finds the lungs, measures every nodule and has one threshold.",
        "",
        "| method | [s] | ratio | peak [GB] | sensitivity 1.5-3 mm | 1-1.5 mm | false per litre | F1 |",
        "|---|---|---|---|---|---|---|---|",
        f"| miliary (all stages after reading) | {own_s:.1f} | 1 | {peak_gb:.2f} |{_cells(accuracy)}",
    ]
    for name, peer in figures.get("peers", {}).items():
        if peer["error"]:
            lines.append(f"| {name} | - | - | - | {peer['error']} | | | |")
            continue
        ratio = peer["wall_s"] / own_s if own_s else float("nan")
        cost = f"{peer['wall_s']:.1f} | {ratio:.1f} | {peer['peak_gb']:.2f}"
        lines.append(f"| {name} | {cost} |{_cells(peer['accuracy'])}")
    return "\n".join(lines) + "\n"


def _cells(accuracy: Mapping[str, float] | None) -> str:
    if not accuracy:
        return " - | - | - | - |"
    return (
        f" {accuracy['sensitivity_1.5_3']:.3f} | {accuracy['sensitivity_1_1.5']:.3f} |"
        f" {accuracy['false_per_litre']:.1f} | {accuracy['f1']:.3f} |"
    )


def _record(text: str, figures: Mapping[str, Any]) -> None:
    """Newest run first in the benchmark's own file; times into the state of the validation."""
    heading = "# Time and memory\n\nNewest run first; none is deleted.\n"
    old = RESULTS.read_text() if RESULTS.exists() else heading
    top, mark, rest = old.partition("\n## ")
    RESULTS.write_text(top.rstrip("\n") + "\n\n" + text + (mark + rest if mark else ""))
    warm, first = figures["warm"], figures["first"]
    shown = (
        ("time-5000", "DICOM in to all outputs", f"{warm['wall_s']:.1f} s"),
        ("time-5000", "the same: peak memory", f"{warm['peak_gb']:.2f} GB"),
        ("time-first", "the same, very first run", f"{first['wall_s']:.1f} s"),
        ("time-whole", "the same, completeness included", f"{figures['whole']['wall_s']:.1f} s"),
    )
    state = STATE.read_text()
    facts = {"date": today(), "commit": commit(), "command": "`make bench`"}
    lines = []
    for row, measure, value in shown:
        state = renew_state(state, (TIMES, measure), {"measured": value, **facts})
        lines.append(
            f"| {today()} | {commit()} | `{row}` | {measure}: {value} | {_machine()} | `make bench` |"
        )
    STATE.write_text(append_history(state, lines))


if __name__ == "__main__":
    sys.exit(main())
