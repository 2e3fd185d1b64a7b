"""Records in a clinician's words, with gaps, negations, synonyms, slips and contradictions.

``python -m validation.record_words 10000`` makes so many records with their truth, reads and assesses each,
and counts in both directions: known facts that no statement carries, statements that no fact carries, slips
that are not asked back, and structured facts that do not come out again. A second number is the first seed,
for runs in parts.
The words below were written for this check, not taken from the lists that the program reads.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from miliary.clinical.drugs.drug_names import find_drug
from miliary.clinical.record.diagnosis_words import find_status
from miliary.clinical.record.microbiology_words import find_test
from miliary.clinical.registry import assess_case
from miliary.errors import CaseError
from miliary.exchange.case.case_file import read_case_text
from miliary.exchange.case.record import summarize_record
from miliary.model.assessment import Assessment, Severity, Verdict
from miliary.model.case import Case
from validation.case_generator import find_invented

DIAGNOSES = {
    "adenocarcinoma": ("adenocarcinoma", "Lung adenocarcinoma", "肺腺癌", "pulmonary adenocarcinoma"),
    "squamous_cell_carcinoma": ("squamous cell carcinoma", "扁平上皮癌"),
    "small_cell_carcinoma": ("small cell carcinoma", "small-cell lung cancer", "小細胞癌"),
    "papillary_thyroid_carcinoma": ("papillary thyroid carcinoma", "甲状腺乳頭癌"),
    "renal_cell_carcinoma": ("renal cell carcinoma", "clear cell renal cell carcinoma", "腎細胞癌"),
    "melanoma": ("malignant melanoma", "melanoma", "悪性黒色腫"),
    "tuberculosis": ("tuberculosis", "結核"),
    "noncaseating_granuloma": ("noncaseating granulomas", "non-caseating granuloma"),
    "histoplasma": ("Histoplasma capsulatum", "histoplasmosis"),
    "silicosis": ("silicosis", "珪肺"),
    "sarcoidosis": ("sarcoidosis", "サルコイドーシス"),
}
TEMPLATES = {
    "confirmed": ("{}", "consistent with {} is not the wording; {}", "The biopsy showed {}.", "{}を認めた"),
    "negated": (
        "no evidence of {}",
        "negative for {}",
        "{} was not identified",
        "{}を認めない",
        "{} ruled out",
    ),
    "suspected": (
        "favor {}",
        "?{}",
        "{}を疑う",
        "suspicious for {}",
        "possible {}",
        "{}の疑い",
        "{} cannot be excluded",
    ),
    "not_this_tissue": ("history of {}", "{}の既往"),
}
SITES = {
    "brain": ("brain", "cerebral metastases", "脳"),
    "liver": ("liver", "hepatic", "肝転移"),
    "bone": ("bone", "spine", "rib", "骨転移", "L4 vertebra"),
    "adrenal": ("adrenal", "left adrenal gland", "副腎"),
    "M1a": ("malignant pleural effusion", "contralateral lung", "胸水", "pericardial effusion", "pleura"),
}
TESTS = {
    "tb_naat": ("GeneXpert MTB/RIF", "TB-PCR", "結核菌PCR", "Xpert Ultra"),
    "tb_culture": ("mycobacterial culture", "AFB culture", "抗酸菌培養"),
    "igra_quantiferon": ("QuantiFERON", "QFT-Plus"),
    "igra_tspot": ("T-SPOT.TB", "T-SPOT"),
    "histoplasma_antigen": ("Histoplasma antigen", "urine Histoplasma antigen"),
    "hiv": ("HIV test", "HIV antibody"),
}
VARIANTS = (
    *(("EGFR", name, "L858R") for name in ("L858R", "p.Leu858Arg", "c.2573T>G", "exon 21 L858R")),
    *(
        ("EGFR", name, "ex19del")
        for name in ("exon 19 deletion", "p.E746_A750del", "Ex19del", "エクソン19欠失")
    ),
    *(("EGFR", name, "T790M") for name in ("T790M", "p.Thr790Met")),
    *(("BRAF", name, "V600E") for name in ("V600E", "p.Val600Glu", "c.1799T>A")),
    *(("KRAS", name, "G12C") for name in ("G12C", "p.Gly12Cys", "c.34G>T")),
    *(("MET", name, "ex14") for name in ("exon 14 skipping", "MET ex14", "c.3028G>A")),
    *(("ALK", name, "fusion") for name in ("EML4-ALK", "rearrangement", "fusion", "融合")),
    *(("ROS1", name, "fusion") for name in ("CD74-ROS1", "translocation")),
    *(("RET", name, "fusion") for name in ("KIF5B-RET", "RET fusion")),
    *(("HER2", name, "ex20ins") for name in ("exon 20 insertion", "p.Y772_A775dup")),
)
DRUGS = {
    "alectinib": (("alectinib", "Alecensa", "アレセンサ", "alectinib hydrochloride"), 600, 2),
    "osimertinib": (("osimertinib", "Tagrisso", "タグリッソ", "AZD9291", "osimertinib mesylate"), 80, 1),
    "lorlatinib": (("lorlatinib", "Lorbrena", "ローブレナ"), 100, 1),
    "crizotinib": (("crizotinib", "Xalkori", "ザーコリ"), 250, 2),
    "brigatinib": (("brigatinib", "Alunbrig"), 180, 1),
    "gefitinib": (("gefitinib", "Iressa", "イレッサ"), 250, 1),
}
OTHER_DRUGS = (
    "carboplatin",
    "pemetrexed",
    "pembrolizumab",
    "Keytruda",
    "シスプラチン",
    "denosumab",
    "プレドニゾロン",
)
LABS = (  # name, value, unit, term and grade by CTCAE 5.0 without any range
    *(
        (name, 7.1, unit, "Hyperkalemia", 4)
        for name in ("K", "potassium", "カリウム")
        for unit in ("mmol/L", "mEq/l")
    ),
    *(
        (name, 900, unit, "Neutrophil count decreased", 3)
        for name in ("ANC", "好中球")
        for unit in ("/mm3", "/μL")
    ),
    *((name, 7.5, "g/dl", "Anemia", 3) for name in ("Hb", "hemoglobin", "ヘモグロビン")),
    *(
        (name, 4.5, unit, "Platelet count decreased", 3)
        for name in ("PLT", "血小板")
        for unit in ("10*4/uL", "万/μL")
    ),
    *((name, 310, "mg/dL", "Hypertriglyceridemia", 2) for name in ("triglycerides", "中性脂肪")),
    *((name, 505, "ms", "Electrocardiogram QT corrected interval prolonged", 3) for name in ("QTc", "QTcF")),
)
EVENTS = {
    "Pneumonitis": ("pneumonitis", "interstitial lung disease", "間質性肺炎"),
    "Diarrhea": ("diarrhea", "diarrhoea", "下痢"),
    "Nausea": ("nausea", "悪心"),
    "Paronychia": ("paronychia", "爪囲炎"),
    "Febrile neutropenia": ("febrile neutropenia", "発熱性好中球減少症"),
}
SYMPTOMS = {"cough": ("cough", "咳嗽"), "fever": ("fever", "pyrexia", "発熱"), "dyspnea": ("SOB", "息切れ")}
HISTORIES = {"bcg_instillation": ("intravesical BCG",), "corticosteroids": ("steroids", "ステロイド")}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "side and lobe": ({"staging": {"side": "left", "lobe": "RUL"}}, "tnm.side_and_lobe"),
    "solid and size": ({"staging": {"size_mm": 20, "solid_mm": 25}}, "tnm.solid_and_size"),
    "male and pregnant": (
        {"patient": {"sex": "male"}, "history": {"pregnancy": "present"}},
        "consistency.pregnancy_and_sex",
    ),
    "stop before start": (
        {"treatments": [{"id": "z", "name": "alectinib", "start": "day 9", "stop": "day 1"}]},
        "consistency.treatment_dates",
    ),
    "stage and size": (
        {"staging": {"size_mm": 60, "asserted": [{"tnm": "cT1aN0M0", "edition": "9"}]}},
        "tnm.asserted_t",
    ),
}


@dataclass
class Record:
    """A record and what is true of it; `expected` maps what must be said to a word of the family."""

    content: dict[str, Any]
    expected: list[tuple[str, Any]] = field(default_factory=list)
    slips: list[tuple[str, str, str]] = field(default_factory=list)  # family, word as slipped, word meant


def make_record(seed: int) -> Record:
    """One record; the same seed gives the same."""
    chance = random.Random(seed)  # noqa: S311  not for secrets
    record = Record({"schema_version": "1.0", "id": f"r{seed}"})
    record.content["studies"] = [{"id": "ct", "modality": "ct", "nodules": {"is_diffuse": "present"}}]
    for add in (
        _add_person,
        _add_tissue,
        _add_sites,
        _add_tests,
        _add_genes,
        _add_drugs,
        _add_labs,
        _add_events,
    ):
        if chance.random() < 0.7:
            add(record, chance)
    if chance.random() < 0.25:
        _add_contradiction(record, chance)
    return record


def _slip(word: str, chance: random.Random) -> str:
    """A word with two letters exchanged, one left out or one doubled."""
    place = chance.randrange(1, len(word) - 2)
    way = chance.randrange(3)
    if way == 0 and word[place] != word[place + 1]:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return (
        word[:place] + word[place + 1 :] if way == 1 else word[:place] + word[place] * 2 + word[place + 1 :]
    )


def _choose(record: Record, family: str, words: tuple[str, ...], chance: random.Random) -> tuple[str, bool]:
    """A spelling, and whether it is a slip; one in ten English words of six letters and more is one."""
    word = chance.choice(words)
    if word.isascii() and word.isalpha() and len(word) >= 6 and chance.random() < 0.1:
        slipped = _slip(word, chance)
        if slipped != word:
            record.slips.append((family, slipped, "diarrhea" if word == "diarrhoea" else word))
            return slipped, True
    return word, False


def _add_person(record: Record, chance: random.Random) -> None:
    patient: dict[str, Any] = {
        "age_years": chance.randrange(20, 90),
        "sex": chance.choice(("F", "female", "女性")),
    }
    patient["region"] = chance.choice(("US", "USA", "United States"))
    record.content["patient"] = patient
    for section, table in (("symptoms", SYMPTOMS), ("history", HISTORIES)):
        held = {}
        for name, words in table.items():
            if chance.random() < 0.5:
                state = chance.choice(("yes", "no", "present", "absent", "あり", "なし"))
                held[chance.choice(words)] = state
                is_there = "present" if state in ("yes", "present", "あり") else "absent"
                record.expected.append(("state", (section, name, is_there)))
        record.content[section] = held
    if chance.random() < 0.2:
        record.content["history"]["pregnant"] = "yes"
        record.expected.append(("pregnancy", None))


def _add_tissue(record: Record, chance: random.Random) -> None:
    entity, words = chance.choice(list(DIAGNOSES.items()))
    status, templates = chance.choice(list(TEMPLATES.items()))
    word, is_slip = _choose(record, "diagnosis", words, chance)
    usable = [t for t in templates if "wording" not in t and (word.isascii() or not t.isascii() or t == "{}")]
    text = chance.choice([t for t in usable if t.isascii() == word.isascii() or t == "{}"] or usable).format(
        word
    )
    record.content["specimens"] = [{"id": "s", "site": "lung", "procedure": "TBLB", "histology": text}]
    if not is_slip:
        truth = "confirmed" if text == word else status
        record.expected.append(("diagnosis", (entity, truth)))


def _add_sites(record: Record, chance: random.Random) -> None:
    systems = chance.sample(list(SITES), chance.choice((1, 1, 2)))
    mets, is_clean = [], True
    for number, system in enumerate(systems):
        word, is_slip = _choose(record, "site", SITES[system], chance)
        mets.append({"id": f"m{number}", "site": word, "count": "multiple"})
        is_clean = is_clean and not is_slip
    staging = {"primary": "present", "size_mm": 25, "metastases": mets, "metastases_assessed": True}
    record.content["staging"] = staging
    if is_clean:
        distant = [system for system in systems if system != "M1a"]
        record.expected.append(("m", "M1a" if not distant else "M1c1" if len(distant) == 1 else "M1c2"))


def _add_tests(record: Record, chance: random.Random) -> None:
    tests = []
    for number, (name, words) in enumerate(chance.sample(list(TESTS.items()), 2)):
        word, is_slip = _choose(record, "test", words, chance)
        result, truth = chance.choice((("pos", "positive"), ("陰性", "negative"), ("negative", "negative")))
        tests.append({"id": f"t{number}", "test": word, "result": result})
        if not is_slip:
            record.expected.append(("test", (name, truth)))
    record.content["microbiology"] = tests


def _add_genes(record: Record, chance: random.Random) -> None:
    gene, alteration, truth = chance.choice(VARIANTS)
    genes = [{"gene": gene, "result": "positive", "alteration": alteration}]
    if gene == "EGFR" and chance.random() < 0.2:
        genes[0]["alteration"] = "L8585R"
        record.slips.append(("alteration", "L8585R", "L858R"))
    else:
        record.expected.append(("driver", ("ERBB2" if gene == "HER2" else gene, truth)))
    other = chance.choice([g for g in ("EGFR", "ALK", "KRAS") if g != gene])
    genes.append({"gene": other, "result": chance.choice(("negative", "wild type", "陰性"))})
    record.expected.append(("no driver", other))
    record.content["molecular"] = [
        {"id": "p", "analytes": ["dna", "rna"], "material": "tissue", "genes": genes}
    ]


def _add_drugs(record: Record, chance: random.Random) -> None:
    drugs = []
    generic, (names, dose, times) = chance.choice(list(DRUGS.items()))
    word, is_slip = _choose(record, "drug", names, chance)
    start = {"start": "day 0", "unit": "mg", "region": "US"}
    often: Any = times if chance.random() < 0.5 else {1: "QD", 2: "BID"}[times]
    drugs.append({"id": "d0", "name": word, "dose": dose, "times_per_day": often, **start})
    if not is_slip:
        record.expected.append(("dose", ("d0", generic)))
    if chance.random() < 0.4:
        other, is_slip = _choose(record, "drug", OTHER_DRUGS, chance)
        drugs.append({"id": "d1", "name": other, "start": "day 300"})
        if not is_slip:
            record.expected.append(("known drug", other))
    record.content["treatments"] = drugs


def _add_labs(record: Record, chance: random.Random) -> None:
    labs = []
    for number, (name, value, unit, term, grade) in enumerate(chance.sample(LABS, 2)):
        labs.append({"id": f"l{number}", "analyte": name, "value": value, "unit": unit, "when": "day 30"})
        record.expected.append(("grade", (term, grade)))
    record.content["labs"] = labs


def _add_events(record: Record, chance: random.Random) -> None:
    term, words = chance.choice(list(EVENTS.items()))
    word, is_slip = _choose(record, "event", words, chance)
    grade = chance.choice((1, "G2", "grade 3"))
    record.content["adverse_events"] = [{"id": "e", "term": word, "grade": grade, "when": "day 40"}]
    if not is_slip:
        record.expected.append(("event", term))


def _add_contradiction(record: Record, chance: random.Random) -> None:
    facts, rule = chance.choice(list(CONTRADICTIONS.values()))
    for section, value in facts.items():
        if isinstance(value, dict):
            record.content[section] = {**record.content.get(section, {}), **value}
        else:
            record.content.setdefault(section, []).extend(value)
    if "staging" in facts:
        record.expected = [item for item in record.expected if item[0] != "m"]
    if facts.get("patient", {}).get("sex") == "male":
        record.expected.append(("pregnancy", None))
        record.content["history"] = {k: v for k, v in record.content["history"].items() if k != "pregnant"}
    record.expected.append(("contradiction", rule))


# --- what came of it ------------------------------------------------------------------------------------


def check_record(record: Record) -> tuple[Counter[str], list[str]]:
    """Counts of one record, and every fact ignored, statement unsupported or slip passed over, in words."""
    counts: Counter[str] = Counter(records=1)
    try:
        case = read_case_text(json.dumps(record.content, ensure_ascii=False))
    except CaseError as error:
        return counts, [f"not read: {error}"]
    found = assess_case(case)
    problems = [f"ignored: {item}" for item in record.expected if not _is_carried(item, case, found)]
    counts["facts"] = len(record.expected)
    problems += [f"unsupported: {words}" for words in _find_unsupported(record, case, found)]
    counts["statements"] = len(found)
    for family, slipped, meant in record.slips:
        counts["slips"] += 1
        asked = [a for a in found if a.severity is Severity.QUERY and slipped.lower() in a.statement.lower()]
        if not asked:
            problems.append(f"not asked back: {family} {slipped} for {meant}")
        elif not any(_names(meant, a) for a in asked):
            counts["slips without the word meant"] += 1
    problems += [f"not carried: {path}" for path in _find_lost(case)]
    counts["structured"] = sum(len(getattr(case, section)) for section in _CARRIED)
    return counts, problems


def _names(meant: str, assessment: Assessment) -> bool:
    words = f"{assessment.statement} {assessment.reason} {' '.join(assessment.values)}".lower()
    return meant.lower() in words or meant.lower().rstrip("s") in words


Found = tuple[Assessment, ...]


def _is_carried(item: tuple[str, Any], case: Case, found: Found) -> bool:
    kind, truth = item
    return _CHECKS[kind](truth, case, found)


def _by_rule(found: Found) -> dict[str, Assessment]:
    return {a.rule_id: a for a in found}


def _has_state(truth: Any, case: Case, _found: Found) -> bool:
    section, name, state = truth
    return {str(k): str(v) for k, v in getattr(case, section).items()}.get(name) == state


def _has_diagnosis(truth: Any, case: Case, _found: Found) -> bool:
    entity, status = truth
    return str(find_status(case.specimens[0].histology, (entity,))) == status


def _has_m(truth: Any, _case: Case, found: Found) -> bool:
    return any(a.rule_id == "tnm.m" and a.edition == "tnm 9" and truth in a.statement for a in found)


def _has_driver(truth: Any, _case: Case, found: Found) -> bool:
    gene, alteration = truth
    status = _by_rule(found).get(f"drivers.gene.{gene.lower()}")
    return status is not None and status.verdict is Verdict.MET and alteration in status.values


def _has_no_driver(truth: Any, _case: Case, found: Found) -> bool:
    status = _by_rule(found).get(f"drivers.gene.{truth.lower()}")
    return status is not None and status.verdict is not Verdict.MET


def _has_dose(truth: Any, case: Case, found: Found) -> bool:
    drug, generic = truth
    dose = _by_rule(found).get(f"therapy.dose.{drug}")
    known = next(t for t in case.treatments if t.id == drug)
    return dose is not None and dose.severity is Severity.INFO and find_drug(known) == generic


def _is_drug_known(truth: Any, _case: Case, found: Found) -> bool:
    return not any(a.rule_id == "words.unknown_drug" and truth in a.values for a in found)


def _has_grade(truth: Any, _case: Case, found: Found) -> bool:
    term, grade = truth
    grades = [a for a in found if a.rule_id == "ctcae.lab_grade" and a.statement.startswith(term)]
    return any(a.value == grade for a in grades)


def _has_event(truth: Any, _case: Case, found: Found) -> bool:
    return any(a.rule_id == "ctcae.event_grade" and a.statement.startswith(truth) for a in found)


def _has_pregnancy(_truth: Any, case: Case, found: Found) -> bool:
    named = [t.id for t in case.treatments if find_drug(t) in DRUGS]
    return all(f"therapy.pregnancy.{name}" in _by_rule(found) for name in named)


def _has_contradiction(truth: Any, _case: Case, found: Found) -> bool:
    return any(a.rule_id.startswith(truth) and a.severity is Severity.ERROR for a in found)


def _is_test_known(truth: Any, case: Case, _found: Found) -> bool:
    return any(find_test(t.test) == truth[0] and str(t.result) == truth[1] for t in case.microbiology)


_CHECKS: dict[str, Callable[[Any, Case, Found], bool]] = {
    "state": _has_state,
    "diagnosis": _has_diagnosis,
    "m": _has_m,
    "test": _is_test_known,
    "driver": _has_driver,
    "no driver": _has_no_driver,
    "dose": _has_dose,
    "known drug": _is_drug_known,
    "grade": _has_grade,
    "event": _has_event,
    "pregnancy": _has_pregnancy,
    "contradiction": _has_contradiction,
}


def _find_unsupported(record: Record, case: Case, found: Found) -> Iterator[str]:
    """Statements about what the record does not hold."""
    yield from find_invented(case, found)
    truth: dict[str, list[Any]] = {}
    for kind, value in record.expected:
        truth.setdefault(kind, []).append(value)
    positive = {gene.lower() for gene, _ in truth.get("driver", ())}
    if any(family == "alteration" for family, _, _ in record.slips):
        positive.add("egfr")  # the gene is positive whatever its alteration is called
    grades = {term for term, _ in truth.get("grade", ())}
    confirmed = {entity for entity, status in truth.get("diagnosis", ()) if status == "confirmed"}
    has_proof = bool(confirmed) or any(result == "positive" for _, result in truth.get("test", ()))
    for a in found:
        is_wrong = {
            "drivers.gene": a.verdict is Verdict.MET and a.rule_id.rpartition(".")[2] not in positive,
            "therapy.pregnancy": not truth.get("pregnancy"),
            "ctcae.lab_grade": a.statement.partition(":")[0] not in grades,
            "differential.lung_adenocarcinoma": _counts_for(a, "adenocarcinoma histology")
            and "adenocarcinoma" not in confirmed,
            "differential.ranking": a.statement.startswith("Settled") and not has_proof,
        }
        if any(a.rule_id.startswith(rule) and wrong for rule, wrong in is_wrong.items()):
            yield f"{a.rule_id}: {a.statement}"


def _counts_for(assessment: Assessment, finding: str) -> bool:
    """Whether a cause of the differential names a finding among what speaks for it."""
    return finding in assessment.statement.partition("for: ")[2].partition(";")[0].split(", ")


_CARRIED = ("studies", "specimens", "treatments", "adverse_events", "microbiology", "molecular", "labs")


def _find_lost(case: Case) -> Iterator[str]:
    """Items of the record that the result does not repeat."""
    summary = summarize_record(case)
    kept = {event.id for event in summary.events} | {lab.id for lab in summary.labs}
    for section in _CARRIED:
        yield from (f"{section}[{item.id}]" for item in getattr(case, section) if item.id not in kept)


def main(arguments: list[str]) -> int:
    """Make and check so many records; 1 if anything went wrong."""
    number = int(arguments[0]) if arguments else 1000
    first = int(arguments[1]) if len(arguments) > 1 else 0
    total: Counter[str] = Counter()
    for seed in range(first, first + number):
        try:
            counts, problems = check_record(make_record(seed))
        except Exception as error:  # noqa: BLE001  every kind of failure is counted
            counts, problems = Counter(records=1), [f"{type(error).__name__}: {error}"]
        total += counts
        for problem in problems:
            total[problem.partition(":")[0]] += 1
            print(f"seed {seed}: {problem}")
    print(", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    wrong = ("ignored", "unsupported", "not asked back", "not carried", "not read")
    return 1 if any(total[name] for name in wrong) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
