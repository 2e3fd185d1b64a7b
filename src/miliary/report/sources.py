"""Where the numbers of a page come from: a link, a hover text and a footnote for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from miliary.report.paths import Member, check_path


@dataclass(frozen=True)
class Place:
    """One place that numbers were read from: its number on the page, and the path in its part of a file."""

    number: int
    path: str


@dataclass(frozen=True)
class Footnote:
    """One footnote: its number, the file within the study folder, the part of the file, and its places."""

    number: int
    member: str
    part: str
    places: tuple[Place, ...] = ()


@dataclass
class Sources:
    """Collects where numbers were read from while a page is made.

    A footnote is for one part of one file, such as ``nodules`` of ``ct/baseline/scan.json``; it gets its
    number when it is first cited. Every number is a link to its own place in the list of footnotes, so that a
    keyboard or a finger reaches what hovering shows. A reference is written after a sentence, in brackets and
    behind a space: behind a number it would be copied as a further digit.

    Parameters
    ----------
    numbers : dict
        Number of each footnote by file and part.
    places : dict
        Number of each place by file and path.
    """

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    _recent: list[int] = field(default_factory=list)

    def cite(self, member: Member, path: str) -> int:
        """Number of the footnote for a path in a file of the study.

        Parameters
        ----------
        member : Member
        path : str
            Dotted path in the file; a colon and words behind it name a part of a list, as in
            ``assessments: tnm``.

        Returns
        -------
        int
            Counted from 1.

        Raises
        ------
        ValueError
            If the member's record has no such field.
        """
        check_path(member.record_type, path.partition(":")[0])
        return self.numbers.setdefault((member.path, _find_part(path)), len(self.numbers) + 1)

    def number(self, label: str, member: Member, path: str, *, note: bool = True) -> Markup:
        """Write a number as a link to its source, which is also shown on hover.

        Parameters
        ----------
        label : str
            The number as written on the page.
        member : Member
            The file that the number was read from.
        path : str
            Dotted path in the file, checked as by `check_path`.
        note : bool
            Keep the footnote for `take_notes`; False in a table, where the link is enough.

        Returns
        -------
        Markup
        """
        footnote = self.cite(member, path)
        if note:
            self._recent.append(footnote)
        place = self.places.setdefault((member.path, path), len(self.places) + 1)
        return Markup(
            '<a class="src" href="#s{2}"><data class="num" value="{0}" title="{1}">{0}</data></a>'
        ).format(label, f"{member.path}: {path}", place)

    def take_notes(self) -> Markup:
        """References of the numbers since the last call, each once, to stand behind their sentence."""
        found = list(dict.fromkeys(self._recent))
        self._recent.clear()
        return Markup("").join(_write_note(number) for number in found)

    def footnote(self, member: Member, path: str) -> Markup:
        """A reference by itself, behind a space, as for a caption."""
        return _write_note(self.cite(member, path))

    def list_footnotes(self) -> tuple[Footnote, ...]:
        """Every footnote so far, in the order of its number, with the places that belong to it."""
        places: dict[tuple[str, str], list[Place]] = {}
        for (member, path), number in self.places.items():
            part = _find_part(path)
            places.setdefault((member, part), []).append(
                Place(number, path.removeprefix(part).lstrip(".") or part)
            )
        return tuple(
            Footnote(number, member, part, tuple(places.get((member, part), ())))
            for (member, part), number in self.numbers.items()
        )


def _find_part(path: str) -> str:
    """The part of a file that a path lies in: its first step."""
    return path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]


def _write_note(number: int) -> Markup:
    return Markup(' <a class="note" href="#source-{0}">[{0}]</a>').format(number)


def join(parts: Iterable[str | Markup], between: str = ", ") -> Markup:
    """Join texts and markup; what is text gets escaped."""
    return Markup(escape(between)).join(parts)  # noqa: S704  just escaped
