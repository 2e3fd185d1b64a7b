"""What every measuring command says while it runs, and the options for that."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click


class Progress:
    """Tells on standard error which stage runs and how long each took.

    Called with a stage's name when it starts; `finish` ends the last one.

    Parameters
    ----------
    style : str
        "quiet" says nothing, "json" writes JSON lines, "text" writes one line per stage.
    """

    def __init__(self, style: str) -> None:
        self._style = style
        self._name = ""
        self._start = 0.0
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        """Start a stage, ending the one before."""
        self.finish()
        self._name, self._start = name, time.perf_counter()
        if self._style == "json":
            self._write(json.dumps({"event": "start", "stage": name}) + "\n")
        elif self._style == "text" and sys.stderr.isatty():
            self._write(f"  {name} ...")

    def finish(self) -> None:
        """End the stage that runs, if one does."""
        if not self._name:
            return
        name, seconds = self._name, time.perf_counter() - self._start
        self._name = ""
        self.seconds[name] = seconds
        if self._style == "json":
            self._write(json.dumps({"event": "done", "stage": name, "seconds": round(seconds, 3)}) + "\n")
        elif self._style == "text":
            again = "\r" if sys.stderr.isatty() else ""
            self._write(f"{again}  {name:<22} {seconds:6.1f} s\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def output_options(command: Any) -> Any:
    """The options that every measuring command has."""
    command = click.option("--json", "as_json", is_flag=True, help="Progress and result as JSON.")(command)
    command = click.option("--quiet", is_flag=True, help="Say nothing but errors.")(command)
    return click.option(
        "--threads", type=click.IntRange(min=1), metavar="N", help="Threads to use; all cores by default."
    )(command)


def progress_style(*, quiet: bool, as_json: bool) -> str:
    """Style of `Progress` for the options of a command."""
    if quiet:
        return "quiet"
    return "json" if as_json else "text"
