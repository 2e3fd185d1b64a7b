"""How every member was made, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from miliary import __version__
from miliary.model.saved.scan_summary import ScanSummary
from miliary.model.study import StudyResult
from miliary.report.catalog import Catalog
from miliary.report.measures import find_compared, find_measured
from miliary.report.section import Section
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
    for scan, summary in find_measured(study):
        if summary.provenance:
            yield _describe_scan(catalog.word(scan.label), summary, catalog)
    for compared, comparison in find_compared(study):
        yield catalog(
            "methods.compare",
            a=catalog.word(compared.baseline),
            b=catalog.word(compared.followup),
            edition=comparison.comparability.edition or "?",
            smallest=_format_setting(comparison.response.min_diameter_mm),
        )
    if study.case is not None:
        editions = {a.edition for a in study.case.assessments if a.edition}
        yield catalog(
            "methods.case",
            version=_find_setting(study.case.provenance, "version"),
            editions=", ".join(sorted(editions)) or "?",
        )
    yield catalog("methods.report", version=__version__)


def _describe_scan(name: str, summary: ScanSummary, catalog: Catalog) -> str:
    return catalog(
        "methods.scan",
        scan=name,
        version=_find_setting(summary.provenance, "miliary_version", "version"),
        seed=_find_setting(summary.provenance, "seed"),
        threshold=_format_setting(summary.operating_point.threshold),
        reference=_format_setting(summary.operating_point.reference_hu),
        noise=_format_setting(summary.noise.sd_hu),
        xy=_format_setting(summary.psf.fwhm_xy_mm),
        z=_format_setting(summary.psf.fwhm_z_mm),
        weights=_find_setting(summary.provenance, "weights_sha256")[:_N_HASH_DIGITS],
    )


def _find_setting(provenance: Mapping[str, object], *names: str) -> str:
    """The first of some entries that a provenance holds; what it holds differs between versions."""
    return _format_setting(next((provenance[name] for name in names if name in provenance), None))


def _format_setting(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "?" if value is None else str(value)
