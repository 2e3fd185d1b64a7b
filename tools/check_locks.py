"""Check that the locks are pinned, hashed and name no host: exit 1 and say which line is not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "requirements"
PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*==\S+( ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def find_faults(text: str) -> list[str]:
    """Lines of a lock that are neither a pinned requirement nor a hash."""
    return [
        f"line {number}: {line}"
        for number, line in enumerate(text.splitlines(), start=1)
        if not (PIN.match(line) or HASH.match(line))
    ]


def main() -> int:
    """Check every lock of the folder."""
    locks = sorted(FOLDER.glob("*.txt"))
    faults = [f"{lock.name}, {fault}" for lock in locks for fault in find_faults(lock.read_text())]
    print("\n".join(faults) or f"{len(locks)} locks: pinned, hashed, no host named")
    return 1 if faults or not locks else 0


if __name__ == "__main__":
    sys.exit(main())
