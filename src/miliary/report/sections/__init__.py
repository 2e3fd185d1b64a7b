"""The sections of the page: one module and one template partial each, in the order of `BUILDERS`.

To add a section, write a module with a function ``build(study, catalog, sources)`` that returns a `Section`
(or None), a partial ``templates/sections/<name>.html`` that reads ``content``, its words in ``strings.toml``,
and put the function into `BUILDERS`.
"""

from miliary.report.section import Builder, Section
from miliary.report.sections import (
    answer,
    burden,
    care_items,
    course_in_days,
    diagnoses,
    gate,
    genes_and_drugs,
    graded_events,
    lesions,
    methods,
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

BUILDERS: tuple[Builder, ...] = (
    answer.build,
    problems.build,
    queries.build,
    gate.build,
    slices.build,
    burden.build,
    sizes.build,
    pattern_and_definition.build,
    lesions.build,
    projection.build,
    course_in_days.build,
    stage.build,
    genes_and_drugs.build,
    recist.build,
    graded_events.build,
    diagnoses.build,
    care_items.build,
    methods.build,
    # Comes after every section that cites a number, because it lists the footnotes.
    references.build,
    words.build,
)

__all__ = ["BUILDERS", "Builder", "Section"]
