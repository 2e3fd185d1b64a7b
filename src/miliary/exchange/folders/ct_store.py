"""The folder that `miliary ct` writes, complete or not there at all.

::

    DIR/scan.json         the summary, described by schemas/scan.schema.json
    DIR/nodules.csv       one row per reported nodule
    DIR/nodules.parquet   the same with full precision
    DIR/lungs.nii.gz      1 right, 2 left, on the grid of the source
    DIR/preview.png       slabs without and with the nodules marked, where the result has a picture
    DIR/figures/          pictures for a report; figures.json says what each is and what is marked on it
    DIR/volume.zarr       int16 HU cropped to the body, unless left out
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.exchange.folders.atomic_folder import writing
from miliary.exchange.folders.kinds import (
    FIGURES_NAME,
    INDEX_NAME,
    LUNGS_NAME,
    NODULES_NAME,
    PREVIEW_NAME,
    SCAN_NAME,
    VOLUME_NAME,
)
from miliary.exchange.folders.tables import write_nodules_csv, write_nodules_parquet
from miliary.exchange.folders.volume_store import write_stored_volume
from miliary.model.ct_result import CtResult
from miliary.model.figure import Figure
from miliary.model.saved.codec import to_json
from miliary.model.saved.figure_index import FigureIndex, summarize_figure
from miliary.model.saved.scan_summary import SCAN_KIND
from miliary.model.saved.summarize_scan import summarize
from miliary.model.scan import Scan


def write_ct_result(result: CtResult, folder: str | Path, *, scan: Scan | None = None) -> None:
    """Write a result folder, whole or not at all.

    Parameters
    ----------
    result : CtResult
    folder : path
        New, empty, or an earlier result of `miliary ct`, which is replaced at the end.
    scan : Scan, optional
        What was measured, to keep its voxels beside the result; left out, no volume is kept.

    Raises
    ------
    OutputError
        Where something else stands there, or the place cannot be written to.
    """
    with writing(folder, kind=SCAN_KIND) as draft, ThreadPoolExecutor(2) as pool:
        # Compressing holds no lock of the interpreter: the large files are written side by side.
        written = [pool.submit(_write_lungs, result, draft), pool.submit(_write_pictures, result, draft)]
        if scan is not None:
            written.insert(0, pool.submit(write_stored_volume, scan, draft / VOLUME_NAME))
        _write_tables(result, draft)
        for part in written:
            part.result()


def load_writers() -> None:
    """Load the libraries that writing takes: half a second that can pass while a scan is measured."""
    import pyarrow.parquet  # noqa: F401
    import zarr  # noqa: F401


def _write_tables(result: CtResult, folder: Path) -> None:
    write_json(to_json(summarize(result)), folder / SCAN_NAME)
    write_nodules_csv(result.nodules, folder / NODULES_NAME)
    write_nodules_parquet(result.nodules, folder / "nodules.parquet")


def _write_lungs(result: CtResult, folder: Path) -> None:
    from miliary.exchange.volumes.volume_file import write_label_volume

    write_label_volume(folder / LUNGS_NAME, result.lungs.labels, result.grid, result.source_order)


def _write_pictures(result: CtResult, folder: Path) -> None:
    if result.preview_rgb is not None:
        write_png(result.preview_rgb, folder / PREVIEW_NAME)
    write_figures(result.figures, folder / FIGURES_NAME)


def write_figures(figures: Iterable[Figure], folder: str | Path) -> None:
    """Write pictures and `figures.json` into a new folder.

    Parameters
    ----------
    figures : iterable of Figure
    folder : path
        Made here; must not exist.
    """
    place = Path(folder)
    place.mkdir()
    listed = []
    for figure in figures:
        if figure.pixels is not None:
            write_png(figure.pixels, place / f"{figure.name}.png")
        listed.append(summarize_figure(figure))
    content = to_json(FigureIndex(figures=tuple(listed)))
    # Thousands of marks: one line of text is a third of the indented form.
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    (place / INDEX_NAME).write_text(text + "\n", encoding="utf-8")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write plain values as indented JSON; NaN is refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_png(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture of gray or RGB bytes."""
    from PIL import Image

    # Level 2 is a quarter of the default's time for an eighth more bytes.
    Image.fromarray(pixels).save(path, compress_level=2)
