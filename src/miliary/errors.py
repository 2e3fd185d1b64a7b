"""Exceptions of the package.

::

    MiliaryError
    +-- InputError (ValueError)         a file, folder or parameter is not what is needed: exit code 2
    |   +-- ScanReadError               a scan cannot be read
    |   +-- ScanGeometryError           slices do not form one regular volume
    |   +-- NoLungsError                no lungs of plausible size in the field of view
    |   +-- OutputError                 a result folder cannot be written there
    |   +-- RecordError                 a saved result contradicts the types of its fields
    |   +-- CaseError                   a case file says something that cannot be
    |   +-- RuleError                   there are no such rules, or a rule file is damaged
    +-- RunCancelled                    the caller asked a run to stop
    +-- WeightsError (RuntimeError)     a packaged model file is damaged: a defect of the installation

A message is one line: what was found (naming the file or parameter), what was expected, what to do.
It never holds a patient's name, id, birth date, UID or an absolute path.
"""

from __future__ import annotations


class MiliaryError(Exception):
    """Root of every error raised on purpose by this package."""


class InputError(MiliaryError, ValueError):
    """Input that cannot be used; the message is meant for the user as it stands."""


class _ScanError(InputError):
    """Names files, whose names may hold anything: line ends, terminal codes, bytes that are no text."""

    def __init__(self, message: str = "") -> None:
        super().__init__(make_printable(message))


class ScanReadError(_ScanError):
    """A scan, or one file of it, cannot be read."""


class ScanGeometryError(_ScanError):
    """The slices read do not form one regular volume."""


def make_printable(text: str) -> str:
    """A text with `?` for every sign that is no printable one, as names of files may hold."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class NoLungsError(InputError):
    """No lungs of plausible size were found in the scan."""


class OutputError(InputError):
    """The place a result should go to cannot be used."""


class RecordError(InputError):
    """A saved result holds something else than its fields allow, or lacks what it cannot do without."""


class CaseError(InputError):
    """A case file cannot be read, or says something that cannot be."""


class RuleError(InputError):
    """There are no such rules, or a rule file breaks the rules for rule files."""


class RunCancelled(MiliaryError):  # noqa: N818  an event the caller asked for, no error
    """The caller asked a run to stop; what was to be written is as it was before."""


class WeightsError(MiliaryError, RuntimeError):
    """A model file of the package does not match its card."""
