"""How a NIfTI file lies in the patient: two forms and a bare spacing, which may contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.exchange.volumes.stored_volume import check_finite, check_square
from miliary.model.scan import FloatArray, ScanWarning

_MILLIMETRES_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# NIfTI points to the right and the front, DICOM to the left and the back.
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# Headers keep single precision, and rotations as three parts of a quaternion.
_SAME_SPACING = 0.01
_SAME_PLACE_VOXELS = 1.0


@dataclass(frozen=True)
class PlacedVolume:
    """Where the voxels of a NIfTI file lie.

    Parameters
    ----------
    spacing_mm : ndarray, shape (3,)
        Slowest axis first.
    axes_lps : ndarray, shape (3, 3)
        Row i is the direction of axis i, slowest first.
    origin_lps_mm : ndarray, shape (3,)
    has_orientation : bool
        Whether the file says how it lies in the patient.
    """

    spacing_mm: FloatArray
    axes_lps: FloatArray
    origin_lps_mm: FloatArray
    has_orientation: bool


def place_volume(header: npt.NDArray[Any], name: str) -> PlacedVolume:
    """Where the voxels lie: the sform before the qform before the bare spacing.

    Parameters
    ----------
    header : structured scalar
        Of a NIfTI-1 file.
    name : str
        The file as messages name it.

    Raises
    ------
    ScanGeometryError
        No valid spacing, or sheared axes.
    """
    forms = _read_forms(header)
    affine = next(iter(forms.values()))
    check_finite(affine[:, :3].T, affine[:, 3], name)
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    axes = affine[:, :3] / spacing
    check_square(axes.T, name)
    return PlacedVolume(
        # Headers keep single precision; an exact 1 mm should stay one.
        spacing_mm=np.round(spacing[::-1], 6),
        axes_lps=(axes * RAS_TO_LPS[:, None]).T[::-1],
        origin_lps_mm=affine[:, 3] * RAS_TO_LPS,
        has_orientation=next(iter(forms)) != "pixdim",
    )


def find_contradictions(header: npt.NDArray[Any], shape_xyz: tuple[int, ...]) -> tuple[ScanWarning, ...]:
    """A warning where sform, qform and pixdim say different things, naming what differs and what was taken.

    Parameters
    ----------
    header : structured scalar
    shape_xyz : tuple of int
        Fastest axis first.
    """
    forms = _read_forms(header)
    if len(forms) == 1:
        return ()
    taken = next(iter(forms))
    problems = []
    for other in list(forms)[1:]:
        difference = _differ(forms[taken], forms[other], shape_xyz, only_spacing=other == "pixdim")
        if difference:
            problems.append(f"{other} contradicts it in {difference}")
    if not problems:
        return ()
    text = (
        f"the file says in several ways how it lies, and they differ: {taken} was taken, "
        f"{' and '.join(problems)}; sides, directions and sizes rest on that choice"
    )
    return (ScanWarning("forms_disagree", text),)


def _read_forms(header: npt.NDArray[Any]) -> dict[str, FloatArray]:
    """RAS affines (3, 4) [mm] that the file states, the one to take first; `pixdim` always last."""
    unit = _MILLIMETRES_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    spacing = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    forms: dict[str, FloatArray] = {}
    if int(header["sform_code"]) > 0:
        forms["sform"] = np.asarray(header["srow"], dtype=np.float64) * unit
    if int(header["qform_code"]) > 0:
        rotation = _rotation(np.asarray(header["quatern"], dtype=np.float64))
        rotation[:, 2] *= -1.0 if float(header["pixdim"][0]) < 0 else 1.0
        offset = np.asarray(header["qoffset"], dtype=np.float64)
        forms["qform"] = np.column_stack([rotation * spacing, offset]) * unit
    is_said = bool(spacing.any()) or not forms
    if not is_said:  # left empty beside a form
        return forms
    forms["pixdim"] = np.column_stack([np.diag(spacing), np.zeros(3)]) * unit
    return forms


def _differ(taken: FloatArray, other: FloatArray, shape_xyz: tuple[int, ...], *, only_spacing: bool) -> str:
    """What two affines disagree about, in words; empty where they agree."""
    if not np.isfinite(other).all():
        return "" if only_spacing else "everything"
    sizes, others = np.linalg.norm(taken[:, :3], axis=0), np.linalg.norm(other[:, :3], axis=0)
    if np.abs(others - sizes).max() > _SAME_SPACING * sizes.max():
        listed = " x ".join(f"{value:.4g}" for value in others)
        return f"voxel spacing ({listed} mm for {' x '.join(f'{value:.4g}' for value in sizes)} mm)"
    if only_spacing:
        return ""
    turn = np.sum((taken[:, :3] / sizes) * (other[:, :3] / others), axis=0)
    if turn.min() < -0.5:
        flipped = [
            word for word, cosine in zip(("first", "second", "third"), turn, strict=True) if cosine < -0.5
        ]
        return f"the direction of its {' and '.join(flipped)} axis"
    far = np.array([n - 1 for n in shape_xyz], dtype=np.float64)
    corners = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]) * far
    moved = corners @ (taken - other)[:, :3].T + (taken - other)[:, 3]
    away = float(np.linalg.norm(moved, axis=1).max())
    if turn.min() < 0.99:
        return f"the orientation of its axes (corners up to {away:.3g} mm apart)"
    return f"its place (up to {away:.3g} mm)" if away > _SAME_PLACE_VOXELS * sizes.max() else ""


def _rotation(quaternion: FloatArray) -> FloatArray:
    """Rotation matrix of the unit quaternion whose vector part is given."""
    b, c, d = quaternion
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
