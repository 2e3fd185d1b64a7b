"""Random cases to FHIR and to phenopackets and back: what is lost, what is added, what the formats refuse.

``python -m validation.interchange 1000`` needs the model libraries of the development environment.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections import Counter
from typing import Any

from miliary.exchange.case.encode import find_lost, list_facts
from miliary.exchange.fhir.bundle import decode_fhir, encode_fhir
from miliary.exchange.phenopacket.packet import encode_phenopacket
from miliary.exchange.phenopacket.read_packet import decode_phenopacket
from miliary.exchange.phenopacket.required import find_missing
from miliary.model.case import Case
from validation.sound_cases import make_sound_cases

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def check_fhir(case: Case) -> Counter[str]:
    """Facts sent, lost and added, and refusals by the model library."""
    from fhirclient.models.bundle import Bundle

    bundle, named = encode_fhir(case)
    content: dict[str, Any] = json.loads(json.dumps(bundle, allow_nan=False))
    counts = Counter(facts=len(list_facts(case)), named=len(named))
    try:
        Bundle(content)
    except Exception:  # noqa: BLE001  every refusal counts
        counts["refused"] += 1
    again, _ = decode_fhir(content, name="bundle")
    return counts + _compare(case, again, named)


def check_phenopacket(case: Case) -> Counter[str]:
    """The same for a phenopacket, through its protocol buffers."""
    from google.protobuf.json_format import MessageToDict, ParseDict
    from phenopackets.schema.v2 import Phenopacket

    packet, named = encode_phenopacket(case, created=NOW, version="0")
    counts = Counter(facts=len(list_facts(case)), named=len(named), missing=len(find_missing(packet)))
    try:
        content = MessageToDict(ParseDict(packet, Phenopacket()))
    except Exception:  # noqa: BLE001  every refusal counts
        return counts + Counter(refused=1)
    again, _ = decode_phenopacket(content, name="packet")
    return counts + _compare(case, again, named)


def _compare(case: Case, again: Case, named: tuple[str, ...]) -> Counter[str]:
    lost, added = find_lost(case, again), set(list_facts(again)) - set(list_facts(case))
    return Counter(lost_unnamed=len(set(lost) - set(named)), added=len(added))


def main(arguments: list[str]) -> int:
    """Check so many random cases in both formats; 1 where a fact is lost unnamed, added, or refused."""
    number = int(arguments[0]) if arguments else 1000
    n_bad = 0
    for name, check in (("FHIR R4", check_fhir), ("Phenopacket v2", check_phenopacket)):
        counts = sum((check(case) for case in make_sound_cases(number)), Counter())
        bad = {key: counts[key] for key in ("lost_unnamed", "added", "refused", "missing")}
        n_bad += sum(bad.values())
        said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in bad.items())
        print(f"{name}: {number} cases, {counts['facts']} facts, {counts['named']} named as not held; {said}")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
