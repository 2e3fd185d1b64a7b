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

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from miliary.exchange.folders import store
from miliary.exchange.folders.volume_store import write_stored_volume
from miliary.model.comparison import COMPARISON_KIND, SERIES_KIND, Comparison, summarize_comparison
from miliary.model.nodules import TRACK_COLUMNS, Tracks
from miliary.model.scan import Scan

REGISTERED_NAME = "registered.zarr"
MATCH_COLUMNS = ("baseline_id", "followup_id", "probability", "volume_change_fraction")


def read_response_schema() -> dict[str, Any]:
    """The published JSON schema of `response.json`."""
    text = resources.files("miliary.exchange").joinpath("schemas/response.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


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
    with store.writing(folder, kind=COMPARISON_KIND) as draft:
        _write_pair(found, draft)


def write_series(series: Mapping[str, Any], pairs: Sequence[Comparison], folder: str | Path) -> None:
    """Write a baseline with several follow-ups, whole or not at all.

    Parameters
    ----------
    series : mapping
        What ``series.json`` holds besides its kind.
    pairs : sequence of Comparison
        One folder each, under ``compare``.
    folder : path

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    with store.writing(folder, kind=SERIES_KIND) as draft:
        content = {"schema_version": "1.0", "kind": SERIES_KIND, **series}
        store.write_json(content, draft / "series.json")
        for found in pairs:
            place = draft / "compare" / f"{found.baseline.name}__{found.followup.name}"
            place.mkdir(parents=True)
            _write_pair(found, place)


def _write_pair(found: Comparison, draft: Path) -> None:
    store.write_json(summarize_comparison(found), draft / "response.json")
    write_matches_csv(found.tracks, draft / "matches.csv")
    write_tracks_csv(found.tracks, draft / "tracks.csv")
    np.savez_compressed(draft / "transform.npz", allow_pickle=False, **found.transform.to_arrays())
    write_stored_volume(Scan(found.registered_hu, found.registered_grid), draft / REGISTERED_NAME)
    if found.figure_rgb is not None:
        store.write_png(found.figure_rgb, draft / "response.png")
    if found.figures:
        store.write_figures(found.figures, draft / "figures")


def write_matches_csv(tracks: Tracks, path: str | Path) -> None:
    """Write the pairs of nodules that are the same, one row each."""
    pairs = tracks.select((tracks["baseline_id"] > 0) & (tracks["followup_id"] > 0))
    rows = zip(*(pairs[name].tolist() for name in MATCH_COLUMNS), strict=True)
    lines = [",".join(MATCH_COLUMNS), *(f"{a},{b},{p:.4f},{change:.4f}" for a, b, p, change in rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def write_tracks_csv(tracks: Tracks, path: str | Path) -> None:
    """Write what became of each nodule; what does not apply is left empty."""
    columns = {
        column.name: store.format_column(tracks[column.name], store.DECIMALS[column.unit])
        for column in TRACK_COLUMNS
    }
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
