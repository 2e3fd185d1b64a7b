"""Where the numbers of a page come from: a hover text and a footnote for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from miliary.report.paths import Member, check_path


@dataclass(frozen=True)
class Footnote:
    """One footnote: its number, the file within the study folder, and the part of the file."""

    number: int
    member: str
    part: str


@dataclass
class Sources:
    """Collects where numbers were read from while a page is made.

    A footnote is for one part of one file, such as ``nodules`` of ``ct/baseline/scan.json``; it gets its
    number when it is first cited.

    Parameters
    ----------
    numbers : dict
        Number of each footnote by file and part.
    """

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

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
        part = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        return self.numbers.setdefault((member.path, part), len(self.numbers) + 1)

    def number(self, label: str, member: Member, path: str, *, note: bool = True) -> Markup:
        """Write a number with its source on hover.

        Parameters
        ----------
        label : str
            The number as written on the page.
        member : Member
            The file that the number was read from.
        path : str
            Dotted path in the file, checked as by `check_path`.
        note : bool
            Put a footnote behind the number; False in a table, where hovering is enough.

        Returns
        -------
        Markup
        """
        footnote = self.footnote(member, path)
        return Markup('<data class="num" value="{0}" title="{1}">{0}</data>{2}').format(
            label, f"{member.path}: {path}", footnote if note else ""
        )

    def footnote(self, member: Member, path: str) -> Markup:
        """A footnote by itself, as for a caption."""
        return Markup('<sup class="note"><a href="#source-{0}">{0}</a></sup>').format(self.cite(member, path))

    def list_footnotes(self) -> tuple[Footnote, ...]:
        """Every footnote so far, in the order of its number."""
        return tuple(Footnote(number, member, part) for (member, part), number in self.numbers.items())


def join(parts: Iterable[str | Markup], between: str = ", ") -> Markup:
    """Join texts and markup; what is text gets escaped."""
    return Markup(escape(between)).join(parts)  # noqa: S704  just escaped
