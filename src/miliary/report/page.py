"""A study as one self-contained page: everything in the file, nothing from anywhere else, no script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from miliary import __version__
from miliary.model.study import StudyResult
from miliary.model.vocabulary import Origin
from miliary.report.catalog import Catalog, load_catalog
from miliary.report.correction_banners import list_corrections
from miliary.report.section import Section
from miliary.report.sections import BOARD_BUILDERS, BUILDERS, GROUP_OF, Builder
from miliary.report.sources import Sources

if TYPE_CHECKING:
    from jinja2 import BaseLoader, Environment

GENERATOR = "miliary"
_PACKAGE = "miliary.report"


def render_report(study: StudyResult, *, language: str = "en", is_board: bool = False) -> str:
    """Render a study as a page.

    Shows what was saved and computes nothing clinical. What is missing is named; everything else is shown.

    Parameters
    ----------
    study : StudyResult
    language : str
        One of `LANGUAGES`; statements of the rules stay as they were saved.
    is_board : bool
        Only the board page: one sheet when printed.

    Returns
    -------
    str
        HTML that needs no other file.

    Raises
    ------
    ValueError
        For another language.
    """
    builders = BOARD_BUILDERS if is_board else BUILDERS
    return assemble_page(study, load_catalog(language), templates=load_templates(), builders=builders)


def assemble_page(
    study: StudyResult, catalog: Catalog, *, templates: Environment, builders: Sequence[Builder] = BUILDERS
) -> str:
    """Build the sections of a page in order and render them.

    Parameters
    ----------
    study : StudyResult
    catalog : Catalog
        Words of the page.
    templates : jinja2.Environment
        Holds ``report.html`` and the partial of every section.
    builders : sequence of Builder
        What makes each section, in the order of the page.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    jinja2.UndefinedError
        A template reads a name that its section does not have.
    KeyError
        A section or a template asks for a word that the catalog lacks.
    """
    sources = Sources()
    groups: list[tuple[str, list[Section[Any]]]] = []
    for build in builders:
        section = build(study, catalog, sources)
        group = GROUP_OF.get(build, "")
        name = catalog(f"group.{group}") if group else ""
        if not groups or groups[-1][0] != name:
            groups.append((name, []))
        groups[-1][1].extend([section] if section else [])
    origins = list_origins(study)
    return templates.get_template("report.html").render(
        t=catalog,
        lang=catalog.language,
        style=Markup(_read_template("report.css")),  # noqa: S704  our own file
        version=__version__,
        generator=GENERATOR,
        title=study.title,
        corrections=list_corrections(study, catalog),
        is_whole=len(builders) > len(BOARD_BUILDERS),
        is_simulated=Origin.SIMULATED in origins,
        is_all_simulated=origins == {Origin.SIMULATED},
        groups=groups,
        sections=[section for _, members in groups for section in members],
    )


def load_templates(loader: BaseLoader | None = None) -> Environment:
    """Load the templates of the page; a name that is not defined is an error when one is rendered.

    Parameters
    ----------
    loader : jinja2.BaseLoader, optional
        Asked for a template first, as for the partial of a section that this package does not hold.

    Returns
    -------
    jinja2.Environment
        Escapes everything that is not `Markup`.
    """
    from jinja2 import ChoiceLoader, Environment, FunctionLoader, StrictUndefined

    own = FunctionLoader(_read_template)
    return Environment(
        loader=own if loader is None else ChoiceLoader([loader, own]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _read_template(name: str) -> str:
    return resources.files(_PACKAGE).joinpath("templates").joinpath(name).read_text("utf-8")


def list_origins(study: StudyResult) -> set[Origin]:
    """Every origin (published, recorded, measured, simulated, corrected) that occurs in a study."""
    found = [scan.record.origin for scan in study.scans if scan.record]
    found += [compared.record.origin for compared in study.comparisons if compared.record]
    if study.case is not None:
        found += [study.case.origin, *(a.origin for a in study.case.assessments)]
    return {origin for origin in found if origin is not None}
