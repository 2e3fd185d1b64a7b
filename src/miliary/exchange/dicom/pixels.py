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
# Padding below this is air already, as what lies outside the field of view becomes.
_AIR_HU = -950.0
_LOWEST_AIR_HU = -1024.0
# Noise never gives as many equal neighbors.
_LEAST_RIM_PIXELS = 40
# Only here the bits of the file are those of the header; decoders give values of their own.
_PLAIN_SYNTAXES = frozenset(f"1.2.840.10008.1.2{suffix}" for suffix in ("", ".1", ".2", ".1.99", ".5"))
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
    if slope > 1e4 or abs(intercept) > 1e6:
        raise ScanReadError(
            f"{one.name} has a rescale slope of {slope:g} and an intercept of {intercept:g}, which give no "
            "HU; export the series again as CT in HU"
        )
    # A padding value that the stored bits cannot hold is known by all bits, before they are cut.
    outside = _find_marked(stored, one)
    stored = _keep_stored_bits(stored, one, slope, intercept)
    if outside is None:
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
        np.add(stored.view(np.int16), np.int16((int(intercept) + 32768) % 65536 - 32768), out=place)
    elif place.dtype == np.int16:
        place[...] = (stored.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    else:
        place[...] = stored * np.float32(slope) + np.float32(intercept)


def _keep_stored_bits(
    stored: npt.NDArray[Any], one: CtSlice, slope: float, intercept: float
) -> npt.NDArray[Any]:
    """Values of the stored bits alone, in place where possible: nothing may be assumed of the others.

    PS3.5 8.1.1: the bits stored end at the high bit; what stands in the rest may be old overlays, and the
    sign need not reach into it.
    """
    layout = one.pixels
    bits, allocated = layout.bits_stored, layout.bits_allocated
    if not 1 <= bits <= allocated or not bits - 1 <= layout.high_bit < allocated:
        raise ScanReadError(
            f"{one.name} says that it stores {bits} of {allocated} bits up to HighBit {layout.high_bit}, "
            "which cannot be; export it again"
        )
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize * 8 != allocated or bits == allocated:
        return stored
    is_native = layout.transfer_syntax in _PLAIN_SYNTAXES
    shift = layout.high_bit + 1 - bits if is_native else 0
    if shift:
        np.right_shift(stored, stored.dtype.type(shift), out=stored)
    unused = allocated - bits
    if not layout.is_signed:
        if stored.max() >= 1 << bits:
            stored &= stored.dtype.type((1 << bits) - 1)
        return stored
    if stored.min() < -(1 << (bits - 1)) or stored.max() >= 1 << (bits - 1):
        _check_sign(stored, one, slope, intercept)
        np.left_shift(stored, stored.dtype.type(unused), out=stored)
        np.right_shift(stored, stored.dtype.type(unused), out=stored)
    return stored


def _check_sign(stored: npt.NDArray[Any], one: CtSlice, slope: float, intercept: float) -> None:
    """Refuse bits that are bone if taken as unsigned and far below air if taken as the header says."""
    bits = one.pixels.bits_stored
    if -slope + intercept > _LOWEST_AIR_HU:
        return
    doubtful = stored[(stored >= 1 << (bits - 1)) & (stored < 1 << bits)]
    padding = [_as_stored(value, one) % (1 << bits) for value in one.pixels.padding or ()]
    values = np.setdiff1d(doubtful, np.array(padding, dtype=np.int64))
    if values.size > 1:
        raise ScanReadError(
            f"{one.name} calls its values signed and holds some that only unsigned ones can be; export the "
            "series again as CT in HU"
        )


def _find_marked(stored: npt.NDArray[Any], one: CtSlice) -> npt.NDArray[np.bool_] | None:
    """Pixels of a padding value that lies beyond what the stored bits can hold."""
    if one.pixels.padding is None or stored.dtype.kind not in "iu":
        return None
    low, high = sorted(_as_stored(value, one) for value in one.pixels.padding)
    bits = one.pixels.bits_stored
    least, most = (
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if one.pixels.is_signed else (0, (1 << bits) - 1)
    )
    if least <= low <= most or least <= high <= most:
        return None
    mask: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def _padding_mask(
    stored: npt.NDArray[Any], one: CtSlice, slope: float, intercept: float
) -> npt.NDArray[np.bool_] | None:
    """Pixels equal to the padding value: all where no tissue has it, else those that reach in from the edge.

    Values below -1500 HU are caught anyway, and air may stay air.
    """
    if one.pixels.padding is None:
        return None
    low, high = sorted(_as_stored(value, one) for value in one.pixels.padding)
    lowest_hu = low * slope + intercept
    if lowest_hu < _AIR_HU:
        return None
    mask: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    if not mask.any():
        return None
    return mask if lowest_hu >= _PADDING_ABOVE_HU else _keep_rim(mask)


def _keep_rim(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """The connected parts of a mask that touch its edge and are larger than chance makes them."""
    edge = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    if not any(line.any() for line in edge):
        return None
    from scipy import ndimage

    labels, n = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    at_edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    kept = [label for label in at_edge.tolist() if label and sizes[label] >= _LEAST_RIM_PIXELS]
    return np.isin(labels, kept) if kept else None


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
