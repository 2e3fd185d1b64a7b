"""The case as files: `case.yaml`, `labs.csv` beside it, and the folder that `miliary case run` writes."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from miliary.errors import CaseError, OutputError
from miliary.exchange.case.decode import Decoder, Problem, TooManyProblemsError, suggest
from miliary.exchange.case.lab_table import LAB_COLUMNS, count_known_words, decode_lab_table
from miliary.exchange.case.record_words import (
    find_analyte_word,
    find_nearest_words,
    find_unit,
    find_word,
    fold_word,
    list_meanings,
    load_record_words,
    spell_words,
)
from miliary.model.case import Case, LabResult, MicrobiologyResult
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.vocabulary import (
    ANALYTES,
    CLAIM_KINDS,
    GENE_ALIASES,
    GENES,
    UNIT_SPELLINGS,
    UNITS,
    Result,
)

CASE_NAME, LABS_NAME = "case.yaml", "labs.csv"
_MAX_BYTES = 2_000_000
# A case has lists within records within lists; brackets deeper than this are none.
_DEEPEST = 40
_LONGEST_LINE = 2000  # the longest list of known words is printed whole
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_SECTIONS = ("studies", "lesions", "specimens", "immunostains", "molecular", "microbiology", "labs")
_MORE_SECTIONS = ("treatments", "adverse_events", "responses", "claims")


def read_case(path: str | Path) -> Case:
    """The case of a folder with `case.yaml` (and `labs.csv`), or of one YAML file.

    Parameters
    ----------
    path : path
        A folder or a file.

    Returns
    -------
    Case

    Raises
    ------
    CaseError
        One line for the first problem, with file, line and field, and how many more there are.
    """
    case, problems = inspect_case(path)
    if case is None or problems:
        more = f" (and {len(problems) - 1} more: see 'miliary case check')" if len(problems) > 1 else ""
        raise CaseError(problems[0] + more)
    return case


def inspect_case(path: str | Path) -> tuple[Case | None, tuple[str, ...]]:
    """The case as far as it can be read, and a line for every problem in it.

    Raises
    ------
    CaseError
        If there is no such file, or it is not text.
    """
    file = _locate(Path(path))
    decoder = Decoder()
    case = _decode_yaml(_read_text(file), decoder)
    problems = [_describe(file.name, problem) for problem in sorted(decoder.problems)]
    labs_file = file.with_name(LABS_NAME)
    if file.name == CASE_NAME and labs_file.exists():
        labs_decoder = Decoder()
        labs = _decode_labs(_read_lab_text(labs_file), labs_decoder)
        problems += [_describe(LABS_NAME, problem) for problem in sorted(labs_decoder.problems)]
        if case is not None:
            tests = tuple(test for lab in labs if (test := _read_infection_test(lab)) is not None)
            moved = {test.id for test in tests}
            case = replace(
                case,
                labs=(*case.labs, *(replace(lab, origin=case.origin) for lab in labs if lab.id not in moved)),
                microbiology=(*case.microbiology, *(replace(test, origin=case.origin) for test in tests)),
            )
    elif file.name == CASE_NAME:
        problems += [
            f"{name}: a spreadsheet is not read; save its sheet as {LABS_NAME} (CSV UTF-8)"
            for name in ("labs.xlsx", "labs.xls", "labs.ods")
            if file.with_name(name).exists()
        ]
    if case is not None:
        checker = Decoder(lines=decoder.lines)
        _check_references(case, checker)
        problems += [_describe(file.name, problem) for problem in sorted(checker.problems)]
    return case, tuple(problems)


def read_case_text(text: str, *, name: str = CASE_NAME) -> Case:
    """The case of YAML text; `name` stands for the file in errors.

    Raises
    ------
    CaseError
        As `read_case`.
    """
    decoder = Decoder()
    case = _decode_yaml(text, decoder)
    if case is not None and not decoder.problems:
        _check_references(case, decoder)
    if case is None or decoder.problems:
        raise CaseError(_describe(name, min(decoder.problems)))
    return case


def inspect_case_text(text: str, *, name: str = CASE_NAME) -> tuple[str, ...]:
    """A line for every problem in YAML text, as `inspect_case` says them of a file.

    Parameters
    ----------
    text : str
    name : str
        Stands for the file in the lines.

    Returns
    -------
    tuple of str
        Empty where the case can be read.
    """
    decoder = Decoder()
    case = _decode_yaml(text, decoder)
    if case is not None:
        _check_references(case, decoder)
    return tuple(_describe(name, problem) for problem in sorted(decoder.problems))


def read_scans(case: Case, path: str | Path) -> dict[str, ScanSummary]:
    """What `miliary ct` measured on the studies of a case that point to a result, by study id.

    Parameters
    ----------
    case : Case
    path : path
        Where the case was read from; results are found relative to it.

    Raises
    ------
    CaseError
        If a study points to what is no result.
    """
    home = _locate(Path(path)).parent
    return {study.id: _read_scan(home, study.result, study.id) for study in case.studies if study.result}


def find_scans(case: Case, path: str | Path) -> dict[str, Path]:
    """The result folders that studies of a case point to, by study id."""
    home = _locate(Path(path)).parent
    return {study.id: home / study.result for study in case.studies if study.result}


def _read_scan(home: Path, result: str, study_id: str) -> ScanSummary:
    from miliary.exchange.folders.open_result import open_ct_result
    from miliary.exchange.folders.result_file import ResultFileError

    where = f"{CASE_NAME}: studies[{study_id}].result"
    try:
        return open_ct_result(home / result).summary
    except ResultFileError as error:
        if error.code == "not_a_result":
            raise CaseError(f"{where}: is not a result of 'miliary ct'") from None
        what = "no scan.json in that folder" if error.code == "missing" else "its scan.json is damaged"
        raise CaseError(f"{where}: {what}; give a folder that 'miliary ct' wrote") from None


def read_case_schema() -> dict[str, Any]:
    """The published JSON schema of `case.yaml`."""
    text = resources.files("miliary.exchange").joinpath("schemas/case.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def write_case_template(folder: str | Path) -> tuple[Path, ...]:
    """Start a case: a commented `case.yaml` and an empty `labs.csv`.

    Raises
    ------
    OutputError
        If there is such a file already, or none can be made there.
    """
    target = Path(folder)
    texts = {
        CASE_NAME: resources.files("miliary.exchange.case").joinpath("case_template.yaml").read_text("utf-8"),
        LABS_NAME: ",".join(LAB_COLUMNS) + "\n",
    }
    for name in texts:
        if (target / name).exists():
            raise OutputError(f"{target.name}/{name}: is there already; choose another folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (target / name).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{target.name}: cannot write there ({reason}); choose another folder") from None
    return tuple(target / name for name in texts)


def _locate(path: Path) -> Path:
    if path.is_dir():
        if not (path / CASE_NAME).is_file():
            raise CaseError(
                f"{path.name or 'folder'}: holds no {CASE_NAME}; start one with 'miliary case new'"
            )
        return path / CASE_NAME
    if not path.is_file():
        raise CaseError(f"{path.name}: no such folder or file; start one with 'miliary case new'")
    return path


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise CaseError(
                f"{file.name}: is larger than {_MAX_BYTES // 1_000_000} MB; a case is a short text"
            )
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise CaseError(f"{file.name}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise CaseError(f"{file.name}: cannot be read ({(error.strerror or 'error').lower()})") from None


def _read_lab_text(file: Path) -> str:
    """A table in UTF-8, or in what spreadsheets of Japan and Europe write: UTF-16, Shift_JIS, cp1252."""
    try:
        return _read_text(file)
    except CaseError:
        content = file.read_bytes()[:_MAX_BYTES]
        found = []
        for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("cp932", "cp1252"):
            try:
                text = content.decode(encoding)
            except UnicodeDecodeError:
                continue
            if encoding == "utf-16":
                return text
            if count := count_known_words(text):
                found.append((count, text))
        # Bytes say nothing of their language: the reading whose words are known, if there is one such.
        best = sorted(found, reverse=True)
        if best and (len(best) == 1 or best[0][0] > best[1][0]):
            return best[0][1]
        raise


def _describe(name: str, problem: Problem) -> str:
    place = f"{name} line {problem.line}" if problem.line else name
    line = f"{place}: " + (f"{problem.path}: " if problem.path else "") + problem.message
    # What is quoted of a file may hold line ends, and half characters that no terminal takes.
    plain = " ".join(line.encode("utf-8", "replace").decode("utf-8").split())
    return plain if len(plain) <= _LONGEST_LINE else f"{plain[:_LONGEST_LINE]}..."


def _find_unusual(text: str) -> Problem | None:
    """What YAML allows and a case never holds; looked for before a tree is built that may be huge."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        line = token.start_mark.line + 1
        depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
        if depth > _DEEPEST:
            return Problem(line, "", "brackets within brackets, too deep for a case")
        if isinstance(token, yaml.ScalarToken) and _HALF_CHARACTER.search(token.value):
            return Problem(line, "", "holds half a character (\\ud800 to \\udfff)")
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            return Problem(line, "", "anchors and aliases (& and *) are not used here")
    return None


