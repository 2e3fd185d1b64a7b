"""Result folders appear whole or not at all.

A folder is written beside its final name and renamed at the end, so that an interrupted or failing run leaves
nothing under that name, and an earlier result stays until the new one is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from miliary.errors import OutputError
from miliary.exchange.folders.kinds import FILES, REPORT_FILES
from miliary.model.saved.scan_summary import SCAN_KIND


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
    _check_replaceable(target, kind)
    with _writable(target):
        parent = _first_existing(target.absolute().parent)
        probe = tempfile.mkdtemp(prefix=".miliary-", dir=parent)
        Path(probe).rmdir()


@contextlib.contextmanager
def writing(folder: str | Path, *, kind: str) -> Iterator[Path]:
    """A draft of a result folder that takes its place when the block ends well.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    target = Path(folder)
    _check_replaceable(target, kind)
    with _writable(target), replacing_folder(target) as draft:
        yield draft


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its name at the end; gone if the block fails."""
    final = target.absolute()
    made = _make_parents(final.parent)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
        try:
            # mkdtemp keeps others out; a result is as readable as anything else made here.
            draft.chmod(0o777 & ~_current_umask())
            yield draft
            _swap_in(draft, final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap_in(draft: Path, final: Path) -> None:
    """Give `draft` the final name; what stood there returns if that fails."""
    if not final.exists():
        draft.rename(final)
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
