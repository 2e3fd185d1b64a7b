"""Run the command line as `python -m miliary.cli`."""

from miliary.cli.main import entry

entry()
