"""The worked examples that come with the program."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from miliary.errors import InputError


def find_example(name: str) -> Path:
    """Folder of a worked example, in the installed package or in a checkout.

    Raises
    ------
    InputError
        If there is no example of this name.
    """
    package = Path(str(resources.files("miliary")))
    # A wheel holds the examples inside the package, a checkout beside its sources.
    for root in (package / "examples", package.parents[1] / "examples"):
        if (root / name / "case.yaml").is_file():
            return root / name
    raise InputError(f"{name}: no such example; reinstall the package")
