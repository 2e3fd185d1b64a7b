"""How every member was made, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from miliary import __version__
from miliary.model.study import SavedComparison, SavedScan, StudyResult
from miliary.report.catalog import Catalog
from miliary.report.reading import JsonObject, find, items, number, text
from miliary.report.sections.section import Section
from miliary.report.sources import Sources

_N_HASH_DIGITS = 12


@dataclass(frozen=True)
class MethodsContent:
    """One sentence for each member, and one for the page itself."""

    sentences: tuple[str, ...]


def build(study: StudyResult, catalog: Catalog, sources: Sources) -> Section[MethodsContent]:
    """The section on methods."""
    content = MethodsContent(describe_methods(study, catalog))
    return Section("methods", catalog("section.methods"), "sections/methods.html", content)


def describe_methods(study: StudyResult, catalog: Catalog) -> tuple[str, ...]:
    """Describe how every member was made, from the provenance saved with it.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog

    Returns
    -------
    tuple of str
        Whole sentences; what was not saved is written as ``?``.
    """
    return tuple(_describe(study, catalog))


def _describe(study: StudyResult, catalog: Catalog) -> Iterator[str]:
    for scan in study.scans:
        if find(scan.summary, "provenance"):
            yield _describe_scan(scan, catalog)
    for compared in study.comparisons:
        if compared.summary:
            yield _describe_comparison(compared, catalog)
    if study.case:
        yield catalog(
            "methods.case",
            version=text(study.case, "provenance.version") or "?",
            editions=", ".join(_list_editions(study.case)) or "?",
        )
    yield catalog("methods.report", version=__version__)


def _describe_scan(scan: SavedScan, catalog: Catalog) -> str:
    summary = scan.summary
    provenance = find(summary, "provenance")
    return catalog(
        "methods.scan",
        scan=catalog.word(scan.label),
        version=text(provenance, "miliary_version") or text(provenance, "version") or "?",
        seed=_format_setting(find(provenance, "seed")),
        threshold=_format_setting(number(summary, "operating_point.threshold")),
        reference=_format_setting(number(summary, "operating_point.reference_hu")),
        noise=_format_setting(number(summary, "noise.sd_hu")),
        xy=_format_setting(number(summary, "psf.fwhm_xy_mm")),
        z=_format_setting(number(summary, "psf.fwhm_z_mm")),
        weights=text(provenance, "weights_sha256")[:_N_HASH_DIGITS] or "?",
    )


def _describe_comparison(compared: SavedComparison, catalog: Catalog) -> str:
    return catalog(
        "methods.compare",
        a=catalog.word(compared.baseline),
        b=catalog.word(compared.followup),
        edition=text(compared.summary, "comparability.edition") or "?",
        smallest=_format_setting(number(compared.summary, "response.min_diameter_mm")),
    )


def _list_editions(case: JsonObject) -> list[str]:
    """Every edition of a rule that an assessment used."""
    return sorted({edition for a in items(case, "assessments") if (edition := text(a, "edition"))})


def _format_setting(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "?" if value is None else str(value)
