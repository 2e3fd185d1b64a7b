"""Slices and slabs of a stored volume as pictures, windowed for the eye."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from miliary.viewer.viewed_study import LazyVolume

PLANES = ("axial", "coronal", "sagittal")
# Center and width in HU.
WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0)}


def render_slab(
    volume: LazyVolume,
    *,
    plane: str,
    index: int,
    n_slices: int,
    low_hu: float,
    high_hu: float,
) -> npt.NDArray[np.uint8]:
    """Brightest value through a slab, as gray.

    Parameters
    ----------
    volume : LazyVolume
    plane : str
        axial, coronal or sagittal; the head is up in the last two.
    index : int
        Middle slice along the plane's axis, in voxels.
    n_slices : int
        Thickness of the slab; 1 for a single slice.
    low_hu, high_hu : float
        What is shown black and white.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        One pixel per voxel; the patient's right, or front, is at the left.
    """
    axis = PLANES.index(plane)
    size = volume.grid.shape_zyx[axis]
    first = max(0, index - (n_slices - 1) // 2)
    last = min(size, max(index + n_slices // 2 + 1, first + 1))
    box = [slice(0, n) for n in volume.grid.shape_zyx]
    box[axis] = slice(min(first, size - 1), last)
    flat = volume[box[0], box[1], box[2]].max(axis=axis)
    if plane != "axial":
        flat = flat[::-1]
    # One table for all 65,536 values: windowing costs one look-up per pixel.
    table = np.arange(-32768, 32768, dtype=np.float32)
    gray = np.clip((table - low_hu) / max(high_hu - low_hu, 1.0), 0.0, 1.0) * 255.0
    return np.rint(gray).astype(np.uint8)[flat.astype(np.int32) + 32768]


def encode_png(gray: npt.NDArray[np.uint8]) -> bytes:
    """A PNG, packed quickly rather than small: it travels within one machine."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(gray).save(out, format="PNG", compress_level=1)
    return out.getvalue()
