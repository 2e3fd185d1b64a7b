"""What every run has: stages that are reported as they start, a way to stop, and a number of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from miliary.errors import RunCancelled

StageCallback = Callable[[str], None]
CancelCheck = Callable[[], bool]


class StageReporter:
    """Reports each stage as it starts, times it, and stops the run where the caller asks.

    Parameters
    ----------
    progress : callable, optional
        Called with the name of each stage as it starts. What it raises ends the run and reaches the caller.
    cancel : callable, optional
        Asked without arguments as each stage starts; true ends the run with `RunCancelled`.
    """

    def __init__(self, progress: StageCallback | None = None, cancel: CancelCheck | None = None) -> None:
        self._progress, self._cancel = progress, cancel
        self._name, self._start = "", 0.0
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        """Start a stage, ending the one before.

        Raises
        ------
        RunCancelled
            The caller asked the run to stop.
        """
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = now - self._start
        self._name, self._start = name, now
        self.check_cancelled()
        if self._progress is not None:
            self._progress(name)

    def check_cancelled(self) -> None:
        """Stop here where the caller asked for it.

        Raises
        ------
        RunCancelled
            The caller asked the run to stop.
        """
        if self._cancel is not None and self._cancel():
            raise RunCancelled("the run was cancelled; nothing of the unfinished part was written")


def count_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
