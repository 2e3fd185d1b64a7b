"""`Scan`: one chest CT in memory, with its place in the patient.

Arrays are (z, y, x): z towards the head, y towards the back, x towards the patient's left.
Points are patient LPS millimetres (x left, y posterior, z superior), DICOM's own frame.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from miliary.model.vocabulary import Side as Side  # noqa: PLC0414  one enum for body and lung

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid in the patient.

    Parameters
    ----------
    shape_zyx : tuple of int
        Number of voxels per axis.
    spacing_zyx_mm : tuple of float
        Distance between voxel centres per axis [mm].
    origin_lps_mm : tuple of float
        (x, y, z) of the centre of voxel (0, 0, 0) [mm].
    axes_lps : tuple of 3 tuples of float
        Row i is the unit LPS vector along which the index of array axis i (z, y, x) grows.
        The default is the canonical orientation ((0, 0, 1), (0, 1, 0), (1, 0, 0)).
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axes_lps: tuple[tuple[float, float, float], ...] = (
        (0.0, 0.0, 1.0),
        (0.0, 1.0, 0.0),
        (1.0, 0.0, 0.0),
    )

    @property
    def step_lps_mm(self) -> FloatArray:
        """(3, 3) matrix whose row i is the LPS step [mm] of one index along axis i (z, y, x)."""
        return np.asarray(self.axes_lps, dtype=np.float64) * np.asarray(self.spacing_zyx_mm)[:, None]

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel [mm3]; spacings are orthogonal by construction."""
        return float(np.prod(self.spacing_zyx_mm))

    def lps_from_index(self, index_zyx: npt.ArrayLike) -> FloatArray:
        """Patient points (..., 3) in (x, y, z) LPS mm of array indices (..., 3) in (z, y, x)."""
        index = np.asarray(index_zyx, dtype=np.float64)
        return index @ self.step_lps_mm + np.asarray(self.origin_lps_mm)

    def index_from_lps(self, lps_mm: npt.ArrayLike) -> FloatArray:
        """Fractional array indices (..., 3) in (z, y, x) of patient points (..., 3) in LPS mm."""
        offset = np.asarray(lps_mm, dtype=np.float64) - np.asarray(self.origin_lps_mm)
        return offset @ np.linalg.inv(self.step_lps_mm)

    def crop(self, start_zyx: Sequence[int], shape_zyx: Sequence[int]) -> Grid:
        """The grid of the box of `shape_zyx` voxels whose first voxel is `start_zyx`."""
        origin = self.lps_from_index(np.asarray(start_zyx, dtype=np.float64))
        nz, ny, nx = (int(n) for n in shape_zyx)
        return replace(
            self,
            shape_zyx=(nz, ny, nx),
            origin_lps_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        )


@dataclass(frozen=True)
class ScanWarning:
    """Something about a scan that a reader of the result must know.

    `code` is stable and machine-readable (lower_snake_case); `message` is one plain sentence.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Acquisition:
    """How the scan was made, as far as its files say; `None` where they do not.

    Holds nothing that identifies a person: no name, id, date or UID.
    """

    modality: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    kvp: float | None = None
    exposure_mas: float | None = None
    contrast_agent: bool | None = None
    patient_position: str | None = None
    source_format: str = "memory"
    n_files: int = 0
    series_choice: str | None = None


@dataclass(frozen=True)
class SourceOrder:
    """How the canonical array was made from the array of the file, so that it can be undone.

    ``canonical = np.flip(source.transpose(axes), [i for i, f in enumerate(flips) if f])``,
    where `source` is the file's array in (slice, row, column) order, slowest axis first.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)


class Zone(enum.StrEnum):
    """Third of the lung's height."""

    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"


@dataclass(frozen=True)
class ScanPreview:
    """What would be read of an input, before it is.

    Parameters
    ----------
    grid : Grid
    acquisition : Acquisition
        With the choice of series and its reason.
    warnings : tuple of ScanWarning
        What the reader would notice; those about values rest on a few slices of a DICOM series.
    others : str
        The series beside the chosen one in words; empty where there is none.
    """

    grid: Grid
    acquisition: Acquisition
    warnings: tuple[ScanWarning, ...] = ()
    others: str = ""


@dataclass(frozen=True)
class Scan:
    """A chest CT: attenuation, grid, acquisition facts and warnings.

    Parameters
    ----------
    voxels_hu : ndarray, shape (z, y, x), int16 or float32
        Attenuation [HU]. Padding outside the field of view is replaced by -1024 on reading.
    grid : Grid
    acquisition : Acquisition
    warnings : tuple of ScanWarning
        What the reader noticed.
    source_order : SourceOrder
        Relation to the array in the file, used to write masks on the source grid.
    """

    voxels_hu: npt.NDArray[np.int16] | npt.NDArray[np.float32]
    grid: Grid
    acquisition: Acquisition = field(default_factory=Acquisition)
    warnings: tuple[ScanWarning, ...] = ()
    source_order: SourceOrder = field(default_factory=SourceOrder)

    def __post_init__(self) -> None:
        if self.voxels_hu.shape != self.grid.shape_zyx:
            raise ValueError(f"voxels_hu has shape {self.voxels_hu.shape}, its grid {self.grid.shape_zyx}")

    def __repr__(self) -> str:
        z, y, x = self.grid.shape_zyx
        size = " x ".join(f"{mm:.3g}" for mm in self.grid.spacing_zyx_mm)
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"Scan({z} x {y} x {x} voxels of {size} mm, {self.voxels_hu.dtype}{warned})"

    def with_warnings(self, *warnings: ScanWarning) -> Scan:
        """The same scan with `warnings` appended."""
        return replace(self, warnings=(*self.warnings, *warnings))
