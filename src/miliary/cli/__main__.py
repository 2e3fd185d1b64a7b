"""`python -m miliary.cli`: the same as the program `miliary`."""

from __future__ import annotations

from miliary.cli.main import entry

if __name__ == "__main__":
    entry()
