"""The text of a PDF that Chromium printed, sheet by sheet, with the standard library only.

Reads what Skia writes: objects one by one, streams compressed by Flate, fonts with a ToUnicode map. A reader
of the whole format is not needed to find words on a sheet.
"""

from __future__ import annotations

import re
import zlib

_OBJECT = re.compile(rb"\n(\d+) 0 obj\s")
_ENDS = re.compile(rb"stream\r?\n|endobj")
# A font, glyphs, a move within the line (Skia places every glyph), or a new line.
_SHOWN = re.compile(
    rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]*)>|([-\d.]+ 0 Td)|([-\d.]+ [-\d.]+ Td|(?:[-\d.]+ ){6}Tm|T\*|ET)"
)


def read_sheets(data: bytes) -> list[str]:
    """The text of every sheet, in the order in which it was drawn; runs are joined by spaces."""
    objects = _split(data)
    sheets = []
    for number in _list_pages(objects):
        page = objects[number]
        fonts = _read_fonts(page, objects)
        contents = [int(n) for n in re.findall(rb"/Contents (\d+) 0 R", page)]
        sheets.append(" ".join(_read_runs(_inflate(objects[n]), fonts) for n in contents))
    return sheets


def _split(data: bytes) -> dict[int, bytes]:
    """Objects by number; what a stream holds may look like anything, so its stated length is kept to."""
    objects: dict[int, bytes] = {}
    place = 0
    while found := _OBJECT.search(data, place):
        end = _ENDS.search(data, found.end())
        assert end is not None
        place = end.end()
        if end[0] != b"endobj":
            length = re.search(rb"/Length (\d+)", data[found.end() : end.start()])
            assert length is not None
            place += int(length[1])
        objects[int(found[1])] = data[found.end() : place]
    return objects


def _list_pages(objects: dict[int, bytes]) -> list[int]:
    """Numbers of the pages in their order."""
    root = next(n for n, o in objects.items() if b"/Type /Pages" in o and b"/Parent" not in o)
    pages: list[int] = []
    waiting = [root]
    while waiting:
        number = waiting.pop(0)
        kids = re.search(rb"/Kids \[(.*?)\]", objects[number], re.DOTALL)
        if kids is None:
            pages.append(number)
        else:
            waiting[:0] = [int(n) for n in re.findall(rb"(\d+) 0 R", kids[1])]
    return pages


def _inflate(content: bytes) -> bytes:
    head, _, stream = content.partition(b"stream")
    stream = stream.removeprefix(b"\r").removeprefix(b"\n")
    return zlib.decompress(stream) if b"/FlateDecode" in head else stream


def _read_fonts(page: bytes, objects: dict[int, bytes]) -> dict[bytes, dict[int, str]]:
    """Characters of the glyphs of each font that a page names."""
    fonts = {}
    named = re.search(rb"/Font\s*<<(.*?)>>", page, re.DOTALL)
    for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", named[1] if named else b""):
        unicode_map = re.search(rb"/ToUnicode (\d+) 0 R", objects[int(number)])
        fonts[name] = _read_map(_inflate(objects[int(unicode_map[1])])) if unicode_map else {}
    return fonts


def _read_map(text: bytes) -> dict[int, str]:
    """Glyph to character, from the single entries and the ranges of a ToUnicode map."""
    found = {}
    for block in re.findall(rb"beginbfchar(.*?)endbfchar", text, re.DOTALL):
        for glyph, char in re.findall(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
            found[int(glyph, 16)] = _decode(char)
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", text, re.DOTALL):
        for first, last, char in re.findall(
            rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block
        ):
            start = int(char, 16)
            for glyph in range(int(first, 16), int(last, 16) + 1):
                found[glyph] = chr(start + glyph - int(first, 16))
    return found


def _decode(char: bytes) -> str:
    return bytes.fromhex(char.decode()).decode("utf-16-be")


def _read_runs(content: bytes, fonts: dict[bytes, dict[int, str]]) -> str:
    """Texts of a content stream; a new line begins a new word."""
    glyphs: dict[int, str] = {}
    parts: list[str] = []
    for font, shown, _within, line in (m.groups() for m in _SHOWN.finditer(content)):
        if font:
            glyphs = fonts.get(font, {})
        elif shown:
            codes = [int(shown[i : i + 4], 16) for i in range(0, len(shown), 4)]
            parts.append("".join(glyphs.get(code, "") for code in codes))
        elif line:
            parts.append(" ")
    return " ".join("".join(parts).split())