def _decode_yaml(text: str, decoder: Decoder) -> Case | None:
    try:
        if problem := _find_unusual(text):
            decoder.note(*problem)
            return None
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        decoder.note(mark.line + 1 if mark else 0, "", f"not YAML: {_explain(error)}")
        return None
    except (yaml.YAMLError, RecursionError, ValueError):
        decoder.note(0, "", "not YAML; compare with what 'miliary case new' writes")
        return None
    if node is None:
        decoder.note(1, "", "is empty; start a case with 'miliary case new'")
        return None
    _drop_version(node, decoder)
    try:
        case: Case | None = decoder.decode(node, Case)
    except TooManyProblemsError:
        return None
    return case and _normalize(case)


def _drop_version(node: yaml.Node, decoder: Decoder) -> None:
    """Take `schema_version` out of the tree; another major version is refused."""
    if not isinstance(node, yaml.MappingNode):
        return
    kept = []
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "schema_version":
            if not (isinstance(value, yaml.ScalarNode) and value.value.split(".")[0] == "1"):
                decoder.note(key.start_mark.line + 1, "schema_version", "this program reads version 1")
        else:
            kept.append((key, value))
    node.value = kept


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "malformed"
    if "'\\t'" in problem:
        return "a tab; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a second ': ' on one line, or a wrong indentation; put quotes around a text that holds ': '"
    if "expected <block end>" in problem or "could not find expected" in problem:
        return "wrong indentation or a missing ':'"
    return problem


