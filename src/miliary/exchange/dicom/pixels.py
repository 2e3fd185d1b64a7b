"""Pixels of DICOM slices, decoded and rescaled straight into the volume."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from miliary.errors import ScanReadError
from miliary.exchange.dicom.files import DicomFiles
from miliary.exchange.dicom.header import CtSlice
from miliary.exchange.volumes.scan_checks import PADDING_BELOW_HU, PADDING_HU

# Padding above this cannot be tissue; padding within the range of tissue is not believed.
_PADDING_ABOVE_HU = 4000.0
_INT16 = np.iinfo(np.int16)


def volume_dtype(slices: Sequence[CtSlice]) -> type[np.int16 | np.float32]:
    """int16 where every rescaled value is a whole number, else float32."""
    scales = {(one.slope, one.intercept) for one in slices}
    whole = all(float(value or 0.0).is_integer() for scale in scales for value in scale)
    return np.int16 if whole else np.float32


def read_pixels(
    files: DicomFiles, slices: Sequence[CtSlice], volume: npt.NDArray[Any], *, n_threads: int
) -> int:
    """Fill a volume with attenuation.

    Parameters
    ----------
    files : DicomFiles
    slices : sequence of CtSlice
        In the order of the first axis of `volume`.
    volume : ndarray of int16 or float32, shape (slice, row, column)
        Filled in place [HU]; may be a view in any memory order. Padding becomes -1024.
    n_threads : int

    Returns
    -------
    int
        How many voxels were padding.

    Raises
    ------
    ScanReadError
        A file is truncated, cannot be decoded, or its values do not fit Hounsfield units.
    """
    numbered = sorted(enumerate(slices), key=lambda item: (item[1].name, item[1].frame))
    by_file = [list(group) for _, group in itertools.groupby(numbered, key=lambda item: item[1].name)]
    if any(one.pixels.offset is None for one in slices):
        _silence_decoders()

    def read_file(group: list[tuple[int, CtSlice]]) -> int:
        n_padding = 0
        with files.open(group[0][1].name) as file:
            load = _loader(file, group[0][1])
            for index, one in group:
                n_padding += _fill(volume[index], one, load)
        return n_padding

    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        return sum(pool.map(read_file, by_file))


def load_stored(files: DicomFiles, one: CtSlice) -> npt.NDArray[Any]:
    """Stored values of one slice, shape (row, column), not rescaled."""
    if one.pixels.offset is None:
        _silence_decoders()
    with files.open(one.name) as file:
        return _loader(file, one)(one, None)


class _Loader:
    """Reads stored values of the frames of one open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, one: CtSlice, out: npt.NDArray[np.int16] | None) -> npt.NDArray[Any]:
        """Stored values of a frame, in `out` where that is given and the file allows it."""
        raise NotImplementedError


class _NativeLoader(_Loader):
    """16-bit native little endian: bytes go straight to their place."""

    def __call__(self, one: CtSlice, out: npt.NDArray[np.int16] | None) -> npt.NDArray[Any]:
        stored = np.empty(one.shape, dtype=np.int16) if out is None else out
        self._file.seek((one.pixels.offset or 0) + one.frame * stored.nbytes)
        buffer = stored.reshape(-1).view(np.uint8).data
        n_read = self._file.readinto(buffer)  # type: ignore[attr-defined]
        if n_read != stored.nbytes:
            raise ScanReadError(
                f"{one.name} is truncated: {n_read} of {stored.nbytes} bytes of pixels; copy the file again"
            )
        return stored if one.pixels.is_signed else stored.view(np.uint16)


