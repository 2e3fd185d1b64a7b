"""The sections of the page: one module and one template partial each, in the order of `GROUPS`.

To add a section, write a module with a function ``build(study, catalog, sources)`` that returns a `Section`
(or None), a partial ``templates/sections/<name>.html`` that reads ``content``, its words in ``strings.toml``,
and put the function into `GROUPS`.
"""

from collections.abc import Mapping

from miliary.report.board import answer
from miliary.report.section import Builder, Section
from miliary.report.sections import (
    burden,
    care_items,
    course_in_days,
    diagnoses,
    gate,
    genes_and_drugs,
    graded_events,
    lesions,
    methods,
    nodule_review,
    pattern_and_definition,
    problems,
    projection,
    queries,
    recist,
    references,
    sizes,
    slices,
    stage,
    words,
)

GROUPS: tuple[tuple[str, tuple[Builder, ...]], ...] = (
    ("", (answer.build, problems.build)),
    ("patient", (course_in_days.build, stage.build, genes_and_drugs.build, graded_events.build)),
    (
        "scans",
        (
            *(gate.build, nodule_review.build, slices.build, burden.build, sizes.build),
            *(pattern_and_definition.build, lesions.build, projection.build),
        ),
    ),
    ("case", (queries.build, recist.build, diagnoses.build, care_items.build)),
    # References come after every section that cites a number, because they list the footnotes.
    ("methods", (methods.build, references.build, words.build)),
)
"""The board page, then the dossier in its groups: the patient, the scans, the case, how it was made."""

BUILDERS: tuple[Builder, ...] = tuple(build for _, builders in GROUPS for build in builders)

GROUP_OF: Mapping[Builder, str] = {build: name for name, builders in GROUPS for build in builders}

BOARD_BUILDERS: tuple[Builder, ...] = (answer.build, problems.build, references.build)
"""The board page alone; the references are for the screen, where its numbers are links to them."""

__all__ = ["BOARD_BUILDERS", "BUILDERS", "GROUPS", "GROUP_OF", "Builder", "Section"]
