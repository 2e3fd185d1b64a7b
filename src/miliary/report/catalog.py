"""The report's words in every language it speaks, from one file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

LANGUAGES = ("en", "ja")


@dataclass(frozen=True)
class Catalog:
    """Texts of the page in one language.

    Parameters
    ----------
    language : str
        One of `LANGUAGES`.
    texts : mapping of str to str
        By key, ``section.name`` as in ``strings.toml``; ``{words}`` in braces are filled in by the caller.
    """

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **facts: object) -> str:
        """The text of a key, with its words in braces replaced by `facts`.

        Raises
        ------
        KeyError
            If the catalog has no such key.
        """
        found = self.texts[key]
        return found.format(**facts) if facts else found

    def word(self, name: str) -> str:
        """A word of the vocabulary in the language of the page, or as saved where the catalog has none."""
        plain = str(name)
        return self.texts.get(f"word.{plain}", plain.replace("_", " "))

    def section(self, name: str) -> list[tuple[str, str]]:
        """Name and text of everything in one section of the file, in its order."""
        start = f"{name}."
        return [(key.removeprefix(start), text) for key, text in self.texts.items() if key.startswith(start)]


def load_catalog(language: str) -> Catalog:
    """Read the texts of one language.

    Parameters
    ----------
    language : str
        One of `LANGUAGES`.

    Returns
    -------
    Catalog

    Raises
    ------
    ValueError
        For another language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, found {language!r}")
    texts = {
        f"{section}.{name}": by_language[language]
        for section, entries in read_strings().items()
        for name, by_language in entries.items()
    }
    return Catalog(language, texts)


@cache
def read_strings() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """All texts as the file holds them: by section, name and language."""
    text = resources.files("miliary.report").joinpath("strings.toml").read_text("utf-8")
    return tomllib.loads(text)