def _normalize(case: Case) -> Case:
    """One spelling for units, gene symbols and the words of fields that have a list."""
    case = _name_studies(spell_words(case))
    return replace(
        case,
        labs=tuple(
            replace(lab, unit=find_unit(lab.unit, analyte), analyte=analyte)
            for lab in case.labs
            for analyte in (find_analyte_word(lab.analyte, ANALYTES),)
        ),
        treatments=tuple(replace(t, unit=find_unit(t.unit)) for t in case.treatments),
        molecular=tuple(
            replace(report, genes=tuple(replace(g, gene=_gene_word(g.gene)) for g in report.genes))
            for report in case.molecular
        ),
        immunostains=tuple(replace(s, target=_stain_word(s.target)) for s in case.immunostains),
    )


def _name_studies(case: Case) -> Case:
    """Studies that are referred to by their date, by their id; only where one study has the date."""
    dates = [str(study.when.date) for study in case.studies if study.when.date is not None]
    ids = {str(study.when.date): study.id for study in case.studies if dates.count(str(study.when.date)) == 1}

    def name(item: Any, field: str) -> Any:
        given = getattr(item, field)
        return replace(item, **{field: ids[given]}) if given in ids else item

    return replace(
        case,
        studies=tuple(name(study, "compared_with") for study in case.studies),
        responses=tuple(name(response, "study") for response in case.responses),
        lesions=tuple(
            replace(lesion, measurements=tuple(name(m, "study") for m in lesion.measurements))
            for lesion in case.lesions
        ),
    )


