"""The folder that `miliary compare` writes, complete or not there at all.

::

    DIR/response.json     the summary, described by schemas/response.schema.json
    DIR/matches.csv       pairs of nodules that are the same
    DIR/tracks.csv        what became of each nodule
    DIR/transform.npz     baseline points to follow-up points
    DIR/registered.zarr   follow-up in the frame of the baseline, int16 HU
    DIR/response.png      both scans side by side, nodules by fate, burden by zone, sizes
    DIR/figures/          its parts, for a report

Three or more scans make a series: one such folder per follow-up, and ``series.json`` beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from miliary.exchange.folders.atomic_folder import writing
from miliary.exchange.folders.ct_store import write_figures, write_json, write_png
from miliary.exchange.folders.kinds import (
    FIGURES_NAME,
    MATCHES_NAME,
    REGISTERED_NAME,
    RESPONSE_NAME,
    SERIES_NAME,
    TRACKS_NAME,
    TRANSFORM_NAME,
)
from miliary.exchange.folders.tables import write_matches_csv, write_tracks_csv
from miliary.exchange.folders.volume_store import write_stored_volume
from miliary.model.comparison import Comparison
from miliary.model.saved.codec import to_json
from miliary.model.saved.comparison_summary import COMPARISON_KIND, SERIES_KIND
from miliary.model.saved.summarize_comparison import summarize_comparison, summarize_series
from miliary.model.scan import Scan


def write_comparison(found: Comparison, folder: str | Path) -> None:
    """Write the comparison of two scans, whole or not at all.

    Parameters
    ----------
    found : Comparison
    folder : path
        New, empty, or an earlier comparison, which is replaced at the end.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    with writing(folder, kind=COMPARISON_KIND) as draft:
        _write_pair(found, draft)


def write_series(pairs: Sequence[Comparison], folder: str | Path) -> None:
    """Write a baseline with several follow-ups, whole or not at all.

    Parameters
    ----------
    pairs : sequence of Comparison
        In the order of time, all with one baseline; one folder each, under ``compare``.
    folder : path

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    with writing(folder, kind=SERIES_KIND) as draft:
        write_json(to_json(summarize_series(pairs)), draft / SERIES_NAME)
        for found in pairs:
            place = draft / "compare" / f"{found.baseline.name}__{found.followup.name}"
            place.mkdir(parents=True)
            _write_pair(found, place)


def _write_pair(found: Comparison, draft: Path) -> None:
    write_json(to_json(summarize_comparison(found)), draft / RESPONSE_NAME)
    write_matches_csv(found.tracks, draft / MATCHES_NAME)
    write_tracks_csv(found.tracks, draft / TRACKS_NAME)
    np.savez_compressed(draft / TRANSFORM_NAME, allow_pickle=False, **found.transform.to_arrays())
    write_stored_volume(Scan(found.registered_hu, found.registered_grid), draft / REGISTERED_NAME)
    if found.figure_rgb is not None:
        write_png(found.figure_rgb, draft / "response.png")
    if found.figures:
        write_figures(found.figures, draft / FIGURES_NAME)
