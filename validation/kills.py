"""Kill runs at random times and look at what they leave: an old result, a new one, never anything between.

    python -m validation.kills --count 500 --state kills.jsonl
    python -m validation.kills --count 500 --state kills.jsonl --writes

Each kill is a line of the state file, so a run that was stopped goes on where it was. A killed command is
started in a process of its own and ended by SIGKILL, every third by SIGTERM, after a random share of the time
it takes, half of them within the last fifth, where results are written. After each kill the
result under its name must be the earlier one or a new one, whole; after the next run nothing else may stand
beside it. With `--writes` only the writing of results is run and killed, which takes a tenth of a second
where a command takes ten.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Processes are forked from this one: none of its libraries may have started threads.
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

COMMANDS = ("ct", "compare", "study", "report", "view")


@dataclass(frozen=True)
class Trial:
    """One command on one place.

    Parameters
    ----------
    name : str
    run : callable
        Makes the result anew.
    place : Path
        Folder beside whose result nothing may be left.
    is_whole : callable
        Whether what stands there is a result, all of it.
    """

    name: str
    run: Callable[[], object]
    place: Path
    is_whole: Callable[[], bool]


def prepare(folder: Path, wanted: Sequence[str] = COMMANDS) -> list[Trial]:
    """A patient of two small scans, or of one where that is enough, measured, compared and reported once."""
    scans = folder / "scans"
    # One seed is one patient; the follow-up has other nodules.
    names = ("baseline", "followup") if {"compare", "study"} & set(wanted) else ("baseline",)
    for number, name in zip((60, 40), names, strict=False):
        _must_run(
            *("simulate", "--out", str(scans / name), "--seed", "3", "--nodules", str(number), "--quiet"),
            *("--grid", "48", "96", "96", "--pixel", "3.6", "--slice-thickness", "5", "--dicom"),
        )
        _must_run("ct", str(scans / name / "dicom"), "--out", str(folder / "ct" / name), "--fast", "--quiet")
    first, second = str(folder / "ct/baseline"), str(folder / "ct/followup")
    compare = ("compare", first, second, "--out", str(folder / "compared/pair"), "--fast", "--quiet")
    if "compare" in wanted:
        _must_run(*compare)
    source = folder / "patient"
    for name in names:
        shutil.copytree(scans / name / "dicom", source / name)
    study = ("study", str(source), "--out", str(folder / "studied/study"), "--fast", "--quiet")
    page = folder / "reported/ct"
    shutil.copytree(first, page)
    return [
        Trial(
            "ct",
            _command("ct", str(scans / "baseline/dicom"), "--out", first, "--fast", "--quiet"),
            folder / "ct",
            lambda: _is_whole_scan(Path(first)),
        ),
        Trial(
            "compare",
            _command(*compare),
            folder / "compared",
            lambda: _is_whole_pair(folder / "compared/pair"),
        ),
        Trial(
            "study", _command(*study), folder / "studied", lambda: _is_whole_study(folder / "studied/study")
        ),
        Trial(
            "report",
            _command("report", str(page), "--quiet"),
            page,
            lambda: _is_whole_page(page / "report.html"),
        ),
        Trial(
            "view", _command("view", first, "--no-browser"), folder / "ct", lambda: _reads_corrections(first)
        ),
    ]


def prepare_writes(folder: Path) -> list[Trial]:
    """The same places, written by what the commands write with, from a result made by hand."""
    from fuzzing.seeds import DOORS, make_measured
    from miliary.exchange.folders.atomic_folder import writing
    from miliary.exchange.folders.corrections_file import append_correction, find_corrections_file
    from miliary.exchange.folders.ct_store import write_ct_result
    from miliary.model.saved.comparison_summary import COMPARISON_KIND
    from miliary.workflow.case_derivation import derive_case
    from miliary.workflow.study_page import write_study_page

    result, scan = make_measured()
    seed = folder / "seed"
    seed.mkdir()
    next(door for door in DOORS if door.name == "saved").make(seed)
    next(door for door in DOORS if door.name == "case").make(seed)
    first = folder / "ct/one"
    pair = folder / "compared/pair"
    page = folder / "reported/ct"
    corrected = folder / "viewed/one"
    write_ct_result(result, first, scan=scan)
    for place in (page, corrected):
        shutil.copytree(first, place)

    def write_pair() -> None:
        with writing(pair, kind=COMPARISON_KIND) as draft:
            shutil.copytree(seed / "compare/baseline__followup", draft, dirs_exist_ok=True)
            shutil.copytree(seed / "ct/baseline/volume.zarr", draft / "registered.zarr")

    def correct() -> None:
        for _ in range(50):
            append_correction(
                find_corrections_file(corrected),
                {"reader": "AB", "scan": "one", "kind": "add_nodule", "position_lps_mm": [1.0, 2.0, 120.0]},
            )

    def read_pair() -> bool:
        from miliary.exchange.folders.open_result import open_comparison

        saved = open_comparison(pair)
        return bool(saved.registered.read().size) and saved.transform is not None

    write_pair()
    return [
        Trial(
            "ct",
            lambda: write_ct_result(result, first, scan=scan),
            first.parent,
            lambda: _is_whole_scan(first),
        ),
        Trial("compare", write_pair, pair.parent, read_pair),
        Trial(
            "study",
            lambda: derive_case(seed, folder / "studied/case"),
            folder / "studied",
            lambda: _is_whole_case(folder / "studied/case"),
        ),
        Trial("report", lambda: write_study_page(page), page, lambda: _is_whole_page(page / "report.html")),
        Trial("view", correct, corrected.parent, lambda: _reads_corrections(str(corrected))),
    ]


def _command(*arguments: str) -> Callable[[], object]:
    def run() -> object:
        from miliary.cli.main import _on_terminate, main

        signal.signal(signal.SIGTERM, _on_terminate)
        return main(list(arguments))

    return run


def _finish(run: Callable[[], object]) -> int:
    pid = _start(run)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _must_run(*arguments: str) -> None:
    # In this process: what it loads is shared with every run that is killed.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = _command(*arguments)()
    if code:
        raise SystemExit(f"{' '.join(arguments[:1])} ended with {code}")


def _start(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = run()
        os._exit(code if isinstance(code, int) else 0)
    os._exit(99)


def _is_whole_scan(folder: Path) -> bool:
    from miliary.exchange.folders.open_result import open_ct_result

    saved = open_ct_result(folder)
    return not saved.missing and saved.volume.read().size > 0 and len(saved.nodules["id"]) >= 0


def _is_whole_pair(folder: Path) -> bool:
    from miliary.exchange.folders.open_result import open_comparison

    if not folder.exists():
        return True  # never finished so far
    saved = open_comparison(folder)
    return bool(saved.registered.read().size) and saved.transform is not None and not saved.missing


def _is_whole_case(folder: Path) -> bool:
    from miliary.exchange.folders.open_result import open_case

    return not folder.exists() or not open_case(folder).missing


def _is_whole_study(folder: Path) -> bool:
    """Every member that stands under its name is whole."""
    return all(_is_whole_scan(one) for one in folder.glob("ct/[!.]*")) and all(
        _is_whole_pair(one) for one in folder.glob("compare/[!.]*__*")
    )


def _is_whole_page(page: Path) -> bool:
    return not page.exists() or page.read_text("utf-8").rstrip().endswith("</html>")


def _reads_corrections(result: str) -> bool:
    from miliary.exchange.folders.corrections_file import find_corrections_file, read_corrections

    return len(read_corrections(find_corrections_file(result))) >= 0


def _litter(place: Path) -> list[str]:
    return sorted(path.name for path in place.rglob(".*"))


def kill_once(
    trial: Trial, seconds: float, rng: random.Random, *, is_polite: bool = False
) -> dict[str, object]:
    """Kill one run, look, and let the next one clear up."""
    share = rng.random() if rng.random() < 0.5 else 0.8 + 0.25 * rng.random()
    existed = any(path.name[0] != "." for path in trial.place.iterdir()) if trial.place.exists() else False
    pid = _start(trial.run)
    time.sleep(share * seconds)
    how = signal.SIGTERM if is_polite else signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    left = _litter(trial.place) if trial.place.exists() else []
    try:
        whole = trial.is_whole()
    except Exception as error:  # noqa: BLE001  whatever a half-written result makes the readers raise
        whole, left = False, [*left, type(error).__name__]
    lost = existed and not any(path.name[0] != "." for path in trial.place.iterdir())
    return {
        "command": trial.name,
        "share": round(share, 3),
        "signal": how.name,
        "ended": ended,
        "whole": whole,
        "lost": lost,
        "left": left,
    }


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--state", type=Path, default=Path("kills.jsonl"))
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--writes", action="store_true", help="run and kill only the writing of results")
    parser.add_argument("--only", choices=COMMANDS, action="append")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    done = given.state.read_text().splitlines() if given.state.exists() else []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        made = prepare_writes(Path(name)) if given.writes else prepare(Path(name), given.only or COMMANDS)
        trials = [t for t in made if not given.only or t.name in given.only]
        seconds = {}
        for trial in trials:
            start = time.monotonic()
            if trial.name != "view" or given.writes:
                _finish(trial.run)
            seconds[trial.name] = max(0.05, time.monotonic() - start)
        print({name: round(value, 1) for name, value in seconds.items()}, flush=True)
        while len(done) < given.count and time.monotonic() < until:
            rng = random.Random(len(done))  # noqa: S311
            trial = trials[len(done) % len(trials)]
            row = kill_once(
                trial, seconds[trial.name], rng, is_polite=not given.writes and len(done) % 3 == 2
            )
            # The next run: to its end now and then, otherwise as far as its check of the output.
            if row["left"] and (trial.name != "view" or given.writes):
                _finish(trial.run)
                row["left after next run"] = _litter(trial.place)
            done.append(json.dumps(row))
            with given.state.open("a") as file:
                file.write(done[-1] + "\n")
    return summarize([json.loads(line) for line in done])


def summarize(rows: Sequence[dict[str, object]]) -> int:
    """Print one line per command; 1 where anything was lost, half or left."""
    bad = 0
    for command in COMMANDS:
        mine = [row for row in rows if row["command"] == command]
        counts = Counter(
            killed=sum(row["ended"] in (-signal.SIGKILL, -signal.SIGTERM, 130) for row in mine),
            half=sum(not row["whole"] for row in mine),
            lost=sum(bool(row["lost"]) for row in mine),
            left=sum(bool(row["left"]) for row in mine),
            remained=sum(bool(row.get("left after next run")) for row in mine),
        )
        bad += counts["half"] + counts["lost"] + counts["remained"]
        print(f"{command:8} {len(mine):4} runs, {dict(counts)}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
