"""`volume.zarr`: the scan cropped to the body, kept with a result for those who look at it.

An array of int16 HU, (z, y, x), in chunks of which a viewer reads only what it shows. Its attributes are
the grid of the crop (`spacing_zyx_mm`, `origin_lps_mm`, `axes_lps`) and where it was cut out of the scan
(`start_zyx`, `scan_shape_zyx`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.exchange.folders.kinds import VOLUME_NAME
from miliary.model.scan import Grid, Scan

if TYPE_CHECKING:
    import zarr

VOLUME_VERSION = "1.0"

_CHUNK_ZYX = (32, 256, 256)
_BODY_HU = -400
_LOOK_MM = 4.0
_MARGIN_MM = 8.0
_HU_RANGE = (-32768, 32767)


@dataclass(frozen=True)
class CroppedVolume:
    """A volume kept with a result; voxels are read where they are asked for.

    Parameters
    ----------
    grid : Grid
        Of the crop.
    start_zyx : tuple of int
        First voxel of the crop in the scan it was cut from.
    array : zarr array of int16
        Reads like an ndarray: ``volume.array[10:20]`` loads those chunks only.
    """

    grid: Grid
    start_zyx: tuple[int, int, int]
    array: zarr.Array[Any]

    def read(self) -> npt.NDArray[np.int16]:
        """All voxels [HU].

        Raises
        ------
        ScanReadError
            A chunk is damaged.
        """
        return self.read_part((slice(None),) * 3)

    def read_part(self, part: tuple[slice, ...]) -> npt.NDArray[np.int16]:
        """Some voxels [HU]; errors as of `read`."""
        try:
            return np.asarray(self.array[part])
        except Exception as error:  # whatever the decoder of a damaged chunk raises
            # The chunks that were read beside it are given up when the program ends, each with a log line.
            logging.getLogger("asyncio").addFilter(_is_not_of_given_up_chunk)
            kind = type(error).__name__
            raise ScanReadError(
                f"volume.zarr: is damaged ({kind}); restore it from a copy, or measure the scan anew"
            ) from error


def _is_not_of_given_up_chunk(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not ("Task was destroyed" in text and "zarr" in text)


def find_body_box(
    voxels_hu: npt.NDArray[Any], spacing_zyx_mm: tuple[float, float, float]
) -> tuple[slice, ...]:
    """Bounding box of the body with a margin; the whole scan where nothing is dense.

    Looks at every few millimetres only. The table is cut off where air separates it from the body.
    """
    from scipy import ndimage

    steps = tuple(max(1, int(_LOOK_MM / spacing)) for spacing in spacing_zyx_mm)
    dense = voxels_hu[:: steps[0], :: steps[1], :: steps[2]] > _BODY_HU
    labels, n = ndimage.label(ndimage.binary_opening(dense))
    if n == 0:
        return tuple(slice(0, size) for size in voxels_hu.shape)
    largest = int(np.argmax(np.bincount(labels.ravel())[1:]))
    found = ndimage.find_objects(labels)[largest]
    return tuple(
        slice(
            max(0, part.start * step - round(_MARGIN_MM / spacing)),
            min(size, part.stop * step + round(_MARGIN_MM / spacing)),
        )
        for part, step, size, spacing in zip(found, steps, voxels_hu.shape, spacing_zyx_mm, strict=True)
    )


def write_stored_volume(scan: Scan, path: str | Path) -> None:
    """Write the scan, cropped to the body, as int16 HU.

    Parameters
    ----------
    scan : Scan
        Values beyond int16 are clipped; fractions of a HU are rounded.
    path : path
        Of the ``volume.zarr`` to be made.
    """
    import zarr
    from zarr.codecs import BloscCodec

    box = find_body_box(scan.voxels_hu, scan.grid.spacing_zyx_mm)
    start = tuple(part.start for part in box)
    shape = tuple(part.stop - part.start for part in box)
    grid = scan.grid.crop(start, shape)
    array = zarr.create_array(
        store=str(path),
        shape=shape,
        dtype="int16",
        chunks=tuple(min(chunk, size) for chunk, size in zip(_CHUNK_ZYX, shape, strict=True)),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        fill_value=-1024,
        attributes={
            "miliary_volume": VOLUME_VERSION,
            "unit": "HU",
            "spacing_zyx_mm": list(grid.spacing_zyx_mm),
            "origin_lps_mm": list(grid.origin_lps_mm),
            "axes_lps": [list(axis) for axis in grid.axes_lps],
            "start_zyx": list(start),
            "scan_shape_zyx": list(scan.grid.shape_zyx),
        },
    )
    for first in range(0, shape[0], 2 * _CHUNK_ZYX[0]):
        last = min(first + 2 * _CHUNK_ZYX[0], shape[0])
        slab = scan.voxels_hu[start[0] + first : start[0] + last, box[1], box[2]]
        array[first:last] = _as_int16(slab)


def _as_int16(slab: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    if slab.dtype == np.int16:
        return slab
    return np.clip(np.rint(slab), *_HU_RANGE).astype(np.int16)


def read_stored_volume(path: str | Path) -> CroppedVolume:
    """Open a volume kept with a result, or the result's folder; no voxel is read yet.

    Raises
    ------
    ScanReadError
        If there is none, or it is damaged.
    """
    import zarr

    place = Path(path)
    place = place if place.name.endswith(".zarr") else place / VOLUME_NAME
    name = f"{place.parent.name}/{place.name}"
    if not place.is_dir():
        raise ScanReadError(f"{name}: is not there; run 'miliary ct' without --no-volume")
    try:
        array = zarr.open_array(str(place), mode="r")
        grid, start = _read_grid(array)
    except Exception as error:
        raise ScanReadError(f"{name}: is damaged ({type(error).__name__}); run 'miliary ct' again") from error
    return CroppedVolume(grid, start, array)


def _read_grid(array: zarr.Array[Any]) -> tuple[Grid, tuple[int, int, int]]:
    facts = cast("dict[str, Any]", array.attrs.asdict())
    nz, ny, nx = array.shape
    z, y, x = (int(v) for v in facts["start_zyx"])
    grid = Grid(
        shape_zyx=(nz, ny, nx),
        spacing_zyx_mm=_triple(facts["spacing_zyx_mm"]),
        origin_lps_mm=_triple(facts["origin_lps_mm"]),
        axes_lps=tuple(_triple(axis) for axis in facts["axes_lps"]),
    )
    return grid, (z, y, x)


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
