"""Several fields written as one, told apart ("80 mg OD", "ALK (D5F3)", "EML4-ALK"); numbers with a unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

import yaml

from miliary.exchange.case.record_words import find_unit, find_word
from miliary.model import case as nouns
from miliary.model.vocabulary import GENE_ALIASES, GENES, UNITS

_STR = "tag:yaml.org,2002:str"
Fields = dict[str, yaml.Node]

_DOSE = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_][\w/]*(?: ?/ ?[a-z0-9]+)?|%)?(?:[\s,;]+(.+))?\Z")
_GRAY = re.compile(
    r"(\d+(?:\.\d+)?)\s*gy\s*(?:/|in|,)?\s*(?:(\d+)\s*(?:fx|fr|fractions?|回)\.?)?\Z", re.IGNORECASE
)
_CYCLE = re.compile(
    r"(?:q|every)\s*(\d+)\s*(w|weeks?|wk|d|days?)\Z|(\d+)\s*-?\s*(weekly|weeks?|days?)\Z", re.IGNORECASE
)
_CLONE = re.compile(r"(.+?)\s*[(\[（]\s*(?:clone\s*)?([A-Za-z0-9-]*\d[A-Za-z0-9-]*)\s*[)\]）]\Z")
_FUSED = re.compile(r"([A-Z][A-Z0-9]+?)\s?(?:::|-|/)\s?([A-Z][A-Z0-9]+)\Z")
_DRIVERS = ("ALK", "ROS1", "RET", "NTRK1", "NTRK2", "NTRK3", "NRG1", "MET", "FGFR1", "FGFR2", "FGFR3", "BRAF")
_PACK_YEARS = re.compile(r"(.+?)(\d+(?:\.\d+)?)\s*(?:py|pack[- ]?years?)\s*\)?\Z", re.IGNORECASE)
_NTRK = re.compile(r"(PAN[- ]?)?N?TRK( ?1)?([-/, ]+(NTRK ?)?2)?([-/, ]+(NTRK ?)?3)\Z|(PAN[- ]?)?NTRK[S]?\Z")
# By the end of a field's name: the unit it is in and what others are of it.
_SCALES: Mapping[str, Mapping[str, float]] = {
    "_mm": {"mm": 1, "cm": 10, "m": 1000},
    "_cm": {"cm": 1, "m": 100, "mm": 0.1},
    "_kg": {"kg": 1, "g": 0.001},
    "_years": dict.fromkeys(("y", "yr", "yrs", "year", "years", "yo", "y/o", "歳", "才"), 1),
    "_percent": {"%": 1, "percent": 1},
    "_gy": {"gy": 1},
}


def read_number(text: str, name: str) -> str:
    """A number without the unit of its field.

    Parameters
    ----------
    text : str
        As in ``1.62 m``, ``58 kg``, ``60%``.
    name : str
        Name of the field, whose end names its unit, as in ``height_cm``.

    Returns
    -------
    str
        The number in the unit of the field; the text itself where it is no number with a unit known for it.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    found = re.match(r"([-+]?\d+(?:\.\d+)?)\s*([^\d\s.,]+(?:/o)?)\Z", plain)
    scales: Mapping[str, float] = next((s for end, s in _SCALES.items() if name.endswith(end)), {})
    if found and (factor := scales.get(found[2].casefold())):
        return f"{float(found[1]) * factor:.10g}"
    return plain


def split_fields(kind: type, given: Fields) -> None:
    """Tell apart what one field of a record holds of several; what is not understood stays as it is.

    Parameters
    ----------
    kind : type
        The record, of `miliary.model.case`.
    given : dict of str to Node
        Its fields as read; changed in place. A field that is given itself is never overwritten.
    """
    rule = _RULES.get(kind)
    if rule is not None:
        rule(given)


def _text(given: Fields, name: str) -> str:
    node = given.get(name)
    return unicodedata.normalize("NFKC", node.value).strip() if isinstance(node, yaml.ScalarNode) else ""


