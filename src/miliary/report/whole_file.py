"""Single files that are whole or not there, as result folders are."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

from miliary.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is whole or not there.

    What a killed run left beside the name is removed.

    Parameters
    ----------
    path : path
    content : bytes

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    draft: Path | None = None
    try:
        _clear_litter(path)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".part", dir=path.absolute().parent
        )
        draft = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            _lock(file.fileno())
            file.write(content)
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            draft.chmod(0o666 & ~mask)
            draft.replace(path)
    except OSError as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{path.name}: cannot be written ({reason}); choose another name") from error
    except BaseException:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; false where it is locked already."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear_litter(path: Path) -> None:
    """Remove drafts that no run holds any more."""
    mark = re.compile(rf"{re.escape(f'.{path.name}.')}[a-z0-9_]+\.part")
    for one in path.absolute().parent.iterdir():
        if mark.fullmatch(one.name) and one.is_file() and not one.is_symlink():
            with contextlib.suppress(OSError), one.open("rb") as file:
                if _lock(file.fileno()):
                    one.unlink()
