"""The command line: arguments -> workflow -> print.

Progress goes to standard error, the result to standard output. Exit codes: 0 done, 2 bad input or
usage, 130 interrupted, 1 a defect of ours. Libraries are loaded by the command that needs them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from miliary import __version__
from miliary.cli.case_commands import case
from miliary.cli.compare_command import compare
from miliary.cli.ct_command import ct
from miliary.cli.demo_command import demo
from miliary.cli.doctor_command import doctor
from miliary.cli.memory import keep_freed_memory
from miliary.cli.report_command import report
from miliary.cli.rules_commands import rules
from miliary.cli.simulate_command import simulate
from miliary.cli.study_command import study
from miliary.cli.view_command import view
from miliary.cli.vocabulary_command import vocabulary
from miliary.errors import InputError, MiliaryError

EXIT_DEFECT, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="miliary", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure miliary lung disease on chest CT."""


for command in (ct, compare, study, simulate, report, rules, case, vocabulary, demo, view, doctor):
    cli.add_command(command)


def _on_terminate(_signal: int, _frame: object) -> NoReturn:
    """Let a polite kill clean up as Ctrl-C does."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and say how it went.

    Parameters
    ----------
    arguments : sequence of str, optional
        `sys.argv` without the program by default.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input or usage, 130 interrupted, 1 a defect of ours.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    try:
        code = cli.main(args=arguments, prog_name="miliary", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_INPUT
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "miliary"
        return _fail(f"{error.format_message()} See '{command} --help'.", EXIT_INPUT, arguments)
    except MiliaryError as error:
        return _fail(str(error), EXIT_INPUT if isinstance(error, InputError) else EXIT_DEFECT, arguments)
    except (click.Abort, KeyboardInterrupt) as error:
        # click hides what a command said of the interrupt behind an error of its own.
        message = str(error.__cause__ or error) or "interrupted; nothing was written"
        return _fail(message, EXIT_INTERRUPTED, arguments)
    except Exception as error:  # noqa: BLE001  the last net: no traceback reaches a user
        if isinstance(error, OSError) and _is_of_output(error):
            return _fail(_give_up_output(error), EXIT_INPUT, arguments)
        return _fail(_describe_defect(error), EXIT_DEFECT, arguments)
    return code if isinstance(code, int) else 0


def _open_closed_streams() -> None:
    """Let what is printed go nowhere where a stream was closed before the start (`>&-`, no console)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  open to the end


def _is_of_output(error: OSError) -> bool:
    """Whether standard output could not be written: printing is all that the command line does itself."""
    frames = traceback.extract_tb(error.__traceback__)
    place = Path(frames[-1].filename) if frames else Path()
    return "cli" in place.parts or "click" in place.parts


def _give_up_output(error: OSError) -> str:
    """Close standard output, which takes nothing more, and say so."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    reason = (error.strerror or type(error).__name__).lower()
    return (
        f"standard output cannot be written ({reason}); what was to be saved is saved, see the output folder"
    )


def _fail(message: str, code: int, arguments: Sequence[str]) -> int:
    """One line on standard error, in the form that was asked for."""
    if os.environ.get("MILIARY_DEBUG") == "1":
        traceback.print_exc()
    line = " ".join(message.split())
    if "--json" in arguments:
        line = json.dumps({"event": "error", "message": line, "exit_code": code}, ensure_ascii=False)
    else:
        # A stage may have left its name on the line.
        line = ("\r" if sys.stderr.isatty() else "") + f"miliary: error: {line}"
    print(line, file=sys.stderr)
    return code


def _describe_defect(error: Exception) -> str:
    """Where it broke, without its text: that may quote a file's content or path."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else "an unknown place"
    if isinstance(error, MemoryError):
        return f"not enough memory (in {place}); close other programs or use a smaller scan"
    return (
        f"a defect of miliary: {type(error).__name__} in {place}; "
        "set MILIARY_DEBUG=1 to see the details, and please report it"
    )


def entry() -> NoReturn:
    """The `miliary` program."""
    signal.signal(signal.SIGTERM, _on_terminate)
    # Libraries' warnings may quote values of a header; what matters is in the result's own warnings.
    warnings.simplefilter("ignore")
    keep_freed_memory()
    sys.exit(main())


if __name__ == "__main__":
    entry()
