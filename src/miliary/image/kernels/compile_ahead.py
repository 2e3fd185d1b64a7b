"""The loops compiled by a second process, from the back, while a first run compiles them from the front.

numba compiles in one thread at a time, which on a machine that never ran `miliary` takes longer than the
measurement itself. It keeps what it compiled on disk, so a second process can do half of it:
`compiling_ahead` starts this module as a program, which walks `kernels.json` backwards; they meet in the
middle. Where all is compiled nothing is started. ``python -m tools.list_kernels`` makes the list.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = ("simulate", "ct", "completeness", "compare")
_HERE = Path(__file__).resolve().parents[1]
_LIST = _HERE / "kernels" / "kernels.json"
_PACKAGE = "miliary.image."
_SCALARS = frozenset(
    ("boolean", "float32", "float64", "none", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))
)


@dataclass(frozen=True)
class Kernel:
    """One compiled loop that a stage calls: where it is and the types it is called with, as in the list."""

    stage: str
    module: str
    function: str
    types: tuple[Any, ...]


def list_kernels() -> tuple[Kernel, ...]:
    """The loops that the stages call, in the order of their first use."""
    rows = json.loads(_LIST.read_text(encoding="utf-8"))["kernels"]
    return tuple(Kernel(row["stage"], row["module"], row["function"], tuple(row["types"])) for row in rows)


@contextlib.contextmanager
def compiling_ahead(*stages: str, n_threads: int) -> Iterator[None]:
    """Compile the loops of some stages in a second process meanwhile, where they were never compiled.

    Nothing is started with one thread, and nothing is said or raised where the process cannot start: it only
    saves time.

    Parameters
    ----------
    stages : str
        What will run, of `STAGES`.
    n_threads : int
        How many the run may use.
    """
    missing = [stage for stage in stages if not is_compiled(stage)]
    process = _start(missing) if missing and n_threads > 1 else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
    # A run that came to its end has compiled what it called.
    for stage in missing:
        _note_compiled(stage)


def name_stages(*, with_completeness: bool) -> tuple[str, ...]:
    """What measuring one scan runs, of `STAGES`."""
    return ("ct", "completeness") if with_completeness else ("ct",)


def is_compiled(stage: str) -> bool:
    """Whether a run with this stage has ended well, on this machine, with this source."""
    try:
        return _mark(stage).read_text(encoding="ascii") == _stamp()
    except OSError:
        return False


def _note_compiled(stage: str) -> None:
    path = _mark(stage)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(_stamp(), encoding="ascii")
        draft.replace(path)


def _mark(stage: str) -> Path:
    """The file that says that a stage's loops are compiled: beside them, so that it goes when they go.

    Its name ends as those of numba's own index files do, for whoever deletes these by their name.
    """
    text = "\n".join((str(_HERE), sys.version, *_describe_processor()))
    return _cache_folder() / f"miliary-{stage}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.nbi"


def _cache_folder() -> Path:
    """Where numba keeps compiled loops, by its own rule, told without loading it."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    beside = _HERE / "__pycache__"
    if os.access(beside if beside.exists() else _HERE, os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "numba"


def _describe_processor() -> tuple[str, ...]:
    """What numba's compiled code depends on; a cache may lie on a disk that several machines share."""
    lines = []
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if not line.strip():
                break
            if line.startswith(("model name", "flags", "Features")):
                lines.append(line)
    return (platform.machine(), *lines)


def _stamp() -> str:
    """Changes with the source of the loops and with numba."""
    numba = importlib.util.find_spec("numba")
    paths = [
        *sorted(_HERE.glob("**/*.py")),
        _LIST,
        Path(numba.origin if numba and numba.origin else __file__),
    ]
    stats = [(path, path.stat()) for path in paths]
    text = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)
    return hashlib.sha256(text.encode()).hexdigest()


def _start(stages: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """The second process, or None where there can be none."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    # This package and no other of its name, and never a module that lies in the folder we are run in.
    roots = [str(_HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        return subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-P", "-m", __name__, str(os.getpid()), *stages],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        return None


def compile_backwards(kernels: Sequence[Kernel], *, parent: int) -> int:
    """Compile loops into numba's cache, the last first, for as long as the parent process lives.

    Returns
    -------
    int
        How many were compiled or found compiled.
    """
    done = 0
    for kernel in reversed(kernels):
        if os.getppid() != parent:
            break
        # A loop that cannot be compiled ahead is compiled, or complained of, where it is called.
        with contextlib.suppress(Exception):
            dispatcher = find_dispatcher(kernel)
            _name_files_apart()
            dispatcher.compile(decode_types(kernel.types))
            done += 1
    return done


def find_dispatcher(kernel: Kernel) -> Any:
    """What numba made of a function of the list."""
    if not kernel.module.startswith(_PACKAGE):
        raise ValueError(f"{kernel.module}: is not of {_PACKAGE}; make the list of kernels anew")
    return getattr(importlib.import_module(kernel.module), kernel.function)


def _name_files_apart() -> None:
    """Let this process write to file names of its own.

    numba numbers a function's files from one. Two processes that compile one function for different types
    at the same time would choose the same number, and one's index would lead to the other's code. With names
    apart the worst is an entry lost and compiled again.
    """
    from numba.core.dispatcher import Dispatcher

    suffix = f".{os.getpid()}.nbc"
    for name, module in list(sys.modules.items()):
        for value in vars(module).values() if name.startswith(_PACKAGE) else ():
            if isinstance(value, Dispatcher):
                loop: Any = value
                file = loop._cache._cache_file  # noqa: SLF001  numba offers no other way
                usual = file._data_name_pattern  # noqa: SLF001
                if not usual.endswith(suffix):
                    file._data_name_pattern = usual.removesuffix(".nbc") + suffix  # noqa: SLF001


def encode_types(types: Sequence[Any]) -> list[Any]:
    """Types of numba as plain JSON: a name, a list for a tuple, an object for an array."""
    return [_encode_type(one) for one in types]


def _encode_type(one: Any) -> Any:
    from numba import types

    if isinstance(one, types.Array) and one.aligned:
        dtype = _encode_type(one.dtype)
        return {"dtype": dtype, "ndim": one.ndim, "layout": one.layout, "mutable": one.mutable}
    if isinstance(one, types.BaseAnonymousTuple):
        return [_encode_type(part) for part in one]
    name = "boolean" if one == types.boolean else str(one)
    if name not in _SCALARS:
        raise ValueError(f"{name}: the list of kernels has no words for this type; add it to {__name__}")
    return name


def decode_types(encoded: Sequence[Any]) -> tuple[Any, ...]:
    """Types of numba from what `encode_types` gave."""
    return tuple(_decode_type(one) for one in encoded)


def _decode_type(one: Any) -> Any:
    from numba import types

    if isinstance(one, dict):
        dtype = _decode_type(one["dtype"])
        return types.Array(dtype, one["ndim"], one["layout"], readonly=not one["mutable"])
    if isinstance(one, list):
        return types.Tuple.from_types([_decode_type(part) for part in one])
    if one not in _SCALARS:
        raise ValueError(f"{one}: is no type of the list of kernels; make it anew")
    return getattr(types, one)


def main(arguments: Sequence[str]) -> int:
    """Compile what some stages call, for the process that is named first."""
    gc.disable()
    parent, *stages = arguments
    compile_backwards([k for k in list_kernels() if k.stage in stages], parent=int(parent))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
