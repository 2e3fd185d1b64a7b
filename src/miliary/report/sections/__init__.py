"""The sections of the page: one module and one template partial each, in the order of `BUILDERS`.

To add a section, write a module with a function ``build(study, catalog, sources)`` that returns a `Section`
(or None), a partial ``templates/sections/<name>.html`` that reads ``content``, its words in ``strings.toml``,
and put the function into `BUILDERS`.
"""

from miliary.report.sections import (
    answer,
    burden,
    care,
    ctcae,
    differential,
    drivers,
    gate,
    lesions,
    methods,
    pattern,
    pictures,
    problems,
    projection,
    queries,
    recist,
    references,
    sizes,
    stage,
    timeline,
    words,
)
from miliary.report.sections.section import Builder, Section

BUILDERS: tuple[Builder, ...] = (
    answer.build,
    problems.build,
    queries.build,
    gate.build,
    pictures.build,
    burden.build,
    sizes.build,
    pattern.build,
    lesions.build,
    projection.build,
    timeline.build,
    stage.build,
    drivers.build,
    recist.build,
    ctcae.build,
    differential.build,
    care.build,
    methods.build,
    # Comes after every section that cites a number, because it lists the footnotes.
    references.build,
    words.build,
)

__all__ = ["BUILDERS", "Builder", "Section"]
