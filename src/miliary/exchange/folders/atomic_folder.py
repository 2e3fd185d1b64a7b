"""Result folders appear whole or not at all.

A folder is written beside its final name and takes that name at the end, so that an interrupted or failing
run leaves nothing under that name, and an earlier result stays until the new one is whole. Where the system
can, the two change names in one step; where it cannot, a kill between two steps is made good by the next run.
What a kill left beside the name (``.NAME.*.part``, ``.NAME.*.old``) goes with the next run: a run holds a
lock on its draft for as long as it lives, so drafts of others that still work are told from litter.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from miliary.errors import OutputError
from miliary.exchange.folders.kinds import FILES, REPORT_FILES
from miliary.model.saved.scan_summary import SCAN_KIND

_PROBE = ".miliary-"


def check_output(folder: str | Path, *, kind: str = SCAN_KIND) -> None:
    """Make sure that a result can go to `folder`, before the long work.

    It must not exist, be an empty folder, or hold an earlier result of the same kind and nothing else;
    and files can be made where it will stand.

    Parameters
    ----------
    folder : path
    kind : str
        What will be written there: a kind of `kinds.FILES`.

    Raises
    ------
    OutputError
        Naming the folder and what to do.
    """
    target = Path(folder)
    with _writable(target):
        parent = _first_existing(target.absolute().parent)
        _clear_litter(target.absolute())
        _clear_probes(parent)
        probe = tempfile.mkdtemp(prefix=_PROBE, dir=parent)
        with contextlib.suppress(FileNotFoundError):  # another run cleared it
            Path(probe).rmdir()
    _check_replaceable(target, kind)


@contextlib.contextmanager
def writing(folder: str | Path, *, kind: str) -> Iterator[Path]:
    """A draft of a result folder that takes its place when the block ends well.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    target = Path(folder)
    with _writable(target):
        _clear_litter(target.absolute())
    _check_replaceable(target, kind)
    with _writable(target), replacing_folder(target) as draft:
        yield draft


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its name at the end; gone if the block fails."""
    final = target.absolute()
    made = _make_parents(final.parent)
    try:
        _clear_litter(final)
        draft, lock = _make_draft(final)
        try:
            # mkdtemp keeps others out; a result is as readable as anything else made here.
            draft.chmod(0o777 & ~_current_umask())
            yield draft
            _swap_in(draft, final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        finally:
            _unlock(lock)
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _make_draft(final: Path) -> tuple[Path, int | None]:
    """A new folder beside the final name and the lock that says it is being written."""
    while True:
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
        lock = _lock(draft)
        if draft.is_dir():
            return draft, lock
        # Between the two another run took it for litter.
        _unlock(lock)


def _lock(folder: Path) -> int | None:
    """A lock on a folder that ends with this process; `None` where it is held, or there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _clear_litter(final: Path) -> None:
    """Bring back what a killed run had moved away from its name; remove what killed runs left beside it."""
    if not final.parent.is_dir():
        return
    mark = re.compile(rf"{re.escape(f'.{final.name}.')}[a-z0-9_]{{8}}\.(part|old)")
    # Of results moved away the last one comes back; where the name is taken none does.
    found = [one for one in final.parent.iterdir() if mark.fullmatch(one.name) and not one.is_symlink()]
    for one in sorted(found, key=_changed, reverse=True):
        lock = _lock(one)
        if lock is None:
            continue
        with contextlib.suppress(OSError):
            if one.suffix == ".old" and not final.exists() and any(one.iterdir()):
                one.rename(final)
            else:
                shutil.rmtree(one, ignore_errors=True)
        _unlock(lock)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _clear_probes(parent: Path) -> None:
    """Remove empty folders that a killed check left."""
    for one in parent.glob(f"{_PROBE}*"):
        with contextlib.suppress(OSError):
            one.rmdir()


def _swap_in(draft: Path, final: Path) -> None:
    """Give `draft` the final name; what stood there returns if that fails."""
    if not final.exists():
        draft.rename(final)
        return
    if _exchange(draft, final):
        shutil.rmtree(draft, ignore_errors=True)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
    try:
        final.rename(old)
        draft.rename(final)
    except BaseException:
        if not final.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; false where the system cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # an old or other C library
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _make_parents(parent: Path) -> list[Path]:
    """Create missing parents; those created, innermost first."""
    missing = []
    here = parent
    while not here.exists():
        missing.append(here)
        here = here.parent
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _first_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


@contextlib.contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Turn the operating system's refusal into one line for the user."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{target.name or 'output folder'}: cannot write there ({reason}); choose another folder"
        ) from error


def _check_replaceable(target: Path, kind: str) -> None:
    name = target.name or "output folder"
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(f"{name}: exists and is not a folder; choose a new folder")
    with _writable(target):
        inside = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    if not inside:
        return
    strangers = [entry for entry in inside if entry not in FILES[kind] + REPORT_FILES]
    if strangers:
        raise OutputError(f"{name}: holds {strangers[0]}, which miliary did not write; choose a new folder")
    if not _is_of_kind(target, kind):
        raise OutputError(f"{name}: is not an earlier result of this command; choose a new folder")


def _is_of_kind(folder: Path, kind: str) -> bool:
    try:
        content = json.loads((folder / FILES[kind][0]).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == kind