def _put(given: Fields, place: str, **words: str) -> bool:
    """Set fields at the line of another one, unless one of them says something else."""
    mark = given[place]
    if any(name in given and name != place and _text(given, name) != word for name, word in words.items()):
        return False
    for name, word in words.items():
        given[name] = yaml.ScalarNode(_STR, word, mark.start_mark, mark.end_mark)
    return True


def _split_treatment(given: Fields) -> None:
    if cycle := _CYCLE.match(_text(given, "cycle_days")):
        days = int(cycle[1] or cycle[3]) * (7 if (cycle[2] or cycle[4]).lower().startswith("w") else 1)
        _put(given, "cycle_days", cycle_days=str(days))
    dose = _text(given, "dose")
    if gray := _GRAY.match(dose):
        words = {"total_gy": gray[1]} | ({"fractions": gray[2]} if gray[2] else {})
        if _put(given, "dose", **words):
            del given["dose"]
    elif re.match(r"auc\s*=?\s*\d", dose, re.IGNORECASE):
        if _put(given, "dose", dose_text=dose):
            del given["dose"]
    elif (found := _DOSE.match(dose)) and found[2]:
        unit, times = find_unit(found[2].replace(" ", "")), found[3] or ""
        often = find_word("times_per_day", times) if times else None
        if unit not in UNITS or (times and often is None):
            return
        if "unit" in given and find_unit(_text(given, "unit")) == unit:
            unit = _text(given, "unit")
        _put(given, "dose", dose=found[1], unit=unit, **({"times_per_day": often} if often else {}))


def _split_stain(given: Fields) -> None:
    target = _text(given, "target")
    clone = _CLONE.match(target)
    if clone and "clone" not in given:
        _put(given, "target", target=clone[1], clone=clone[2])
        target = clone[1]
    if find_word("scored_stain", target) == "HER2":
        result = _text(given, "result").replace(" ", "").removeprefix("score")
        word = find_word("her2_score", result)
        if word and word != result.casefold():
            note = f"IHC {result}" if "note" not in given else _text(given, "note")
            _put(given, "result", result=word, note=note)
    if re.fullmatch(r"<\s*1(\.0)?\s*%?", _text(given, "tps_percent")) and "note" not in given:
        _put(given, "tps_percent", tps_percent="0", note="TPS below 1 %")


def _split_gene(given: Fields) -> None:
    symbol = " ".join(_text(given, "gene").upper().split())
    if not symbol or symbol in GENES or symbol in GENE_ALIASES or symbol.startswith("OTHER:"):
        if symbol in GENES:
            _put(given, "gene", gene=symbol)
        return
    plain = re.sub(r"[-\s]", "", symbol)
    fused = _FUSED.match(symbol)
    if plain in GENES or plain in GENE_ALIASES:
        _put(given, "gene", gene=plain)
    elif _NTRK.match(symbol):
        _put(given, "gene", gene="NTRK")
    elif fused:
        first, second = (GENE_ALIASES.get(part, part) for part in fused.groups())
        driver, partner = (second, first) if second in _DRIVERS else (first, second)
        if driver not in _DRIVERS or len(partner) < 3:
            return
        is_found = find_word("result", _text(given, "result")) == "positive"
        more = {"partner": partner} if is_found else {} if "alteration" in given else {"alteration": "fusion"}
        _put(given, "gene", gene=driver, **more)


def _split_patient(given: Fields) -> None:
    found = _PACK_YEARS.match(_text(given, "smoking"))
    status = find_word("smoking", found[1].strip(" ,;(")) if found else None
    if found and status:
        _put(given, "smoking", smoking=status, pack_years=found[2])


def _split_pattern(given: Fields) -> None:
    if find_word("countless", _text(given, "count")) and _put(given, "count", is_innumerable="yes"):
        del given["count"]


_RULES: Mapping[type, Callable[[Fields], None]] = {
    nouns.Patient: _split_patient,
    nouns.Treatment: _split_treatment,
    nouns.Immunostain: _split_stain,
    nouns.GeneResult: _split_gene,
    nouns.NodulePattern: _split_pattern,
}
