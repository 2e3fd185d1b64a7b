"""Put mutated inputs through every door, each in a process of its own with limits, and tell what came out.

    python -m fuzzing.run --minutes 60             as many as there is time for
    python -m fuzzing.run --count 200 --door nifti
    python -m fuzzing.run --replay nifti:4711      one input again, with its traceback

An input is made from its door and number alone. What counts as a finding: an error that is none of ours,
more than 10 s, more than 4 GB, a file written outside of the output, geometry that is none. Findings go to
`--keep` as folders; small ones are kept for good in `fuzzing/regressions/`, which the tests put through anew.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuzzing.mutate import mutate_input
from fuzzing.seeds import DOORS, Door

# Processor time; a machine that has other work to do waits longer by the clock.
LIMIT_S, LIMIT_CLOCK_S, LIMIT_BYTES = 10, 90.0, 4 * 2**30
READ, REFUSED, FOREIGN, HANG, KILLED, OUTSIDE, NONSENSE = (
    *("read", "refused", "foreign error", "hang", "killed"),
    *("written outside", "nonsense geometry"),
)
FINDINGS = (FOREIGN, HANG, KILLED, OUTSIDE, NONSENSE)
_CODES = {0: READ, 3: REFUSED, 4: FOREIGN, 5: NONSENSE}


def go_through(door: str, place: Path, out: Path) -> int:
    """Read an input as the commands do; the exit code says what came of it."""
    from miliary.errors import MiliaryError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if door in ("case", "fhir", "phenopacket"):
                _read_case(door, place, out)
            elif door == "saved":
                _read_saved(place, out)
            else:
                from miliary.exchange.ct_read import read_ct

                return 5 if (said := _find_nonsense(read_ct(place, n_threads=1))) and _tell(said) else 0
        except MiliaryError as error:
            line = str(error)
            line.encode("utf-8")
            return 4 if "\n" in line and _tell(f"a message of several lines: {line[:80]!r}") else 3
    return 0


def _tell(text: str) -> bool:
    print(text, file=sys.stderr)
    return True


def _read_case(door: str, place: Path, out: Path) -> None:
    from miliary.workflow.case_derivation import derive_case
    from miliary.workflow.case_exchange import export_case, import_case

    if door != "case":
        import_case(place, out / "case")
        place = out / "case"
    derive_case(place, out / "result")
    export_case(place, fhir=out / "fhir.json", phenopacket=out / "packet.json")


def _read_saved(place: Path, out: Path) -> None:
    """Everything that opens saved results; an error of ours in one does not keep the others from it."""
    from miliary.errors import MiliaryError
    from miliary.exchange.folders.exam_read import read_exam
    from miliary.exchange.folders.open_result import open_comparison, open_result
    from miliary.exchange.folders.saved_scan import read_saved_scan
    from miliary.viewer.viewed_study import read_shown_study
    from miliary.workflow.study_page import write_study_page

    refused: MiliaryError | None = None
    pair = place / "compare/baseline__followup"
    for read in (
        lambda: write_study_page(place, out / "page.html"),
        lambda: read_shown_study(place),
        lambda: read_exam(place / "ct/baseline"),
        lambda: read_saved_scan(place / "ct/baseline"),
        lambda: open_result(place / "case"),
        lambda: (open_comparison(pair).matches, open_comparison(pair).transform),
    ):
        try:
            read()
        except MiliaryError as error:
            refused = error
            str(error).encode("utf-8")
    if refused is not None:
        raise refused


def _find_nonsense(scan: object) -> str:
    grid = scan.grid  # type: ignore[attr-defined]
    spacing, origin = np.array(grid.spacing_zyx_mm), np.array(grid.origin_lps_mm)
    axes = np.array(grid.axes_lps)
    extent = spacing * grid.shape_zyx
    if not (np.isfinite(spacing).all() and np.isfinite(origin).all() and np.isfinite(axes).all()):
        return "geometry that is not finite"
    if spacing.min() < 0.02 or spacing.max() > 5.01 or extent.max() > 3000 or np.abs(origin).max() > 2e4:
        return f"spacing {spacing}, extent {extent}, origin {origin}"
    if np.abs(axes @ axes.T - np.eye(3)).max() > 0.03:
        return f"axes {axes.tolist()}"
    voxels = scan.voxels_hu  # type: ignore[attr-defined]
    return "" if np.isfinite(voxels).all() and voxels.min() >= -32768 else "voxels that are not finite"


def put_through(door: str, place: Path, out: Path) -> tuple[str, str]:
    """What came of one input in a process of its own, and the last words of it."""
    log = out.with_suffix(".log")
    pid = os.fork()
    if pid == 0:
        _be_child(door, place, out, log)
    deadline = time.monotonic() + LIMIT_CLOCK_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return HANG, ""
        time.sleep(0.002)
    words = log.read_text("utf-8", "replace") if log.exists() else ""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return HANG, words
    if os.WIFSIGNALED(status):
        return KILLED, f"signal {os.WTERMSIG(status)}"
    return _CODES.get(os.WEXITSTATUS(status), FOREIGN), words


def _be_child(door: str, place: Path, out: Path, log: Path) -> None:
    """Never returns."""
    code = 4
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 2))
        target = log.open("w", encoding="utf-8", errors="backslashreplace")
        for stream in (1, 2):
            os.dup2(target.fileno(), stream)
        sys.stdout = sys.stderr = target
        code = go_through(door, place, out)
    except BaseException:  # noqa: BLE001  this is what is looked for
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Range:
    """Makes, tries and keeps inputs below one folder.

    Parameters
    ----------
    folder : Path
        Made for it and emptied between inputs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seeds = folder / "seeds"

    def prepare(self, door: Door) -> None:
        """Write the seed of a door."""
        seed = self._seeds / door.name
        if not seed.exists():
            seed.mkdir(parents=True)
            door.make(seed)

    def make(self, door: Door, number: int) -> Path:
        """The input of a number: the folder it stands in."""
        place = self.folder / "input"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._seeds / door.name, place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mutate_input(place, door.name, random.Random(f"{door.name}:{number}"))  # noqa: S311
        return place

    def attempt(self, door: Door, place: Path) -> tuple[str, str]:
        """What came of an input."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        before = sorted(self.folder.iterdir()), _state(place)
        outcome, words = put_through(door.name, place / door.entry if door.entry else place, out)
        (self.folder / "out.log").unlink(missing_ok=True)
        after = sorted(self.folder.iterdir()), _state(place)
        return (outcome, words) if before == after or outcome in FINDINGS else (OUTSIDE, str(after[0]))


def _state(place: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in place.rglob("*"))


def sign(outcome: str, words: str) -> str:
    """Findings of one cause have one sign: the kind of error and where it was raised."""
    lines = [line.strip() for line in words.strip().splitlines()]
    frames = [line for line in lines if line.startswith("File ")]
    ours = [line for line in frames if "/miliary/" in line or "/fuzzing/" in line]
    place = (ours or frames or [""])[-1].rpartition("/")[2]
    kind = lines[-1].partition(":")[0] if lines else ""
    return f"{outcome} {kind} {place}"


def fuzz(doors: list[Door], numbers: Iterator[int], *, until: float, keep: Path | None) -> Counter[str]:
    """Try inputs of all doors in turn; every finding of a new sign is printed and kept."""
    warm_up()
    counts: Counter[str] = Counter()
    signs: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        arena = Range(Path(folder))
        for door in doors:
            arena.prepare(door)
        # What is loaded already is shared with every process and never looked at again.
        gc.collect()
        gc.freeze()
        for number in numbers:
            for door in doors:
                if len(doors) > 1 and number % door.rarely:
                    continue
                if time.monotonic() > until:
                    return counts
                place = arena.make(door, number)
                outcome, words = arena.attempt(door, place)
                counts[outcome] += 1
                counts[f"{door.name}: {outcome}"] += 1
                if outcome in FINDINGS:
                    mark = sign(outcome, words)
                    signs[mark] += 1
                    if signs[mark] == 1:
                        print(f"{door.name}:{number} {mark}\n    {words.strip()[-300:]}", flush=True)
                        if keep is not None:
                            name = hashlib.sha256(mark.encode()).hexdigest()[:8]
                            shutil.copytree(place, keep / f"{door.name}-{name}", dirs_exist_ok=True)
    return counts


def warm_up() -> None:
    """Load here what every process needs, so that each starts in milliseconds."""
    import miliary.exchange.ct_read
    import miliary.exchange.dicom.read_series
    import miliary.exchange.folders.saved_scan
    import miliary.exchange.volumes.volume_file
    import miliary.report
    import miliary.viewer.viewed_study
    import miliary.workflow.case_derivation
    import miliary.workflow.case_exchange
    import miliary.workflow.study_page  # noqa: F401


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--count", type=int, default=10**9, help="inputs of each door")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--door", action="append", choices=[door.name for door in DOORS])
    parser.add_argument("--keep", type=Path, help="folder for findings")
    parser.add_argument("--replay", metavar="DOOR:NUMBER")
    given = parser.parse_args()
    if given.replay:
        name, _, number = given.replay.partition(":")
        door = next(door for door in DOORS if door.name == name)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            arena = Range(Path(folder))
            arena.prepare(door)
            place = arena.make(door, int(number))
            if given.keep:
                shutil.copytree(place, given.keep, dirs_exist_ok=True)
            print(*arena.attempt(door, place), sep="\n")
        return 0
    doors = [door for door in DOORS if not given.door or door.name in given.door]
    numbers = iter(range(given.first, given.first + given.count))
    counts = fuzz(doors, numbers, until=time.monotonic() + 60 * given.minutes, keep=given.keep)
    n = sum(count for name, count in counts.items() if ":" not in name)
    print(f"{n} inputs")
    for name, count in sorted(counts.items()):
        print(f"{count:8d} {name}")
    return 1 if any(counts[finding] for finding in FINDINGS) else 0


if __name__ == "__main__":
    sys.exit(main())
