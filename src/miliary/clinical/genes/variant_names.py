"""Variants by any of their names: HGVS of protein (p.) and coding DNA (c.), exon words, fusions.

Which change is which target stands in ``rules/variants``. MET exon 14 is skipped by many changes at its
splice sites, which only a pattern can name; the exon is that of NM_000245, ended by D1010 and c.3028.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from miliary.clinical.rulebook import find_rules

_THREE_LETTERS = (
    {"ala": "A", "arg": "R", "asn": "N", "asp": "D", "cys": "C", "gln": "Q", "glu": "E", "gly": "G"}
    | {"his": "H", "ile": "I", "leu": "L", "lys": "K", "met": "M", "phe": "F", "pro": "P", "ser": "S"}
    | {"thr": "T", "trp": "W", "tyr": "Y", "val": "V", "ter": "*"}
)
_JAPANESE = {
    **dict.fromkeys(("エクソン", "エキソン"), "exon"),
    **dict.fromkeys(("点突然変異", "変異"), "mutation"),
    **dict.fromkeys(("融合", "転座", "再構成"), "fusion"),
    **dict.fromkeys(("過剰発現", "高発現"), "overexpression"),
    "増幅": "amplification",
    "欠失": "del",
    "挿入": "ins",
    "スキッピング": "skipping",
    "遺伝子": "",
}
_PROTEIN = re.compile(r"(?<![A-Z0-9])([A-Z])(\d+)(?:_([A-Z])(\d+))?(DELINS|DEL|INS|DUP|>)?([A-Z*]*)")
_DNA = re.compile(r"C\.(\d+)(?:_(\d+))?(?:[ACGT]+)?(DELINS|DEL|INS|DUP)([ACGT]*)")
# Of MET in both transcripts in use: exon 14 is c.2888-3028 in NM_000245 and c.2942-3082 in NM_001127500.
_SPLICE_MET = re.compile(r"C\.((?:3028|3082)[+ACGT]|(?:2888|2942)-|(?:3028|3082)_|(?:28|29)\d\d(-\d+)?_)")
_EXON_14_ENDS = (1010, 1028)
_AND = re.compile(r"&|\band\b|\s\+\s|(?<=[A-Za-z])\+(?=[A-Z]\d)")
# "no V600E", "T790M not detected", "wild type", "none": what was looked for and is not there.
_DENIED = re.compile(
    r"\b(no|not|non[- ]?detect\w*|none|nil|without|absent|absence|lacks?|lacking|neither|nor|never|neg"
    r"|negative|undetect\w*|excluded|wild[- ]?type|wt|unmutated|normal)\b"
    r"(?! (specified|stated|reported|given|otherwise|known))"
    r"|\A\s*[-\u2013\u2212]\s*\Z"
    r"|なし|無し|認めず|認めない|陰性|検出せず|検出されず|検出限界未満|野生型|ない\Z",
    re.IGNORECASE,
)
_NAMES_NOTHING = re.compile(
    r"(unknown|unspecified|not (otherwise )?(specified|stated|reported|given|known)|n/?a|nos|\?|pending"
    r"|positive|detected|yes|present|不明|陽性|あり|検出)\Z",
    re.IGNORECASE,
)
# "non-V600E" is a class of its own: every other change of that gene.
_OTHER_THAN = re.compile(r"\bnon[-\s]?(?=[A-Z]\d+[A-Z])", re.IGNORECASE)
# Exons joined, as in "E13;A20" of EML4 and ALK; a variant by its number is one of the fusion EML4-ALK.
_JOINED = re.compile(r"\b[A-Z]{1,6}\d{1,2}[a-z]?\s?[;:]\s?(?:ALK|ROS1|RET|A|R)\d{1,2}\b")
_EML4_VARIANT = re.compile(r"v(?:ariant)?\.?\d[abc]?(?:/[abc])?\Z")
_FUSED = ("ALK", "ROS1", "RET", "NTRK", "NTRK1", "NTRK2", "NTRK3", "NRG1")
_DELETED_FIRST = re.compile(r"\bDEL\s?([A-Z])(\d+)[-_]([A-Z])?(\d+)")


def read_variants(text: str, gene: str) -> tuple[str, ...]:
    """The targets and variants that a recorded alteration names.

    Parameters
    ----------
    text : str
        As recorded, such as ``p.E746_A750del``, ``c.2573T>G``, ``exon 20 insertion``, ``EML4::ALK``; several
        may be separated by a comma, a semicolon, "and" or a plus sign between spaces.
    gene : str
        Symbol of the gene as in the rule file.

    Returns
    -------
    tuple of str
        In the words of the rule file where they have one, as in ``ex19del``, ``G719X``, ``fusion``,
        ``amplification``; otherwise the recorded words in upper case without spaces. Without what the text
        denies, as in ``no T790M``; empty for empty text.
    """
    if gene in _FUSED and _JOINED.search(text) and not any(denied for _, denied in list_parts(text)):
        return ("fusion",)
    parts = [part for part, is_denied in list_parts(text) if not is_denied]
    return tuple(dict.fromkeys(_read_variant(part, gene) for part in parts if not _NAMES_NOTHING.match(part)))


def list_parts(text: str) -> tuple[tuple[str, bool], ...]:
    """The alterations that a text lists, and which of them it denies.

    Parameters
    ----------
    text : str
        As in ``L858R, no T790M``; a denial holds to the next comma or semicolon, or to "but".

    Returns
    -------
    tuple of (str, bool)
        Words and True where they are denied, as in ``no T790M``, ``wild type``, ``not detected``.
    """
    text = re.sub(r"([A-Z]\d{1,4}[A-Z])/(?=[A-Z]\d)", r"\1;", text)
    text = re.sub(r"(?<=\d)\s?;\s?(?=(?:ALK|ROS1|RET|A|R)\d)", ":", text)  # two exons joined are one part
    found = []
    for clause in re.split(r"[,;、，；]|\bbut\b", text):
        is_denied = bool(_DENIED.search(unicodedata.normalize("NFKC", clause)))
        parts = (clause,) if is_denied else _AND.split(clause)
        found += [(part.strip(), is_denied) for part in parts if part.strip()]
    return tuple(found)


def _read_variant(text: str, gene: str) -> str:
    for japanese, english in _JAPANESE.items():
        text = text.replace(japanese, english)
    if _OTHER_THAN.search(text):
        return " ".join(text.split())
    plain = text.lower().replace(" ", "")
    if re.search(rf"[\w)]\s?[-/]\s?{gene.lower()}\d*(?![a-z0-9])", text.lower()):
        return "fusion"
    if gene in _FUSED and re.match(rf"{gene.lower()}\d*[-/:]+[a-z]{{2}}\w*\d", plain):
        return "fusion"
    if gene == "ALK" and _EML4_VARIANT.match(plain):
        return "fusion"
    for row in find_rules("variants").rows("alteration"):
        if any(word in plain for word in row["words"]):
            return row.id
    upper = _shorten_residues(plain).upper()
    spaced = _shorten_residues(text.lower()).upper()
    found = next(
        (name for name in (*_read_names(upper, plain, gene), *_read_spaced(spaced, gene)) if name), ""
    )
    return found or re.sub(r"P\.|[()-]", "", upper).replace("EXON", "EX")


def _shorten_residues(text: str) -> str:
    """Amino acids of three letters, next to a number or a change, in one letter."""
    names = "|".join(_THREE_LETTERS)
    pattern = rf"({names})(?=\d|$|[^a-z]|{names}|fs)"
    if not re.search(rf"({names})\d", text):
        return text
    return re.sub(pattern, lambda match: _THREE_LETTERS[match[1]].lower(), text)


def _read_names(upper: str, plain: str, gene: str) -> Iterator[str]:
    """Ways of reading one name, the most precise first; empty where one does not apply."""
    changes = (row for row in find_rules("variants").rows("coding_change") if row["gene"] == gene)
    yield next((row["name"] for row in changes if f"C.{row['change']}" in upper), "")
    yield _read_coding_change(upper, gene)
    yield _read_protein_change(upper, gene)
    yield _read_exon_words(plain, gene)


def _read_spaced(spaced: str, gene: str) -> Iterator[str]:
    """Names that end at a space, as ``L858R point mutation``, or begin with the change, as ``del E746``."""
    match = _DELETED_FIRST.search(spaced)
    if match:
        yield _name_by_exon(gene, int(match[2]), int(match[4]), "DEL", 0)
    yield _read_protein_change(spaced, gene)


def _read_coding_change(upper: str, gene: str) -> str:
    if gene == "MET" and _SPLICE_MET.search(upper):
        return "ex14"
    match = _DNA.search(upper)
    if match is None:
        return ""
    first, last = int(match[1]), int(match[2] or match[1])
    removed = last - first + 1 if match[3] in ("DEL", "DELINS") else 0
    return _name_by_exon(gene, (first + 2) // 3, (last + 2) // 3, match[3], len(match[4]) - removed)


def _read_protein_change(upper: str, gene: str) -> str:
    bare = re.sub(rf"EX(ON)?\d+|{gene}|MUTATION|SUBSTITUTION|VARIANT|P\.|[():]", " ", upper)
    for match in _PROTEIN.finditer(bare):
        first, last = int(match[2]), int(match[4] or match[2])
        kind, after = (match[5] or "").replace(">", "DELINS"), match[6]
        if kind in ("DEL", "DELINS", "INS", "DUP"):
            added = len(after) - (last - first + 1 if kind == "DELINS" else 0)
            name = _name_by_exon(gene, first, last, kind, added)
            if name:
                return name
        elif gene == "EGFR" and match[1] + match[2] == "G719" and after != "*":
            return "G719X"
        elif gene == "MET" and first in _EXON_14_ENDS and match[1] == "D":
            return "ex14"
        elif len(after) == 1 and first > 1:
            return match[1] + match[2] + after
    return ""


def _name_by_exon(gene: str, first: int, last: int, kind: str, added: int) -> str:
    """The target that a change is one of by its codons; a net gain of residues is an insertion."""
    is_deletion = kind in ("DEL", "DELINS")
    is_insertion = kind in ("INS", "DUP") or (kind == "DELINS" and added > 0)
    for row in find_rules("variants").rows("exon_target"):
        is_inside = row["gene"] == gene and row["first_codon"] <= first and last <= row["last_codon"]
        if is_inside and (is_deletion if row["change"] == "deletion" else is_insertion):
            return str(row["name"])
    return ""


def _read_exon_words(plain: str, gene: str) -> str:
    words = re.sub(r"[-_().]", "", plain).replace("exon", "ex")
    if gene == "MET" and re.search(r"(ex|\u03b4|\u0394)14", words):
        return "ex14"
    if re.search(r"(ex|e)?19del|del(etion)?s?(of|in)?(ex|e)?19|ex19.*del", words):
        return "ex19del"
    if re.search(r"(ex|e)?20ins|ins(ertion)?s?(of|in)?(ex|e)?20|ex20.*ins", words):
        return "ex20ins"
    if gene == "ERBB2" and "yvma" in words:
        return "ex20ins"
    return ""
