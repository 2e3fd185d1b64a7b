"""How a process that measures one scan and ends treats memory."""

from __future__ import annotations

import ctypes
import gc
import platform

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_TOP_PAD_BYTES = 2**28


def keep_freed_memory() -> None:
    """Let this process keep what it frees, and count no references in circles, until it ends.

    One scan asks for arrays of 100 MB dozens of times. Handed back to the system each comes again page by
    page, cleared: a fifth of the processor time of a run. All threads take from one heap, or what one freed
    would be got from the system again for another. Does nothing where the C library is not glibc.
    """
    gc.disable()
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_TOP_PAD, _TOP_PAD_BYTES)
