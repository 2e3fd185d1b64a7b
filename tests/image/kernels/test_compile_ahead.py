"""The loops compiled by a second process while a first run compiles them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from miliary.image.kernels import compile_ahead

KERNELS = compile_ahead.list_kernels()
STAGED = {
    stage: [(k.module, k.function, json.dumps(k.types)) for k in KERNELS if k.stage == stage]
    for stage in compile_ahead.STAGES
}
ANEW = "make the list anew: python -m tools.list_kernels"


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def started(monkeypatch):
    """The stages of each process that would have been started."""
    stages = []
    monkeypatch.setattr(compile_ahead, "_start", stages.append)
    return stages


def _run_python(root, text, **extra):
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=root,
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_stage_has_loops_on_the_list_and_none_twice():
    assert {k.stage for k in KERNELS} == set(compile_ahead.STAGES)
    for rows in STAGED.values():
        assert len(set(rows)) == len(rows)
    assert not set(STAGED["ct"]) & set(STAGED["completeness"])


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.stage}-{k.module.split('.')[-1]}-{k.function}")
def test_an_entry_names_a_loop_and_as_many_types_as_it_takes(kernel):
    dispatcher = compile_ahead.find_dispatcher(kernel)
    types = compile_ahead.decode_types(kernel.types)
    assert len(types) == dispatcher.py_func.__code__.co_argcount, ANEW
    assert compile_ahead.encode_types(types) == list(kernel.types)


def test_types_are_plain_words_and_nothing_else():
    with pytest.raises(ValueError, match="no type of the list"):
        compile_ahead.decode_types(["__class__"])
    with pytest.raises(ValueError, match=r"is not part of miliary\.image"):
        compile_ahead.find_dispatcher(compile_ahead.Kernel("ct", "os", "system", ()))


def test_what_a_scan_calls_is_on_the_list(root):
    # In a new process: this one may have called everything before.
    text = """
import json
from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan
from miliary.pipeline import find_nodules
from tools.list_kernels import record
protocol = ScanProtocol(
    shape_zyx=(84, 128, 128), spacing_zyx_mm=(2.6, 2.4, 2.4), slice_thickness_mm=2.6, psf_fwhm_mm=2.6
)
made = []
population = NodulePopulation(n=150, diameter_mm=(4.0, 6.0))
simulated = record(lambda: made.append(simulate_scan(protocol, seed=3, population=population)))
fast = record(lambda: find_nodules(made[0].scan, with_completeness=False))
whole = record(lambda: find_nodules(made[0].scan))
print(json.dumps([simulated, fast, whole]))
"""
    rows = [
        [(row["module"], row["function"], json.dumps(row["types"])) for row in part]
        for part in json.loads(_run_python(root, text))
    ]
    simulated, fast, whole = map(set, rows)
    assert len(fast) > 20
    assert simulated <= set(STAGED["simulate"]), ANEW
    # What the simulation called before is not seen again.
    assert fast <= set(STAGED["ct"]), ANEW
    assert whole <= set(STAGED["ct"]) | set(STAGED["completeness"]), ANEW


def test_nothing_is_started_where_a_run_ended_well_before(empty_cache, started):
    for _ in range(2):
        with compile_ahead.compiling_ahead("ct", n_threads=2):
            pass
    assert started == [["ct"]]
    with compile_ahead.compiling_ahead("ct", "completeness", n_threads=2):
        pass
    assert started == [["ct"], ["completeness"]]


def test_a_failed_run_leaves_no_mark(empty_cache, started):
    for _ in range(2):
        with pytest.raises(RuntimeError), compile_ahead.compiling_ahead("ct", n_threads=2):
            raise RuntimeError
    assert started == [["ct"], ["ct"]]


def test_changed_source_counts_as_never_compiled(empty_cache, started, monkeypatch):
    with compile_ahead.compiling_ahead("ct", n_threads=2):
        pass
    stamp = compile_ahead._stamp()
    monkeypatch.setattr(compile_ahead, "_stamp", lambda: stamp[::-1])
    assert not compile_ahead.is_compiled("ct")


def test_one_thread_starts_nothing(empty_cache, started):
    with compile_ahead.compiling_ahead("ct", n_threads=1):
        pass
    assert started == []


def test_a_run_goes_on_where_no_process_can_start_and_no_mark_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))

    def refuse(*_args, **_kwargs):
        raise OSError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with compile_ahead.compiling_ahead("ct", n_threads=2):
        went_on = True
    assert went_on
    assert not compile_ahead.is_compiled("ct")


def test_without_its_parent_it_compiles_nothing():
    assert compile_ahead.compile_backwards(KERNELS, parent=-1) == 0


def test_what_it_compiled_is_loaded_by_another_process(root, tmp_path):
    place = next(i for i, k in enumerate(KERNELS) if k.function == "_sum_by_label")
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    select = f"""
import os
from miliary.image.kernels import compile_ahead
kernel = compile_ahead.list_kernels()[{place}]
"""
    compiled = f"{select}print(compile_ahead.compile_backwards([kernel], parent=os.getppid()))"
    assert _run_python(root, compiled, **cache) == "1\n"
    # Names of their own: two processes that number from one would overwrite each other's code.
    names = [path.name for path in tmp_path.rglob("*.nbc")]
    assert len(names) == 1
    assert len(names[0].split(".")) == 6
    loaded = f"""{select}
loop = compile_ahead.find_dispatcher(kernel)
loop.compile(compile_ahead.decode_types(kernel.types))
print(sum(loop.stats.cache_hits.values()), sum(loop.stats.cache_misses.values()))
"""
    assert _run_python(root, loaded, **cache) == "1 0\n"


def test_it_ends_when_its_parent_is_killed(root, tmp_path):
    text = """
import sys
import time
from miliary.image.kernels import compile_ahead
process = compile_ahead._start(["ct"])
print(process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=root,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        pid = int(parent.stdout.readline())
        # At work: the first loop is compiled.
        _wait(lambda: list(tmp_path.rglob("*.nbc")))
        assert not _has_ended(pid)
        parent.send_signal(signal.SIGKILL)
    _wait(lambda: _has_ended(pid))
    assert len(list(tmp_path.rglob("*.nbi"))) < len(STAGED["ct"]) / 2


def _wait(is_so):
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.1)
    pytest.fail("waited two minutes in vain")


def _has_ended(pid):
    """Gone, or dead and not yet fetched by whoever adopts orphans here."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_run_that_ends_takes_it_along(empty_cache, monkeypatch):
    processes, start = [], compile_ahead._start

    def keep(stages):
        processes.append(start(stages))
        return processes[-1]

    monkeypatch.setattr(compile_ahead, "_start", keep)
    with pytest.raises(KeyboardInterrupt), compile_ahead.compiling_ahead("ct", n_threads=2):
        raise KeyboardInterrupt
    assert [process.returncode for process in processes] == [-signal.SIGKILL]
