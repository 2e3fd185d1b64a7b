"""Compile kernels in a second process, in reverse order, while a first run compiles them in order of use.

numba compiles in one thread at a time, which on a machine that never ran `miliary` takes longer than the
measurement itself. It keeps compiled kernels on disk, so a second process can do half of the work:
`compiling_ahead` starts this module as a program, which goes through `kernels.json` from the end; the two
meet in the middle. Where everything is compiled no process is started. ``python -m tools.list_kernels`` makes
the list.
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
    """One compiled function of the list.

    Parameters
    ----------
    stage : str
        The stage that calls it, of `STAGES`.
    module, function : str
        Where it is defined.
    types : tuple
        Types of its arguments, as `encode_types` writes them.
    """

    stage: str
    module: str
    function: str
    types: tuple[Any, ...]


def list_kernels() -> tuple[Kernel, ...]:
    """Read the list of kernels that the stages call, in the order of their first use."""
    rows = json.loads(_LIST.read_text(encoding="utf-8"))["kernels"]
    return tuple(Kernel(row["stage"], row["module"], row["function"], tuple(row["types"])) for row in rows)


@contextlib.contextmanager
def compiling_ahead(*stages: str, n_threads: int) -> Iterator[None]:
    """Context in which a second process compiles the kernels of some stages, where they were never compiled.

    It only saves time: with one thread no process is started, and where it cannot start nothing is reported.

    Parameters
    ----------
    *stages : str
        Stages that will run, of `STAGES`.
    n_threads : int
        Number of threads that the run may use.
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
    """Names of the stages that measuring one scan runs, of `STAGES`."""
    return ("ct", "completeness") if with_completeness else ("ct",)


def is_compiled(stage: str) -> bool:
    """Whether a run with this stage has completed on this machine with this version of the source."""
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
    """The file that records that a stage is compiled, kept with numba's files and deleted with them.

    It has the suffix of numba's own index files, so that deleting those by pattern deletes it too.
    """
    text = "\n".join((str(_HERE), sys.version, *_describe_processor()))
    return _cache_folder() / f"miliary-{stage}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.nbi"


def _cache_folder() -> Path:
    """Folder of numba's cache, found by numba's own rule without importing numba."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    local = _HERE / "__pycache__"
    if os.access(local if local.exists() else _HERE, os.W_OK):
        return local
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"  # noqa: PTH111


def _describe_processor() -> tuple[str, ...]:
    """Processor model and flags: compiled code depends on them, and machines may share a cache."""
    lines = []
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if not line.strip():
                break
            if line.startswith(("model name", "flags", "Features")):
                lines.append(line)
    return (platform.machine(), *lines)


def _stamp() -> str:
    """A hash that changes with the source of the kernels and with numba."""
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
    """Start the second process; None where it cannot be started."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    # Import this package and no other of its name, and never a module from the current folder.
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
    """Compile kernels into numba's cache, last first, for as long as the parent process lives.

    Parameters
    ----------
    kernels : sequence of Kernel
        What to compile, in order of use.
    parent : int
        Process id; compiling ends when this is no longer the parent.

    Returns
    -------
    int
        Number of kernels compiled or found compiled. A kernel that cannot be compiled is skipped; the run
        that calls it reports the error.
    """
    done = 0
    for kernel in reversed(kernels):
        if os.getppid() != parent:
            break
        with contextlib.suppress(Exception):
            dispatcher = find_dispatcher(kernel)
            _separate_file_names()
            dispatcher.compile(decode_types(kernel.types))
            done += 1
    return done


def find_dispatcher(kernel: Kernel) -> Any:
    """The compiled function that a row of the list names.

    Raises
    ------
    ValueError
        The module is not part of ``miliary.image``.
    """
    if not kernel.module.startswith(_PACKAGE):
        raise ValueError(f"{kernel.module}: is not part of {_PACKAGE}; make the list of kernels anew")
    return getattr(importlib.import_module(kernel.module), kernel.function)


def _separate_file_names() -> None:
    """Make numba write the code of this process under file names of its own.

    numba numbers a function's files from one. Two processes that compile one function for different types at
    the same time would choose the same number, and the index of one would point to the code of the other.
    With separate names the worst case is an entry lost and compiled again.
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
    """Encode numba types as plain JSON.

    Parameters
    ----------
    types : sequence of numba type
        Scalars, arrays, tuples and named tuples of these.

    Returns
    -------
    list
        A name for a scalar, a list for a tuple, an object with ``dtype`` for an array and with ``named`` for
        a named tuple.

    Raises
    ------
    ValueError
        A type has no encoding.
    """
    return [_encode_type(one) for one in types]


def _encode_type(one: Any) -> Any:
    from numba import types

    if isinstance(one, types.Array) and one.aligned:
        dtype = _encode_type(one.dtype)
        return {"dtype": dtype, "ndim": one.ndim, "layout": one.layout, "mutable": one.mutable}
    if isinstance(one, types.BaseAnonymousTuple):
        return [_encode_type(part) for part in one]
    if isinstance(one, types.BaseNamedTuple):
        group = one.instance_class
        parts = [_encode_type(part) for part in one]
        return {"module": group.__module__, "named": group.__qualname__, "parts": parts}
    name = "boolean" if one == types.boolean else str(one)
    if name not in _SCALARS:
        raise ValueError(f"{name}: the list of kernels has no encoding for this type; add it to {__name__}")
    return name


def decode_types(encoded: Sequence[Any]) -> tuple[Any, ...]:
    """Decode numba types from the JSON that `encode_types` gave; the inverse of it.

    Raises
    ------
    ValueError
        A name is not that of a known type, or a named tuple is not defined in ``miliary.image``.
    """
    return tuple(_decode_type(one) for one in encoded)


def _decode_type(one: Any) -> Any:
    from numba import types

    if isinstance(one, dict) and "named" in one:
        if not one["module"].startswith(_PACKAGE):
            raise ValueError(f"{one['module']}: is not part of {_PACKAGE}; make the list of kernels anew")
        group = getattr(importlib.import_module(one["module"]), one["named"])
        return types.BaseTuple.from_types([_decode_type(part) for part in one["parts"]], group)
    if isinstance(one, dict):
        dtype = _decode_type(one["dtype"])
        return types.Array(dtype, one["ndim"], one["layout"], readonly=not one["mutable"])
    if isinstance(one, list):
        return types.Tuple.from_types([_decode_type(part) for part in one])
    if one not in _SCALARS:
        raise ValueError(f"{one}: is no type of the list of kernels; make it anew")
    return getattr(types, one)


def main(arguments: Sequence[str]) -> int:
    """Compile the kernels of some stages: process id of the parent, then names of stages."""
    gc.disable()
    parent, *stages = arguments
    compile_backwards([k for k in list_kernels() if k.stage in stages], parent=int(parent))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
