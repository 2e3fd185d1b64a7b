"""Put mutated inputs through every door, each within limits, and tell what came out.

    python -m fuzzing.run --minutes 60                    as many as there is time for
    python -m fuzzing.run --minutes 5 --state fuzz.json   a piece of a long run, which goes on where it was
    python -m fuzzing.run --count 200 --door nifti
    python -m fuzzing.run --replay nifti:17.4711          one input again, with its traceback

An input is made from its door and its numbers alone: each number is one mutation of what came before. Every
few inputs the lines of ours that it reaches are watched, and what reaches a new one is mutated further. What
counts as a finding: an error that is none of ours, more than 10 s, more than 4 GB, a file written outside of
the output, geometry that is none. Findings go to `--keep` as folders; small ones are kept for good in
`fuzzing/regressions/`, which the tests put through anew.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from fuzzing.doors import go_through
from fuzzing.mutate import mutate_bytes, mutate_input
from fuzzing.seeds import DOORS, Door

Chain = tuple[int, ...]

# Processor time; a machine that has other work to do waits longer by the clock.
LIMIT_S, LIMIT_CLOCK_S, LIMIT_BYTES = 10, 600.0, 4 * 2**30
READ, REFUSED, FOREIGN, HANG, KILLED, OUTSIDE, NONSENSE = (
    *("read", "refused", "foreign error", "hang", "killed"),
    *("written outside", "nonsense geometry"),
)
FINDINGS = (FOREIGN, HANG, KILLED, OUTSIDE, NONSENSE)
_CODES = {0: READ, 3: REFUSED, 4: FOREIGN, 5: NONSENSE}
# A process of its own costs more than most inputs: this many share one, and a finding is tried again alone.
_BATCH = 40
# Watching lines takes several times as long as what is watched.
_WATCHED_EVERY, _WATCHED_SLOWER = 5, 6
_LONGEST_CHAIN = 4
_WATCHED = ("/miliary/exchange/", "/miliary/workflow/", "/miliary/viewer/", "/miliary/model/")


def _be_limited(seconds: float = LIMIT_S) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    # What takes longer than one input may is ended by SIGPROF, which nothing here catches.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def attempt_here(door: str, place: Path, out: Path) -> str:
    """What came of an input, in this process; an error that is none of ours is printed."""
    try:
        return _CODES.get(go_through(door, place, out), FOREIGN)
    except BaseException:  # noqa: BLE001  this is what is looked for
        traceback.print_exc()
        return FOREIGN


def put_through(door: str, place: Path, out: Path) -> tuple[str, str]:
    """What came of one input in a process of its own, and the last words of it."""
    log = out.with_suffix(".log")

    def be_child() -> None:
        _be_limited()
        _print_to(log)
        outcome = attempt_here(door, place, out)
        sys.stderr.flush()
        os._exit(next(code for code, name in _CODES.items() if name == outcome))

    ended = _wait(_start(be_child), LIMIT_CLOCK_S)
    words = log.read_text("utf-8", "replace") if log.exists() else ""
    return (_CODES.get(ended, FOREIGN) if ended >= 0 else _name_end(ended)), words


def _start(child: Callable[[], None]) -> int:
    """A forked process that does one thing and ends."""
    pid = os.fork()
    if pid:
        return pid
    code = 4
    try:
        child()
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _print_to(log: Path) -> None:
    target = log.open("w", encoding="utf-8", errors="backslashreplace")
    for stream in (1, 2):
        os.dup2(target.fileno(), stream)
    sys.stdout = sys.stderr = target


def _wait(pid: int, seconds: float) -> int:
    """How a process ended: its exit code, or minus the signal that ended it, as `os` has it."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGPROF
        time.sleep(0.002)


