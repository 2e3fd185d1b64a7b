"""`Figure`: a picture saved with a result, with what is drawn over it kept apart as coordinates.

Pixels hold the image only; marks are stored beside it, so that a page can show the same picture with and
without them and say what each one is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Mark:
    """A circle over a picture: columns run right, rows down, both in pixels from the upper left corner."""

    id: int
    column_px: float
    row_px: float
    radius_px: float
    label: str


@dataclass(frozen=True)
class Figure:
    """One picture, or the numbers of one.

    Parameters
    ----------
    name : str
        Unique in a result, lower_snake; the file is ``figures/<name>.png``.
    kind : str
        slab, burden_map, frontal, lesion or another word for what it shows.
    title : str
    pixels : ndarray of uint8, shape (rows, columns) or (rows, columns, 3), or None
    pixel_mm : float
        Side of one pixel in the patient [mm].
    marks : tuple of Mark
    facts : mapping
        What a caption needs (plane, thickness, window, level) and, for a map, its values; plain JSON.
    """

    name: str
    kind: str
    title: str
    pixels: npt.NDArray[np.uint8] | None = None
    pixel_mm: float = 1.0
    marks: tuple[Mark, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
