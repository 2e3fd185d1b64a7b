"""What a situation is: one input as people have it, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Situation:
    """One input and what must come of it.

    Parameters
    ----------
    text : str
        For the table of `docs/reading.md`.
    make : callable
        Takes an empty folder and returns what to read.
    warns : str
        Code of the warning that must be given; empty for none.
    refused : str
        Pattern of the message; empty where the scan is read.
    same : bool
        Whether the voxels read are those of the phantom (air outside the field of view apart).
    """

    text: str
    make: Callable[[Path], Path]
    warns: str = ""
    refused: str = ""
    same: bool = True