def _name_end(ended: int) -> str:
    return HANG if -ended in (signal.SIGPROF, signal.SIGXCPU) else KILLED


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

    def make(self, door: Door, chain: Chain) -> Path:
        """The input of a chain of mutations: the folder it stands in."""
        place = self.folder / "input"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._seeds / door.name, place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in chain:
                rng = random.Random(f"{door.name}:{number}")  # noqa: S311
                try:
                    mutate_input(place, door.name, rng)
                except Exception:  # noqa: BLE001  a second mutation of what is no longer what it was
                    _damage(place, rng)
        return place

    def attempt(self, door: Door, place: Path, *, alone: bool = True) -> tuple[str, str]:
        """What came of an input, and its last words where it was tried in a process of its own."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        before = sorted(self.folder.iterdir()), _state(place)
        entry = place / door.entry if door.entry else place
        outcome, words = (
            put_through(door.name, entry, out) if alone else (attempt_here(door.name, entry, out), "")
        )
        (self.folder / "out.log").unlink(missing_ok=True)
        after = sorted(self.folder.iterdir()), _state(place)
        return (outcome, words) if before == after or outcome in FINDINGS else (OUTSIDE, str(after[0]))


def _damage(place: Path, rng: random.Random) -> None:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    if files:
        path = rng.choice(files)
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))


def _state(place: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in place.rglob("*"))


class Watch:
    """Lines of ours that an input reaches."""

    def __init__(self, known: set[int]) -> None:
        self._known = known
        self._new: set[int] = set()

    def __enter__(self) -> set[int]:
        self._new = set()
        sys.settrace(self._enter_frame)
        return self._new

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter_frame(self, frame: FrameType, _event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        return self._follow if any(part in name for part in _WATCHED) else None

    def _follow(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            code = frame.f_code
            # Of one file the place is enough; a stable number, as each process is asked anew.
            line = (int(hashlib.sha256(code.co_filename.encode()).hexdigest()[:8], 16) << 20) + frame.f_lineno
            if line not in self._known:
                self._known.add(line)
                self._new.add(line)
        return self._follow


@dataclass
class Progress:
    """What a run has done so far; kept between pieces of a long one.

    Parameters
    ----------
    next_number : int
    counts : Counter
        Outcomes, of all doors and of each.
    signs : Counter
        Findings by their cause.
    corpus : dict
        By door the chains that reached something new.
    known : dict
        By door the lines reached.
    """

    next_number: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    signs: Counter[str] = field(default_factory=Counter)
    corpus: dict[str, list[Chain]] = field(default_factory=dict)
    known: dict[str, set[int]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        content = {
            "next_number": self.next_number,
            "counts": self.counts,
            "signs": self.signs,
            "corpus": self.corpus,
            "known": {name: sorted(lines) for name, lines in self.known.items()},
        }
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Progress:
        """Read it back; empty where there is none."""
        if not path.exists():
            return cls()
        content = json.loads(path.read_text("utf-8"))
        return cls(
            content["next_number"],
            Counter(content["counts"]),
            Counter(content["signs"]),
            {name: [tuple(chain) for chain in chains] for name, chains in content["corpus"].items()},
            {name: set(lines) for name, lines in content["known"].items()},
        )


def sign(outcome: str, words: str) -> str:
    """Findings of one cause have one sign: the kind of error and where it was raised."""
    lines = [line.strip() for line in words.strip().splitlines()]
    frames = [line for line in lines if line.startswith("File ")]
    ours = [line for line in frames if "/miliary/" in line or "/fuzzing/" in line]
    place = (ours or frames or [""])[-1].rpartition("/")[2]
    kind = lines[-1].partition(":")[0] if lines else ""
    return f"{outcome} {kind} {place}"


def _choose_chain(door: Door, number: int, corpus: Sequence[Chain]) -> Chain:
    rng = random.Random(f"{door.name}:{number}:base")  # noqa: S311
    if corpus and rng.random() < 0.5:
        return (*rng.choice(corpus), number)[-_LONGEST_CHAIN:]
    return (number,)


def try_batch(
    arena: Range, door: Door, chains: Sequence[Chain], known: set[int]
) -> list[tuple[Chain, str, set[int]]]:
    """Try inputs in one process, another where that ends: chain, outcome, lines first reached."""
    found: list[tuple[Chain, str, set[int]]] = []
    while len(found) < len(chains):
        rest = chains[len(found) :]
        reading, writing = os.pipe()
        pid = _start(lambda rest=rest, writing=writing: _work(arena, door, rest, known, writing))  # type: ignore[misc]
        os.close(writing)
        for outcome, new in _read_answers(reading):
            found.append((chains[len(found)], outcome, set(new)))
        os.close(reading)
        ended = _wait(pid, 1.0)
        if len(found) < len(chains):
            found.append((chains[len(found)], _name_end(ended), set()))
    return found


def _read_answers(reading: int) -> Iterator[tuple[str, list[int]]]:
    """What a worker tells until it ends, or says nothing for too long."""
    buffer = b""
    while select.select([reading], [], [], LIMIT_CLOCK_S)[0] and (data := os.read(reading, 1 << 16)):
        *lines, buffer = (buffer + data).split(b"\n")
        yield from map(json.loads, lines)


def _work(arena: Range, door: Door, chains: Sequence[Chain], known: set[int], writing: int) -> None:
    """Try inputs one after the other, a line of JSON for each; ended by a signal where one takes too long."""
    _print_to(arena.folder.parent / f"{arena.folder.name}.log")
    watch = Watch(set(known))
    for chain in chains:
        is_watched = chain[-1] % _WATCHED_EVERY == 0
        _be_limited(LIMIT_S * (_WATCHED_SLOWER if is_watched else 1))
        place = arena.make(door, chain)
        with watch if is_watched else contextlib.nullcontext(set()) as new:
            outcome, _ = arena.attempt(door, place, alone=False)
        os.write(writing, json.dumps([outcome, sorted(new)]).encode() + b"\n")


def fuzz(
    doors: list[Door],
    numbers: Iterator[int],
    *,
    until: float,
    keep: Path | None,
    progress: Progress | None = None,
    state: Path | None = None,
) -> Counter[str]:
    """Try inputs of all doors in turn; every finding of a new sign is printed and kept."""
    progress = progress or Progress()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        arena = Range(Path(folder) / "range")
        arena.folder.mkdir()
        warm_up(arena, doors)
        while time.monotonic() < until and (
            batch := [n for _, n in zip(range(_BATCH), numbers, strict=False)]
        ):
            for door in doors:
                mine = [number for number in batch if len(doors) == 1 or number % door.rarely == 0]
                if time.monotonic() < until:
                    _fuzz_batch(arena, door, mine, progress, keep)
            progress.next_number = batch[-1] + 1
            if state is not None:
                progress.save(state)
    return progress.counts


def _fuzz_batch(arena: Range, door: Door, numbers: list[int], progress: Progress, keep: Path | None) -> None:
    corpus = progress.corpus.setdefault(door.name, [])
    known = progress.known.setdefault(door.name, set())
    chains = [_choose_chain(door, number, corpus) for number in numbers]
    for chain, found, new in try_batch(arena, door, chains, known):
        outcome = found
        if outcome in FINDINGS:
            place = arena.make(door, chain)
            alone, words = arena.attempt(door, place)
            if alone in FINDINGS:
                outcome = alone
            else:
                words = f"found among others and not alone\n{outcome}"
            _keep_finding(door, chain, outcome, words, place, progress, keep)
        elif new:
            corpus.append(chain)
        known |= new
        progress.counts[outcome] += 1
        progress.counts[f"{door.name}: {outcome}"] += 1


def _keep_finding(
    door: Door, chain: Chain, outcome: str, words: str, place: Path, progress: Progress, keep: Path | None
) -> None:
    mark = sign(outcome, words)
    progress.signs[mark] += 1
    if progress.signs[mark] > 1:
        return
    numbers = ".".join(map(str, chain))
    print(f"{door.name}:{numbers} {mark}\n    {words.strip()[-300:]}", flush=True)
    if keep is not None:
        name = hashlib.sha256(mark.encode()).hexdigest()[:8]
        shutil.copytree(place, keep / f"{door.name}-{name}", dirs_exist_ok=True)


def warm_up(arena: Range, doors: Sequence[Door]) -> None:
    """Read every seed once here, so that no process has to load what all of them need."""
    for door in doors:
        arena.prepare(door)
        # Saved volumes start a thread, which a forked process would wait for.
        if door.name != "saved" and arena.attempt(door, arena.make(door, ()), alone=False)[0] != READ:
            raise AssertionError(f"the seed of {door.name} cannot be read")
    # What is loaded already is shared with every process and never looked at again.
    gc.collect()
    gc.freeze()


def _replay(text: str, keep: Path | None) -> int:
    name, _, numbers = text.partition(":")
    door = next(door for door in DOORS if door.name == name)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        arena = Range(Path(folder))
        arena.prepare(door)
        place = arena.make(door, tuple(int(number) for number in numbers.split(".")))
        if keep:
            shutil.copytree(place, keep, dirs_exist_ok=True)
        print(*arena.attempt(door, place), sep="\n")
    return 0


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
    parser.add_argument("--state", type=Path, help="file that a long run in pieces goes on from")
    parser.add_argument("--replay", metavar="DOOR:NUMBER[.NUMBER...]")
    given = parser.parse_args()
    if given.replay:
        return _replay(given.replay, given.keep)
    doors = [door for door in DOORS if not given.door or door.name in given.door]
    progress = Progress.load(given.state) if given.state else Progress()
    first = max(given.first, progress.next_number)
    until = time.monotonic() + 60 * given.minutes
    counts = fuzz(
        doors,
        iter(range(first, first + given.count)),
        until=until,
        keep=given.keep,
        progress=progress,
        state=given.state,
    )
    print(f"{sum(count for name, count in counts.items() if ':' not in name)} inputs")
    for name, count in sorted(counts.items()):
        print(f"{count:8d} {name}")
    return 1 if any(counts[finding] for finding in FINDINGS) else 0


if __name__ == "__main__":
    sys.exit(main())