class _DecodingLoader(_Loader):
    """Everything else, through pydicom and its decoder plugins."""

    @functools.cached_property
    def _dataset(self) -> Any:
        import pydicom

        self._file.seek(0)
        return pydicom.dcmread(self._file, force=True)

    def __call__(self, one: CtSlice, out: npt.NDArray[np.int16] | None) -> npt.NDArray[Any]:
        from pydicom.pixels.utils import pixel_array

        del out
        try:
            index = one.frame if one.pixels.n_frames > 1 else None
            stored = np.asarray(pixel_array(self._dataset, index=index, raw=True))
        except Exception:  # noqa: BLE001  decoders raise whatever they like on damaged or odd streams
            raise ScanReadError(
                f"{one.name} cannot be decoded ({_syntax_name(one.pixels.transfer_syntax)}): it is "
                "truncated, damaged or in a form that no decoder here knows; convert the series to "
                "uncompressed DICOM"
            ) from None
        if stored.shape != one.shape:
            raise ScanReadError(
                f"{one.name} decodes to {stored.shape}, expected {one.shape}; export it again"
            )
        # Rescaling looks at the bits, so they must be in the order of this machine.
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _loader(file: BinaryIO, one: CtSlice) -> _Loader:
    layout = one.pixels
    if layout.samples != 1:
        raise ScanReadError(f"{one.name} is a color picture, not CT; export the original axial series")
    is_native = layout.offset is not None and layout.bits_allocated == 16
    return _NativeLoader(file) if is_native else _DecodingLoader(file)


def _fill(place: npt.NDArray[Any], one: CtSlice, load: _Loader) -> int:
    """Rescale one slice into its place in the volume; return how many pixels were padding."""
    direct = place if place.dtype == np.int16 and place.flags.c_contiguous else None
    stored = load(one, direct)
    slope = 1.0 if one.slope is None else one.slope
    intercept = 0.0 if one.intercept is None else one.intercept
    if slope <= 0.0:
        raise ScanReadError(
            f"{one.name} has a rescale slope of {slope:g}; export the series again as CT in HU"
        )
    bits = one.pixels.bits_stored
    if not one.pixels.is_signed and bits < one.pixels.bits_allocated and stored.max() >= 1 << bits:
        # Bits above those stored hold old overlays, not attenuation.
        stored &= stored.dtype.type((1 << bits) - 1)
    outside = _padding_mask(stored, one, slope, intercept)
    n_padding = 0
    if outside is None:
        lowest, highest = int(stored.min()), int(stored.max())
    else:
        n_padding = int(np.count_nonzero(outside))
        inside = stored[~outside]
        lowest, highest = (int(inside.min()), int(inside.max())) if inside.size else (0, 0)
    if highest * slope + intercept > _INT16.max:
        raise ScanReadError(
            f"{one.name} holds {highest * slope + intercept:.0f} HU: a 16-bit overflow of its stored values "
            "or a wrong rescale; export the series again as CT in HU"
        )
    floor = (PADDING_BELOW_HU - intercept) / slope
    if lowest <= floor:
        low = stored <= floor
        n_padding += int(np.count_nonzero(low))
        outside = low if outside is None else outside | low
    _rescale(place, stored, slope, intercept)
    if outside is not None:
        place[outside] = PADDING_HU
    return n_padding


def _rescale(place: npt.NDArray[Any], stored: npt.NDArray[Any], slope: float, intercept: float) -> None:
    if place.dtype == np.int16 and slope == 1.0 and stored.dtype.itemsize == 2:
        # Modulo 2**16 the sum is right whichever way the bits are read; its range is checked before.
        np.add(stored.view(np.int16), np.int16(int(intercept)), out=place)
    elif place.dtype == np.int16:
        place[...] = (stored.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    else:
        place[...] = stored * np.float32(slope) + np.float32(intercept)


def _padding_mask(
    stored: npt.NDArray[Any], one: CtSlice, slope: float, intercept: float
) -> npt.NDArray[np.bool_] | None:
    """Pixels equal to the padding value, where that lies beyond tissue (lower values are caught anyway)."""
    if one.pixels.padding is None:
        return None
    low, high = sorted(_as_stored(value, one) for value in one.pixels.padding)
    if low * slope + intercept < _PADDING_ABOVE_HU:
        return None
    mask = (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _as_stored(value: int, one: CtSlice) -> int:
    """A padding value in the sign of the pixels; files often give it in the other."""
    full = 1 << one.pixels.bits_allocated
    value %= full
    return value - full if one.pixels.is_signed and value >= full // 2 else value


def _syntax_name(uid: str) -> str:
    from pydicom.uid import UID

    name = UID(uid).name
    return "unknown transfer syntax" if name == uid else name


def _silence_decoders() -> None:
    """Keep GDCM from printing to the terminal: what fails is reported as an error with the file's name."""
    try:
        import gdcm
    except ImportError:  # another decoder may still do
        return
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()
