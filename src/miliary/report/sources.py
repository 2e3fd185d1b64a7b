"""Where the numbers of a page come from: a hover and a footnote for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup, escape


@dataclass
class Sources:
    """Collects the places that numbers were read from while a page is made.

    A place is a member of the study and a part of it, as ``ct/baseline/scan.json`` and ``nodules``; it gets
    its footnote when it is first cited.
    """

    places: dict[tuple[str, str], int] = field(default_factory=dict)

    def cite(self, member: str, name: str) -> int:
        """Number of the footnote of a place."""
        place = (member, name.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0])
        return self.places.setdefault(place, len(self.places) + 1)

    def number(self, shown: str, member: str, name: str, *, note: bool = True) -> Markup:
        """A number with its place on hover and, unless its table cites it, a footnote."""
        mark = Markup("")
        number = self.cite(member, name)
        if note:
            mark = Markup('<sup class="note"><a href="#source-{0}">{0}</a></sup>').format(number)
        return Markup('<data class="num" value="{0}" title="{1}">{0}</data>{2}').format(
            shown, f"{member}: {name}", mark
        )

    def footnote(self, member: str, name: str) -> Markup:
        """A footnote by itself, for a caption."""
        return Markup('<sup class="note"><a href="#source-{0}">{0}</a></sup>').format(self.cite(member, name))

    def listed(self) -> list[tuple[int, str, str]]:
        """Number, member and part of every place cited."""
        return [(number, member, name) for (member, name), number in self.places.items()]


def join(parts: list[str | Markup], between: str = ", ") -> Markup:
    """Texts and markup side by side, what is text escaped."""
    return Markup(escape(between)).join(parts)  # noqa: S704  just escaped
