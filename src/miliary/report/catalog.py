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
    """Texts of one language by key, ``section.name``."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **facts: object) -> str:
        """The text of a key, its ``{places}`` filled."""
        found = self.texts[key]
        return found.format(**facts) if facts else found

    def word(self, name: str) -> str:
        """A word of the vocabulary as a reader says it; as it stands where the catalog has none."""
        plain = str(name)
        return self.texts.get(f"word.{plain}", plain.replace("_", " "))

    def section(self, name: str) -> list[tuple[str, str]]:
        """Key and text of a whole section, in the file's order."""
        start = f"{name}."
        return [(key.removeprefix(start), text) for key, text in self.texts.items() if key.startswith(start)]


def load_catalog(language: str) -> Catalog:
    """The texts of one of `LANGUAGES`.

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
    """The file as it stands: section, name, language."""
    text = resources.files("miliary.report").joinpath("strings.toml").read_text("utf-8")
    return tomllib.loads(text)