def _gene_word(symbol: str) -> str:
    return GENE_ALIASES.get(symbol.upper(), symbol)


def _stain_word(target: str) -> str:
    stain = find_word("stain", target)
    return stain if stain and target not in GENES else _gene_word(target)


def _read_infection_test(lab: LabResult) -> MicrobiologyResult | None:
    """A row of `labs.csv` that is a test for an infection with an answer in words; None for any other."""
    test, result = find_word("infection_test", lab.analyte), find_word("result", lab.words)
    if not test or not result:
        return None
    return MicrobiologyResult(lab.id, test, material=lab.material, result=Result(result), when=lab.when)


def _decode_labs(text: str, decoder: Decoder) -> tuple[LabResult, ...]:
    """Rows of `labs.csv`; the line of a problem is that of the row."""
    try:
        found = decode_lab_table(text, decoder)
    except TooManyProblemsError:
        return ()
    for lab in found:
        decoder.lines[f"labs[{lab.id}]"] = decoder.lines.get(f"labs[{lab.id}]", 0)
    _check_labs(found, decoder)
    return found


def _check_references(case: Case, decoder: Decoder) -> None:
    """What types cannot see: ids, references, symbols, units and ranges."""
    _check_ids(case, decoder)
    _check_genes(case, decoder)
    _check_labs(case.labs, decoder)
    for treatment in case.treatments:
        _check_unit(treatment.unit, _place(case, "treatments", treatment, "unit"), decoder)
    for claim in case.claims:
        if claim.kind not in CLAIM_KINDS:
            where = _place(case, "claims", claim, "kind")
            _note(decoder, where, f"{claim.kind!r} is not known here; {suggest(claim.kind, CLAIM_KINDS)}")


def _place(case: Case, section: str, item: Any, name: str = "") -> str:
    number = getattr(case, section).index(item) + 1
    return f"{section}[{number}]" + (f".{name}" if name else "")


def _note(decoder: Decoder, path: str, message: str) -> None:
    """Note a problem at the line of the innermost record that the path lies in."""
    record = path
    while record and record not in decoder.lines:
        record = record.rpartition(".")[0]
    decoder.note(decoder.lines.get(record, 0), path, message)


def _all_items(case: Case) -> Iterator[tuple[str, Any]]:
    """Path and record of everything that has an id."""
    for section in (*_SECTIONS, *_MORE_SECTIONS):
        for number, item in enumerate(getattr(case, section), start=1):
            yield f"{section}[{number}]", item
    for section in ("separate_nodules", "nodes", "metastases", "asserted"):
        for number, item in enumerate(getattr(case.staging, section), start=1):
            yield f"staging.{section}[{number}]", item


def _check_ids(case: Case, decoder: Decoder) -> None:
    seen: dict[str, str] = {}
    for path, item in _all_items(case):
        if item.id in seen:
            _note(decoder, f"{path}.id", f"{item.id!r} is the id of {seen[item.id]} already; ids are unique")
        seen.setdefault(item.id, path)
    for path, target, known in _references(case, seen):
        if target and target not in known:
            _note(decoder, path, f"{target!r} is the id of nothing in this case; {suggest(target, known)}")


