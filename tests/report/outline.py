"""What a page is made of, without its words: headings, panels, tables, pictures, in order."""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = {"p", "li", "td", "th", "h1", "h2", "h3", "dd", "dt", "caption", "div", "text", "figcaption", "span"}
VOID = {"meta", "img", "br", "input", "link", "hr"}
_ADDRESS = re.compile(r"(?i)\b(?:https?|ftp|wss?):|(?<![\w:.])//[\w-]")


class Page(HTMLParser):
    """Reads a page and keeps its skeleton, its addresses and whatever does not nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.lines: list[str] = []
        self.trouble: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self.feed(html)
        self.close()
        if self._open:
            self.trouble.append(f"never closed: {self._open}")

    def handle_starttag(self, tag, attrs):
        facts = {name: value or "" for name, value in attrs}
        self.tags.append((tag, facts))
        if tag == "section":
            self.lines.append(f"section {facts.get('id')}")
        elif tag in {"table", "details", "figure"}:
            self.lines.append(f"  {tag}")
        elif tag == "svg":
            self.lines.append(f"    svg {facts.get('class')}")
        elif tag == "img":
            self.lines.append(f"    img {facts['src'].partition(';')[0]}")
        if tag in BLOCKS:
            self.text.append(" ")
        if tag not in VOID:
            self._open.append(tag)
        if tag in {"h1", "h2", "h3"}:
            self._heading = tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if not self._open or self._open[-1] != tag:
            self.trouble.append(f"</{tag}> within {self._open[-3:]}")
        else:
            self._open.pop()
        if tag == self._heading:
            self._heading = ""

    def handle_data(self, data):
        if self._open and not {"style", "title", "sup"} & set(self._open):
            self.text.append(data)
        if self._heading and data.strip() and "sup" not in self._open:
            # How many queries there are is the rules' affair.
            self.lines.append(f"  {self._heading} {re.sub(r'[(][0-9]+[)]', '(n)', ' '.join(data.split()))}")

    def ids(self):
        """Every id, in order."""
        return [facts["id"] for _, facts in self.tags if "id" in facts]

    def addresses(self):
        """Everything that a browser might fetch or go to."""
        names = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "background")
        return [facts[name] for _, facts in self.tags for name in names if name in facts]


def find_network(html: str) -> list[str]:
    """Places of a page that name a host, namespaces of SVG aside."""
    bare = html.replace("http://www.w3.org/2000/svg", "")
    bare = re.sub(r'src="data:[^"]*"', "", bare)
    return _ADDRESS.findall(bare)
