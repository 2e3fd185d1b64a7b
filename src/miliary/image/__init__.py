"""Numerics on CT volumes: arrays and nouns in, arrays and nouns out; no files, no DICOM, no medicine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _provide_kernel_cache() -> None:
    """Give compiled kernels a place where neither the package nor the home folder can be written.

    numba keeps them beside the source or in the user's cache and refuses to load where it can do
    neither, as in a container with a read-only file system. NUMBA_CACHE_DIR, where set, is kept.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    while not home.exists():
        home = home.parent
    if not (os.access(Path(__file__).parent, os.W_OK) or os.access(home, os.W_OK)):
        user = os.getuid() if hasattr(os, "getuid") else "all"
        os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"miliary-kernels-{user}"))


_provide_kernel_cache()