def _references(case: Case, every: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Path, id referred to, and the ids that it may be."""
    studies = [study.id for study in case.studies]
    specimens = [specimen.id for specimen in case.specimens]
    for path, item in _all_items(case):
        for name, known in (
            *(("study", studies), ("compared_with", studies), ("specimen", specimens)),
            *(("lab", [lab.id for lab in case.labs]),),
        ):
            yield f"{path}.{name}", str(getattr(item, name, "") or ""), known
        for number, measurement in enumerate(getattr(item, "measurements", ()), start=1):
            yield f"{path}.measurements[{number}].study", measurement.study, studies
        for target in getattr(item, "about", ()):
            yield f"{path}.about", target, list(every)


def _check_genes(case: Case, decoder: Decoder) -> None:
    for number, report in enumerate(case.molecular, start=1):
        for gene_number, gene in enumerate(report.genes, start=1):
            _check_gene(gene.gene, f"molecular[{number}].genes[{gene_number}].gene", decoder)
    for number, stain in enumerate(case.immunostains, start=1):
        if not find_word("stain", stain.target):
            _check_gene(stain.target, f"immunostains[{number}].target", decoder)


def _check_gene(symbol: str, path: str, decoder: Decoder) -> None:
    if symbol in GENES or symbol in ("", "NTRK") or symbol.startswith("other:"):
        return
    known = sorted(GENES | GENE_ALIASES.keys())
    _note(
        decoder,
        path,
        f"{symbol!r} is not a gene symbol known here; {suggest(symbol, known)}"
        f" (write 'other:{symbol}' if it is right)",
    )


def _check_labs(labs: Iterable[LabResult], decoder: Decoder) -> None:
    for number, lab in enumerate(labs, start=1):
        path = next((p for p in (f"labs[{number}]", f"labs[{lab.id}]") if p in decoder.lines), "")
        if not path:
            continue  # from labs.csv, where it was checked with its line
        _check_unit(lab.unit, f"{path}.unit", decoder)
        if meanings := list_meanings(lab.analyte):
            both = " or ".join(meanings)
            _note(decoder, f"{path}.analyte", f"{lab.analyte!r} may be {both}; write which")
        elif lab.analyte not in ANALYTES and not lab.words:
            advice = _advise_analyte(lab.analyte)
            if advice.startswith("did you mean") or not re.match(r"[^\W\d_]\w*\Z", lab.analyte):
                _note(decoder, f"{path}.analyte", f"{lab.analyte!r} is not known here; {advice}")
        if lab.low is not None and lab.high is not None and lab.low > lab.high:
            _note(decoder, f"{path}.low", f"the range {lab.low:g} to {lab.high:g} is upside down")
        if lab.comparator not in ("", "<", ">", "\u2248"):
            advice = "write <, > or ≈ (about), or leave it out"
            _note(decoder, f"{path}.comparator", f"{lab.comparator!r}: {advice}")


def _advise_analyte(name: str) -> str:
    near = find_nearest_words("analyte", name, ()) if len(name) > 3 else ()
    advice = suggest(name, ANALYTES)
    if advice.startswith("did you mean") or not near:
        return advice
    spellings = {fold_word(word) for word in load_record_words()["analyte"].get(near[0], ())}
    is_slip = difflib.get_close_matches(fold_word(name), spellings, n=1, cutoff=0.8)
    return f"did you mean '{near[0]}'?" if is_slip else advice


def _check_unit(unit: str, path: str, decoder: Decoder) -> None:
    known = UNITS | UNIT_SPELLINGS.keys()
    if unit and unit not in known:
        by_case = {word.lower(): word for word in sorted(UNITS)}
        close = difflib.get_close_matches(unit.lower(), by_case, n=1, cutoff=0.5)
        advice = f"did you mean '{by_case[close[0]]}'?" if close else suggest(unit, UNITS)
        _note(decoder, path, f"{unit!r} is not a unit known here; {advice}")
