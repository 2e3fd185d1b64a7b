"""A study as one self-contained page: everything in the file, nothing from anywhere else, no script."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from markupsafe import Markup

from miliary import __version__
from miliary.model.study import SavedScan, StudyResult
from miliary.report.answer import write_answer
from miliary.report.case_panels import SIGNS, CasePanels
from miliary.report.catalog import Catalog, load_catalog
from miliary.report.reading import JsonObject, find, items, number, spell, text
from miliary.report.scan_panels import ScanPanels, count_origins
from miliary.report.sources import Sources
from miliary.report.timeline import draw_timeline, list_undated

GENERATOR = "miliary"


def render_report(study: StudyResult, *, language: str = "en") -> str:
    """The page of a study.

    Shows what was saved and computes nothing clinical: what is missing is said, the rest stands.

    Parameters
    ----------
    study : StudyResult
    language : str
        One of `LANGUAGES`; statements of the rules stay as they were saved.

    Returns
    -------
    str
        HTML that needs nothing beside it.
    """
    catalog = load_catalog(language)
    template = _load_templates().get_template("report.html")
    return template.render(**_gather(study, catalog))


def _load_templates() -> Any:
    from jinja2 import ChainableUndefined, Environment, FunctionLoader

    folder = resources.files("miliary.report").joinpath("templates")
    made = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["plain"] = lambda value: format(value, "g")
    made.filters["spell"] = spell
    return made


def _gather(study: StudyResult, catalog: Catalog) -> dict[str, Any]:
    """Everything the template shows, in the order of the page so that footnotes count up."""
    sources = Sources()
    case = CasePanels(study, catalog)
    answer = write_answer(study, catalog, sources)
    scans = ScanPanels(study, catalog, sources)
    origins = count_origins(study)
    style = resources.files("miliary.report").joinpath("templates/report.css").read_text("utf-8")
    facts: dict[str, Any] = {
        "t": catalog,
        "lang": catalog.language,
        "style": Markup(style),  # noqa: S704  our own file
        "version": __version__,
        "generator": GENERATOR,
        "study": study,
        "signs": SIGNS,
        "answer": answer,
        "is_simulated": "simulated" in origins,
        "is_all_simulated": origins == {"simulated"},
        "origins": sorted(origins),
        "problems": [
            (p.member, catalog(f"problem.{p.code}", detail=p.detail or "?")) for p in study.problems
        ],
        "queries": case.queries(),
        "gates": scans.gates(),
        "series": scans.series(),
        "targets": scans.targets(),
    }
    return (
        facts
        | _gather_scans(scans)
        | _gather_case(study, case, catalog)
        | {
            "methods": list(describe_methods(study, case, catalog)),
            "citations": case.citations(),
            "sources": sources,
            "glossary": catalog.section("glossary"),
        }
    )


def _gather_scans(scans: ScanPanels) -> dict[str, Any]:
    rows = scans.slab_rows()
    return {
        "has_scans": bool(scans.scans),
        "scan_names": [scans.name(scan.label) for scan in scans.summarized()],
        "scan_facts": scans.facts(),
        "uncorrected": scans.uncorrected(),
        "disagreements": scans.disagreements(),
        "zones": scans.zones(),
        "slabs": rows,
        "slab_planes": list(dict.fromkeys((row.plane, row.thickness) for row in rows)),
        "is_registered": scans.is_registered(),
        "is_paired": any(len(row.shown) > 1 for row in rows),
        "maps": scans.burden_maps(),
        "histogram": scans.histogram(),
        "completeness": scans.completeness(),
        "completeness_pictures": scans.of_kind("completeness"),
        "pattern": scans.evidence(),
        "pattern_shares": scans.probabilities(),
        "pattern_pictures": scans.of_kind("pattern"),
        "lesions": scans.lesions(),
        "lesion_pictures": scans.of_kind("lesion"),
        "frontal": scans.of_kind("frontal"),
        "previews": scans.of_kind("preview"),
        "radiographs": scans.radiographs(),
        "radiographs_need_a_look": scans.needs_a_look(),
        "compared_pictures": scans.compared_pictures(),
        "scan_definitions": scans.definitions(),
        "warnings": [
            (scans.name(scan.label), text(warning, "message"), text(warning, "code"))
            for scan in scans.summarized()
            for warning in items(scan.summary, "warnings")
        ],
    }


def _gather_case(study: StudyResult, case: CasePanels, catalog: Catalog) -> dict[str, Any]:
    events, labs = case.events(), case.labs()
    care_score, care_items = case.care()
    return {
        "has_case": bool(study.case),
        "record": case.record,
        **_draw_courses(study, events, labs, catalog),
        "undated": list_undated(events),
        "dated": [event for event in events if number(event, "day") is not None],
        "events": events,
        "labs": labs,
        "case_definitions": case.rows("definition."),
        "tnm": case.tnm(),
        "asserted_stage": case.asserted_stage(),
        "drivers": case.drivers(),
        "driver_notes": case.rows("drivers.", skip=("drivers.gene.", "drivers.frequency.")),
        "therapy": case.rows("therapy."),
        "recist_lesions": case.recist_lesions(),
        "recist": case.rows("recist."),
        "ctcae": case.rows("ctcae."),
        "lab_rows": case.rows("labs."),
        "differential": case.differential(),
        "differential_notes": case.differential_notes(),
        "literature": case.rows("literature."),
        "care_score": care_score,
        "care_items": care_items,
    }


def _draw_courses(
    study: StudyResult, events: list[JsonObject], labs: list[JsonObject], catalog: Catalog
) -> dict[str, Any]:
    """The record's course with the measured burden where both belong together, else each by itself.

    They do where the record has the day of the scans, and both are simulated or neither is.
    """
    days = {text(event, "id"): number(event, "day") for event in events}
    is_same = (text(study.case, "origin") == "simulated") == any(
        text(scan.summary, "origin") == "simulated" for scan in study.scans
    )
    burdens = [point for scan in study.scans if (point := _find_burden(scan, days.get(scan.label), catalog))]
    if burdens and is_same:
        return {"timeline": draw_timeline(events, labs, burdens, catalog=catalog), "burden_course": None}
    baselines = [compared.baseline for compared in study.comparisons[:1]]
    later: dict[str, float | None] = dict.fromkeys(baselines, 0.0)
    for compared in study.comparisons:
        if compared.baseline in baselines:
            later[compared.followup] = number(compared.summary, "days_between")
    alone = [p for s in study.scans if (p := _find_burden(s, later.get(s.label), catalog))]
    course = draw_timeline([], [], alone, catalog=catalog) if len(alone) > 1 else None
    return {"timeline": draw_timeline(events, labs, [], catalog=catalog), "burden_course": course}


def _find_burden(scan: SavedScan, day: float | None, catalog: Catalog) -> tuple[float, float, str] | None:
    """Day, total volume (corrected where it was) and name of a scan."""
    names = ("corrected.total_volume_mm3", "nodules.total_volume_mm3")
    volume = next((v for name in names if (v := number(scan.summary, name)) is not None), None)
    return None if day is None or volume is None else (day, volume, catalog.word(scan.label))


def describe_methods(study: StudyResult, case: CasePanels, catalog: Catalog) -> Iterator[str]:
    """Sentences on how every member was made, from its provenance."""
    for scan in study.scans:
        provenance = find(scan.summary, "provenance")
        if not provenance:
            continue
        summary = scan.summary
        yield catalog(
            "methods.scan",
            scan=catalog.word(scan.label),
            version=text(provenance, "miliary_version") or text(provenance, "version") or "?",
            seed=_shown(find(provenance, "seed")),
            threshold=_shown(number(summary, "operating_point.threshold")),
            reference=_shown(number(summary, "operating_point.reference_hu")),
            noise=_shown(number(summary, "noise.sd_hu")),
            xy=_shown(number(summary, "psf.fwhm_xy_mm")),
            z=_shown(number(summary, "psf.fwhm_z_mm")),
            weights=text(provenance, "weights_sha256")[:12] or "?",
        )
    for compared in study.comparisons:
        edition = text(compared.summary, "comparability.edition")
        if compared.summary:
            yield catalog(
                "methods.compare",
                a=catalog.word(compared.baseline),
                b=catalog.word(compared.followup),
                edition=edition or "?",
                smallest=_shown(number(compared.summary, "response.min_diameter_mm")),
            )
    if study.case:
        yield catalog(
            "methods.case",
            version=text(study.case, "provenance.version") or "?",
            editions=", ".join(case.editions()) or "?",
        )
    yield catalog("methods.report", version=__version__)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "?" if value is None else str(value)
