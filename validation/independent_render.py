"""Rendering of the independent simulator: supersampled coverage, slice integration, Fourier decimation.

Every object is painted as fractional coverage on a lattice at least twice as fine as the scan, slab by slab.
A trapezoidal slice profile integrates along z; in plane the fine slice is multiplied by a band-limited
modulation transfer function in Fourier space and its spectrum is cropped to the pixel grid of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy import fft

from validation.independent_anatomy import COARSE_MM, Fields, Tubes

FloatArray = npt.NDArray[np.float64]
Volume = npt.NDArray[np.float32]

FISSURE_MM = 0.22


@dataclass(frozen=True)
class Optics:
    """How the scanner blurs.

    Parameters
    ----------
    fwhm_mm : float
        Full width of a Gaussian with the same 50 % frequency of the in-plane transfer function.
    overshoot : float
        Boost of middle frequencies; above about 0.3 edges ring, as with sharp kernels.
    steepness : float
        Exponent of the fall of the transfer function (2 is Gaussian).
    slice_mm : float
        Nominal slice thickness: full width at half height of the slice profile.
    slope : float
        Share of the thickness that the flanks of the trapezoid take (0 is a box).
    """

    fwhm_mm: float = 1.1
    overshoot: float = 0.2
    steepness: float = 2.0
    slice_mm: float = 1.0
    slope: float = 0.3

    def transfer(self, frequency_per_mm: FloatArray, cutoff_per_mm: float) -> FloatArray:
        """In-plane transfer function, 1 at frequency 0, smoothly 0 from `cutoff_per_mm`."""
        u = frequency_per_mm / (0.4413 / self.fwhm_mm)
        body = (1 + self.overshoot * u**2) * np.exp(-np.log(2 * (1 + self.overshoot)) * u**self.steepness)
        edge = np.clip((frequency_per_mm / cutoff_per_mm - 0.85) / 0.15, 0, 1)
        return body * np.cos(np.pi / 2 * edge) ** 2

    def profile(self, offset_mm: FloatArray) -> FloatArray:
        """Slice sensitivity at a distance along z, not normalized."""
        flank = max(self.slope * self.slice_mm, 1e-3)
        return np.clip((self.slice_mm / 2 + flank / 2 - np.abs(offset_mm)) / flank, 0, 1)

    @property
    def reach_mm(self) -> float:
        """Half the support of the slice profile."""
        return self.slice_mm * (1 + self.slope) / 2


@dataclass(frozen=True)
class Bodies:
    """Ellipsoids: centre (n, 3), map (n, 3, 3) to the unit ball, mean radius, lobulation, attenuation."""

    centre_mm: FloatArray
    to_ball: FloatArray
    radius_mm: FloatArray
    lobulation: FloatArray
    hu: FloatArray

    def select(self, keep: npt.NDArray[np.bool_]) -> Bodies:
        """The bodies of a mask."""
        return Bodies(
            self.centre_mm[keep],
            self.to_ball[keep],
            self.radius_mm[keep],
            self.lobulation[keep],
            self.hu[keep],
        )


@dataclass(frozen=True)
class Plates:
    """Thin rectangles: centre (n, 3), unit axes (n, 3, 3), half sizes (n, 3) [mm], one attenuation."""

    centre_mm: FloatArray
    axes: FloatArray
    half_mm: FloatArray
    hu: float


@dataclass(frozen=True)
class Lattice:
    """The fine lattice: step (x, y, z) [mm], first node, number of nodes."""

    step_mm: tuple[float, float, float]
    first_mm: tuple[float, float, float]
    shape_zyx: tuple[int, int, int]


@njit(cache=True, nogil=True)
def _row(field, v, w, out):
    """Interpolate a field along z and y: what is left is one row of nodes along x."""
    k, j = int(w), int(v)
    fz, fy = w - k, v - j
    for i in range(field.shape[2]):
        low = field[k, j, i] * (1 - fy) + field[k, j + 1, i] * fy
        high = field[k + 1, j, i] * (1 - fy) + field[k + 1, j + 1, i] * fy
        out[i] = low * (1 - fz) + high * fz


@njit(cache=True, parallel=True, nogil=True)
def _fill(out, first, step, origin, pitch, lung, skin, fissure, inside_hu, outside_hu, sheet_mm):
    nz, ny, nx = out.shape
    mz, my, mx = lung.shape
    ramp = (step[0] + step[1] + step[2]) / 3
    for k in prange(nz):
        depth, sheet, air, tissue = np.empty(mx), np.empty(mx), np.empty(mx), np.empty(mx)
        surface = np.empty(mx)
        w = min(max((first[2] + k * step[2] - origin[2]) / pitch, 0.0), mz - 1.001)
        for j in range(ny):
            v = min(max((first[1] + j * step[1] - origin[1]) / pitch, 0.0), my - 1.001)
            _row(lung, v, w, depth)
            _row(skin, v, w, surface)
            _row(fissure, v, w, sheet)
            _row(inside_hu, v, w, air)
            _row(outside_hu, v, w, tissue)
            for i in range(nx):
                u = min(max((first[0] + i * step[0] - origin[0]) / pitch, 0.0), mx - 1.001)
                n, f = int(u), u - int(u)
                share = min(max(0.5 - (depth[n] * (1 - f) + depth[n + 1] * f) / ramp, 0.0), 1.0)
                body = min(max(0.5 - (surface[n] * (1 - f) + surface[n + 1] * f) / ramp, 0.0), 1.0)
                outside = -1000.0 + body * (1000.0 + tissue[n] * (1 - f) + tissue[n + 1] * f)
                hu = (1 - share) * outside
                if share > 0.0:
                    inside = air[n] * (1 - f) + air[n + 1] * f
                    off = abs(sheet[n] * (1 - f) + sheet[n + 1] * f)
                    c = min(max((sheet_mm / 2 - off) / ramp + 0.5, 0.0), 1.0) * min(1.0, sheet_mm / ramp)
                    hu += share * (inside + c * (40.0 - inside))
                out[k, j, i] = hu


@njit(cache=True, parallel=True, nogil=True)
def _label(out, step, pitch, lung, midline):
    nz, ny, nx = out.shape
    for k in prange(nz):
        depth, side = np.empty(lung.shape[2]), np.empty(lung.shape[2])
        for j in range(ny):
            _row(lung, j * step[1] / pitch, k * step[2] / pitch, depth)
            _row(midline, j * step[1] / pitch, k * step[2] / pitch, side)
            for i in range(nx):
                u = i * step[0] / pitch
                n, f = int(u), u - int(u)
                if depth[n] * (1 - f) + depth[n + 1] * f < 0:
                    out[k, j, i] = 2 if side[n] * (1 - f) + side[n + 1] * f > 0 else 1


def label_lungs(
    fields: Fields, shape_zyx: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float]
) -> npt.NDArray[np.uint8]:
    """Lungs on the grid of the scan: 0 outside, 1 right, 2 left."""
    labels = np.zeros(shape_zyx, dtype=np.uint8)
    _label(labels, np.array(spacing_zyx_mm[::-1]), COARSE_MM, fields.lung_mm, fields.midline_mm)
    return labels


@njit(cache=True, nogil=True)
def _paint_tubes(out, first, step, rows, hu):
    nz, ny, nx = out.shape
    ramp = (step[0] + step[1] + step[2]) / 3
    for n in range(rows.shape[0]):
        ax, ay, az, bx, by, bz, ra, rb = rows[n]
        # A tube thinner than the lattice is painted at the lattice's width and its own mass.
        pad = max(ra, rb, ramp) + ramp
        i0 = max(int(np.ceil((min(ax, bx) - pad - first[0]) / step[0])), 0)
        i1 = min(int((max(ax, bx) + pad - first[0]) / step[0]) + 1, nx)
        j0 = max(int(np.ceil((min(ay, by) - pad - first[1]) / step[1])), 0)
        j1 = min(int((max(ay, by) + pad - first[1]) / step[1]) + 1, ny)
        k0 = max(int(np.ceil((min(az, bz) - pad - first[2]) / step[2])), 0)
        k1 = min(int((max(az, bz) + pad - first[2]) / step[2]) + 1, nz)
        dx, dy, dz = bx - ax, by - ay, bz - az
        length2 = dx * dx + dy * dy + dz * dz + 1e-12
        for k in range(k0, k1):
            pz = first[2] + k * step[2] - az
            for j in range(j0, j1):
                py = first[1] + j * step[1] - ay
                for i in range(i0, i1):
                    px = first[0] + i * step[0] - ax
                    t = min(max((px * dx + py * dy + pz * dz) / length2, 0.0), 1.0)
                    ex, ey, ez = px - t * dx, py - t * dy, pz - t * dz
                    radius = ra + t * (rb - ra)
                    # A linear edge of width h adds h^2 / 12 to the square of the radius.
                    drawn = np.sqrt(max(radius**2 - ramp**2 / 12, ramp**2 / 4))
                    c = 0.5 - (np.sqrt(ex * ex + ey * ey + ez * ez) - drawn) / ramp
                    if c > 0:
                        c = min(c, 1.0) * radius**2 / (drawn**2 + ramp**2 / 12)
                        out[k, j, i] += c * (hu - out[k, j, i])


@njit(cache=True, nogil=True)
def _paint_plates(out, first, step, centre, axes, half, hu):
    nz, ny, nx = out.shape
    ramp = (step[0] + step[1] + step[2]) / 3
    for n in range(centre.shape[0]):
        pad = np.sqrt((half[n] ** 2).sum()) + ramp
        i0 = max(int(np.ceil((centre[n, 0] - pad - first[0]) / step[0])), 0)
        i1 = min(int((centre[n, 0] + pad - first[0]) / step[0]) + 1, nx)
        j0 = max(int(np.ceil((centre[n, 1] - pad - first[1]) / step[1])), 0)
        j1 = min(int((centre[n, 1] + pad - first[1]) / step[1]) + 1, ny)
        k0 = max(int(np.ceil((centre[n, 2] - pad - first[2]) / step[2])), 0)
        k1 = min(int((centre[n, 2] + pad - first[2]) / step[2]) + 1, nz)
        for k in range(k0, k1):
            pz = first[2] + k * step[2] - centre[n, 2]
            for j in range(j0, j1):
                py = first[1] + j * step[1] - centre[n, 1]
                for i in range(i0, i1):
                    px = first[0] + i * step[0] - centre[n, 0]
                    c = 1.0
                    for a in range(3):
                        off = abs(px * axes[n, a, 0] + py * axes[n, a, 1] + pz * axes[n, a, 2])
                        size = max(half[n, a], ramp / 2)
                        c *= min(max((size - off) / ramp + 0.5, 0.0), 1.0) * min(half[n, a] / size, 1.0)
                    out[k, j, i] += c * (hu - out[k, j, i])


@njit(cache=True, nogil=True)
def _coverage(px, py, pz, to_ball, radius, lobulation, grow, ramp):
    bx = to_ball[0, 0] * px + to_ball[0, 1] * py + to_ball[0, 2] * pz
    by = to_ball[1, 0] * px + to_ball[1, 1] * py + to_ball[1, 2] * pz
    bz = to_ball[2, 0] * px + to_ball[2, 1] * py + to_ball[2, 2] * pz
    f = np.sqrt(bx * bx + by * by + bz * bz)
    bump = 0.0
    if lobulation > 0 and f > 1e-6:
        bump = lobulation * np.sin(3.1 * bx / f + 1.0) * np.sin(2.7 * by / f - 0.4) * np.cos(2.3 * bz / f)
    return min(max(0.5 - (f - grow * (1 + bump)) * radius / ramp, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _paint_bodies(out, first, step, centre, to_ball, radius, lobulation, hu):
    """Paint ellipsoids so that the coverage of each sums to its exact volume on this very lattice."""
    nz, ny, nx = out.shape
    ramp = (step[0] + step[1] + step[2]) / 3
    cell = step[0] * step[1] * step[2]
    for n in range(centre.shape[0]):
        pad = 1.6 * radius[n] + 1.5 * ramp
        i0 = int(np.ceil((centre[n, 0] - pad - first[0]) / step[0]))
        i1 = int(np.floor((centre[n, 0] + pad - first[0]) / step[0])) + 1
        j0 = int(np.ceil((centre[n, 1] - pad - first[1]) / step[1]))
        j1 = int(np.floor((centre[n, 1] + pad - first[1]) / step[1])) + 1
        k0 = int(np.ceil((centre[n, 2] - pad - first[2]) / step[2]))
        k1 = int(np.floor((centre[n, 2] + pad - first[2]) / step[2])) + 1
        volume = 4 / 3 * np.pi * radius[n] ** 3
        grow, gain = 1.0, 1.0
        # The whole body is summed, also the part outside this slab, so that slabs agree.
        for _ in range(3 if radius[n] < 5 else 1):
            total = 0.0
            for k in range(k0, k1):
                pz = first[2] + k * step[2] - centre[n, 2]
                for j in range(j0, j1):
                    py = first[1] + j * step[1] - centre[n, 1]
                    for i in range(i0, i1):
                        px = first[0] + i * step[0] - centre[n, 0]
                        total += _coverage(px, py, pz, to_ball[n], radius[n], lobulation[n], grow, ramp)
            if total == 0.0:
                # Smaller than the lattice and between its points: only on coarse test grids.
                break
            gain = volume / (total * cell)
            if abs(gain - 1) < 0.002:
                break
            grow *= gain ** (1 / 3)
        for k in range(max(k0, 0), min(k1, nz)):
            pz = first[2] + k * step[2] - centre[n, 2]
            for j in range(max(j0, 0), min(j1, ny)):
                py = first[1] + j * step[1] - centre[n, 1]
                for i in range(max(i0, 0), min(i1, nx)):
                    px = first[0] + i * step[0] - centre[n, 0]
                    c = _coverage(px, py, pz, to_ball[n], radius[n], lobulation[n], grow, ramp)
                    if c > 0:
                        out[k, j, i] += c * (hu[n] - out[k, j, i])


def _near(low: FloatArray, high: FloatArray, z0: float, z1: float) -> npt.NDArray[np.bool_]:
    return (high >= z0) & (low <= z1)


def paint_slab(
    lattice: Lattice,
    fields: Fields,
    objects: list[Tubes | Plates | Bodies],
) -> Volume:
    """Attenuation on a slab of the fine lattice; later objects lie over earlier ones."""
    slab = np.empty(lattice.shape_zyx, dtype=np.float32)
    first, step = np.asarray(lattice.first_mm), np.asarray(lattice.step_mm)
    _fill(
        slab,
        first,
        step,
        np.asarray(fields.origin_mm),
        COARSE_MM,
        fields.lung_mm,
        fields.skin_mm,
        fields.fissure_mm,
        fields.parenchyma_hu,
        fields.tissue_hu,
        FISSURE_MM,
    )
    z0, z1 = first[2] - 1.0, first[2] + step[2] * lattice.shape_zyx[0] + 1.0
    for item in objects:
        if isinstance(item, Tubes):
            radius = item.rows[:, 6:].max(axis=1)
            low = np.minimum(item.rows[:, 2], item.rows[:, 5]) - radius
            high = np.maximum(item.rows[:, 2], item.rows[:, 5]) + radius
            _paint_tubes(slab, first, step, item.rows[_near(low, high, z0, z1)], item.hu)
        elif isinstance(item, Plates):
            reach = np.linalg.norm(item.half_mm, axis=1)
            here = _near(item.centre_mm[:, 2] - reach, item.centre_mm[:, 2] + reach, z0, z1)
            _paint_plates(
                slab, first, step, item.centre_mm[here], item.axes[here], item.half_mm[here], item.hu
            )
        else:
            reach = 1.6 * item.radius_mm
            body = item.select(_near(item.centre_mm[:, 2] - reach, item.centre_mm[:, 2] + reach, z0, z1))
            _paint_bodies(
                slab, first, step, body.centre_mm, body.to_ball, body.radius_mm, body.lobulation, body.hu
            )
    return slab


def render(
    shape_zyx: tuple[int, int, int],
    spacing_zyx_mm: tuple[float, float, float],
    fields: Fields,
    objects: list[Tubes | Plates | Bodies],
    optics: Optics,
    *,
    oversampling: int = 2,
    fine_z_mm: float = 0.35,
    slab_slices: int = 16,
) -> Volume:
    """Noise-free scan, float32 HU, whose voxel (0, 0, 0) is the first node of the coarse fields."""
    nz, ny, nx = shape_zyx
    dz, dy, dx = spacing_zyx_mm
    per_slice = int(np.ceil(dz / fine_z_mm))
    step = (dx / oversampling, dy / oversampling, dz / per_slice)
    margin = int(np.ceil(optics.reach_mm / step[2]))
    transfer = _transfer(optics, (ny, nx), (dy, dx))
    out = np.empty(shape_zyx, dtype=np.float32)
    for start in range(0, nz, slab_slices):
        count = min(slab_slices, nz - start)
        n_fine = (count - 1) * per_slice + 1 + 2 * margin
        first = (
            fields.origin_mm[0],
            fields.origin_mm[1],
            fields.origin_mm[2] + start * dz - margin * step[2],
        )
        slab = paint_slab(
            Lattice(step, first, (n_fine, ny * oversampling, nx * oversampling)), fields, objects
        )
        offset = (np.arange(n_fine) - margin)[None] * step[2] - np.arange(count)[:, None] * dz
        weight = optics.profile(offset)
        weight = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
        thick = (weight @ slab.reshape(n_fine, -1)).reshape(count, ny * oversampling, nx * oversampling)
        out[start : start + count] = _decimate(thick, transfer, (ny, nx))
    return out


def _transfer(optics: Optics, shape: tuple[int, int], spacing: tuple[float, float]) -> Volume:
    fy = fft.fftfreq(shape[0], spacing[0])[:, None]
    fx = fft.rfftfreq(shape[1], spacing[1])[None]
    return optics.transfer(np.hypot(fy, fx), 0.5 / max(spacing)).astype(np.float32)


def _decimate(fine: Volume, transfer: Volume, shape: tuple[int, int]) -> Volume:
    """Band-limited samples of fine slices on the pixel grid: crop the spectrum, transform back."""
    ny, nx = shape
    spectrum = fft.rfft2(fine, axes=(1, 2), workers=2)
    half = ny // 2
    kept = np.concatenate(
        [spectrum[:, : ny - half, : nx // 2 + 1], spectrum[:, -half:, : nx // 2 + 1]], axis=1
    )
    kept *= transfer * (ny * nx / (fine.shape[1] * fine.shape[2]))
    return fft.irfft2(kept, s=shape, axes=(1, 2), workers=2)


def render_noise(
    generator: np.random.Generator,
    shape_zyx: tuple[int, int, int],
    spacing_zyx_mm: tuple[float, float, float],
    optics: Optics,
    lung: npt.NDArray[np.bool_],
    *,
    noise_hu: float,
    streaks: float = 0.4,
) -> Volume:
    """Filtered-back-projection noise: ramp spectrum under the kernel, stronger centrally, streaky on top.

    The standard deviation over `lung` is `noise_hu`.
    """
    nz, ny, nx = shape_zyx
    fy = fft.fftfreq(ny, spacing_zyx_mm[1])[:, None]
    fx = fft.rfftfreq(nx, spacing_zyx_mm[2])[None]
    ramp = np.sqrt(np.hypot(fy, fx) + 0.02) * optics.transfer(np.hypot(fy, fx), 0.5 / spacing_zyx_mm[2])
    along = ramp * np.exp(-((fx * 12.0) ** 2))
    y = (np.arange(ny) - ny / 2)[:, None] / ny
    x = (np.arange(nx) - nx / 2)[None] / nx
    body = 0.7 + 0.5 * np.exp(-(x**2 + y**2) / 0.06)
    reach = int(np.ceil(optics.reach_mm / spacing_zyx_mm[0] - 0.5))
    weight = optics.profile(np.arange(-reach, reach + 1) * spacing_zyx_mm[0])
    weight = weight / np.sqrt((weight**2).sum())
    out = np.zeros(shape_zyx, dtype=np.float32)
    for k in range(-reach, nz + reach):
        shoulder = np.clip((k / nz - 0.75) / 0.15, 0, 1)
        white = fft.rfft2(generator.standard_normal((ny, nx), dtype=np.float32), workers=2)
        plain = fft.irfft2(white * ramp.astype(np.float32), s=(ny, nx), workers=2)
        plain *= 1 / plain.std()
        if shoulder > 0:
            streak = fft.irfft2(white * along.astype(np.float32), s=(ny, nx), workers=2)
            plain += streaks * shoulder * streak / streak.std()
        plain = (plain * body).astype(np.float32)
        for offset, w in zip(range(-reach, reach + 1), weight, strict=True):
            if w > 0 and 0 <= k + offset < nz:
                out[k + offset] += np.float32(w) * plain
    spread = float(out[lung].std()) if lung.any() else float(out.std())
    out *= np.float32(noise_hu / spread)
    return out
