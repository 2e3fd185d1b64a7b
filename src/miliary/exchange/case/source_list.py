"""The sources behind a case for a reference manager: RIS, BibTeX and CSL-JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from miliary.model.saved.case_summary import CitationSummary

# "Satoh H, et al. OncoTargets Ther 2021;14:2911-2915": authors, journal, year, volume, pages.
_ARTICLE = re.compile(
    r"(?P<authors>.+?)[,.] (?P<journal>[A-Z][\w .&-]*?) (?P<year>(?:19|20)\d{2});(?P<volume>\d+)"
    r"(?:\(\d+\))?(?::(?P<pages>[\w-]+))?"
)
_YEAR = re.compile(r"\b(?:19|20)\d{2}\b")
_DOI = re.compile(r"10\.\d{4,9}/[^\s,;]+")


def list_references(
    citations: Mapping[str, CitationSummary], sources: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """References in CSL-JSON.

    Parameters
    ----------
    citations : mapping of str to CitationSummary
        Sources of the rules, by their id.
    sources : iterable of str
        Sources that the case itself names.

    Returns
    -------
    list of dict
        The case's own first. What a text does not say in a form that can be told apart stays in ``title``.
    """
    own = [_read_reference(f"case-{n}", text, "") for n, text in enumerate(sources, start=1)]
    return own + [_read_reference(name, item.text, item.doi) for name, item in citations.items()]


def _read_reference(name: str, text: str, doi: str) -> dict[str, Any]:
    found = _ARTICLE.match(text)
    doi = doi or (match[0].rstrip(".") if (match := _DOI.search(text)) else "")
    year = found["year"] if found else (match[0] if (match := _YEAR.search(text)) else "")
    item: dict[str, Any] = {"id": name, "type": "article-journal" if found else "document"}
    if found:
        item |= {"author": [{"literal": found["authors"]}], "container-title": found["journal"]}
        item |= {"volume": found["volume"]} | ({"page": found["pages"]} if found["pages"] else {})
    item["title"] = text
    if year:
        item["issued"] = {"date-parts": [[int(year)]]}
    return item | ({"DOI": doi} if doi else {})


def render_references(items: Iterable[Mapping[str, Any]], style: str) -> str:
    """References as the text of a file.

    Parameters
    ----------
    items : iterable of mapping
        What `list_references` made.
    style : str
        ``ris``, ``bib`` or ``json``.

    Returns
    -------
    str
    """
    if style == "json":
        return json.dumps(list(items), indent=1, ensure_ascii=False) + "\n"
    render = _render_ris if style == "ris" else _render_bibtex
    return "\n".join(render(item) for item in items)


def _render_ris(item: Mapping[str, Any]) -> str:
    lines = [("TY", "JOUR" if item["type"] == "article-journal" else "GEN"), ("ID", item["id"])]
    lines += [("AU", author["literal"]) for author in item.get("author", ())]
    lines.append(("TI", item["title"]))
    fields = (("container-title", "JO"), ("volume", "VL"), ("page", "SP"), ("DOI", "DO"))
    lines += [(tag, item[name]) for name, tag in fields if name in item]
    lines += [("PY", _year(item))] if "issued" in item else []
    return "\n".join(f"{tag}  - {' '.join(str(value).split())}" for tag, value in (*lines, ("ER", ""))) + "\n"


def _render_bibtex(item: Mapping[str, Any]) -> str:
    kind = "article" if item["type"] == "article-journal" else "misc"
    fields = {"title": item["title"], "author": " and ".join(a["literal"] for a in item.get("author", ()))}
    names = (("container-title", "journal"), ("volume", "volume"), ("page", "pages"), ("DOI", "doi"))
    fields |= {name: str(item.get(key, "")) for key, name in names}
    fields |= {"year": _year(item)} if "issued" in item else {}
    body = "".join(f"  {name} = {{{_escape(value)}}},\n" for name, value in fields.items() if value)
    return f"@{kind}{{{item['id']},\n{body}}}\n"


def _year(item: Mapping[str, Any]) -> str:
    return str(item["issued"]["date-parts"][0][0])


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
