"""Check the licenses of everything the locks name: no GPL or AGPL, LGPL only where listed here.

Run with the lock files as arguments, in the environment synced to them. Reads what each installed
distribution says of itself: the license expression, the license field and the classifiers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

# An LGPL dependency would be named here with the reason why it is fit to be linked; there is none.
LGPL_ALLOWED: dict[str, str] = {}

# Offered under several licenses of which one may be chosen: the one that is.
CHOSEN = {
    "pyphen": "Mozilla Public License 1.1",
    # The one part under the GPL, an Emacs mode, is not in the wheel; builds the site, is in no wheel of ours.
    "docutils": "Public Domain",
}

# Locked for another platform or Python only, so not installed to be asked.
NOT_HERE = {
    "appnope": "BSD-2-Clause, macOS only",
    "brotlicffi": "MIT, other Pythons than CPython",
    "colorama": "BSD-3-Clause, Windows only",
    "msgspec": "BSD-3-Clause, from Python 3.12",
}

_PINNED = re.compile(r"^([a-z0-9._-]+)==", re.MULTILINE)
_GPL = re.compile(r"(?<!L)(?<!LESSER )\bA?GPL|(?<!LESSER )GENERAL PUBLIC|AFFERO")
_LGPL = re.compile(r"LGPL|LESSER GENERAL PUBLIC")


def read_names(locks: Iterable[Path]) -> list[str]:
    """Names of the distributions pinned in the lock files."""
    return sorted({name for lock in locks for name in _PINNED.findall(lock.read_text())})


def read_license(dist: Distribution) -> str:
    """What a distribution says about its own license, on one line."""
    meta = dist.metadata
    said = [value for key in ("License-Expression", "License") for value in meta.get_all(key) or []]
    said += [c.split("::")[-1] for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    # Some put the whole text into the field: its title is enough.
    return "; ".join(" ".join(text.split())[:120] for text in said)


def judge_license(name: str, said: str) -> str | None:
    """The objection to a license, or None where there is none."""
    chosen = CHOSEN.get(name, "")
    if chosen and chosen in said:
        return None
    text = said.upper()
    if not said.strip():
        return f"{name}: says nothing about its license"
    if _LGPL.search(text) and name not in LGPL_ALLOWED:
        return f"{name}: LGPL and not listed in tools/check_licenses.py ({said})"
    if _GPL.search(_LGPL.sub("", text)):
        return f"{name}: GPL or AGPL ({said})"
    return None


def main(arguments: list[str]) -> int:
    """Print one line per objection; exit 1 where there is one."""
    names = read_names(Path(argument) for argument in arguments)
    objections = []
    for name in names:
        try:
            objection = judge_license(name, read_license(distribution(name)))
        except PackageNotFoundError:
            objection = None if name in NOT_HERE else f"{name}: locked but not installed"
        if objection:
            objections.append(objection)
    print("\n".join(objections) or f"{len(names)} locked distributions: no GPL, AGPL or unlisted LGPL")
    return 1 if objections or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
