"""Compare healthy simulated lungs with the two real development patients.

Run from the repository root: ``python -m validation.realism``. Writes ``validation/REALISM.md``.
The simulator may be tuned to these two patients only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from miliary.image.simulate import ScanProtocol, draw_anatomy, simulate_scan

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

SIGMAS_MM = (0.8, 1.2, 1.7)
THRESHOLDS_HU = (25, 50, 100, 200)
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99)
DEPTHS_MM = (0, 5, 10, 15, 20, 25, 30)
# Contrast agent in 0003, none in 0314.
VESSEL_HU = {"lidc-idri-0314": 45.0, "lidc-idri-0003": 220.0}
# Grid, blur and noise set to look like the scan of the same row.
TWINS = {
    "lidc-idri-0314": ScanProtocol(
        shape_zyx=(240, 400, 400),
        spacing_zyx_mm=(1.0, 0.78, 0.78),
        psf_fwhm_mm=1.3,
        slice_thickness_mm=1.0,
        edge_overshoot=0.1,
        noise_sd_hu=25.0,
        noise_correlation_mm=0.52,
    ),
    "lidc-idri-0003": ScanProtocol(
        shape_zyx=(110, 400, 400),
        spacing_zyx_mm=(2.5, 0.82, 0.82),
        psf_fwhm_mm=1.6,
        slice_thickness_mm=2.5,
        edge_overshoot=0.0,
        noise_sd_hu=16.0,
        noise_correlation_mm=0.45,
    ),
}


@dataclass(frozen=True)
class Lung:
    """A volume [HU], its spacing (z, y, x) [mm] and the depth below the pleura [mm], 0 outside."""

    voxels_hu: Float32Array
    spacing_zyx_mm: tuple[float, float, float]
    depth_mm: Float32Array


def lung_depth(voxels_hu: Float32Array, spacing_zyx_mm: tuple[float, float, float]) -> Float32Array:
    """Depth below the pleura [mm] by plain threshold, largest components and closing."""
    stride = tuple(max(1, round(2.0 / h)) for h in spacing_zyx_mm)
    small = voxels_hu[tuple(slice(None, None, k) for k in stride)]
    step = np.multiply(spacing_zyx_mm, stride)
    air, _ = ndimage.label(small < -400)
    rim = np.unique(
        np.concatenate([air[:, 0].ravel(), air[:, -1].ravel(), air[:, :, 0].ravel(), air[:, :, -1].ravel()])
    )
    sizes = np.bincount(air.ravel()).astype(float)
    sizes[0] = 0
    sizes[rim] = 0
    mask = (sizes > 0.15 * sizes.max())[air]
    mask &= ~ndimage.binary_dilation(ndimage.binary_opening(small < -960, iterations=2), iterations=2)
    mask = ndimage.binary_opening(mask)
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), 5)
    mask = ndimage.binary_closing(np.pad(mask, 6), ball)[6:-6, 6:-6, 6:-6]
    depth = ndimage.distance_transform_edt(mask, sampling=step).astype(np.float32)
    zoom = np.array(voxels_hu.shape) / depth.shape
    return ndimage.zoom(depth, zoom, order=0, grid_mode=True, mode="nearest")


def crop(voxels_hu: Float32Array, spacing: tuple[float, float, float], depth: Float32Array) -> Lung:
    """Cut to the lungs with a margin."""
    box = ndimage.find_objects((depth > 0).astype(np.uint8))[0]
    cut = tuple(slice(max(s.start - 6, 0), s.stop + 6) for s in box)
    return Lung(
        np.ascontiguousarray(voxels_hu[cut], dtype=np.float32), spacing, np.ascontiguousarray(depth[cut])
    )


def read_patient(folder: Path) -> tuple[Float32Array, tuple[float, float, float]]:
    """Slices of a DICOM series, folder or zip files, sorted by height."""
    import pydicom

    files: list[BytesIO | Path] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                files += [BytesIO(archive.read(n)) for n in archive.namelist() if n.endswith(".dcm")]
        elif path.suffix == ".dcm":
            files.append(path)
    slices = [d for d in (pydicom.dcmread(f) for f in files) if d.get("Modality") == "CT"]
    slices.sort(key=lambda d: float(d.ImagePositionPatient[2]))
    heights = np.array([float(d.ImagePositionPatient[2]) for d in slices])
    voxels = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    rows, columns = (float(h) for h in slices[0].PixelSpacing)
    return np.maximum(voxels, -1024).astype(np.float32), (float(np.median(np.diff(heights))), rows, columns)


def count_maxima(lung: Lung) -> dict[tuple[float, int], float]:
    """Maxima of the scale-normalized negative Laplacian of Gaussian per litre of lung deeper than 3 mm."""
    inner = lung.depth_mm > 3
    litres = float(inner.sum() * np.prod(lung.spacing_zyx_mm) / 1e6)
    counts = {}
    for sigma in SIGMAS_MM:
        widths = sigma / np.asarray(lung.spacing_zyx_mm)
        response = np.zeros_like(lung.voxels_hu)
        for axis in range(3):
            order = [2 if i == axis else 0 for i in range(3)]
            response -= widths[axis] ** 2 * ndimage.gaussian_filter(
                lung.voxels_hu, widths, order=order, truncate=3
            )
        peak = inner & (response > THRESHOLDS_HU[0])
        peak &= response == ndimage.maximum_filter(response, 3)
        for threshold in THRESHOLDS_HU:
            counts[sigma, threshold] = float(np.sum(response[peak] > threshold)) / litres
    return counts


def measure_noise(lung: Lung) -> tuple[float, list[float]]:
    """SD of noise in dark lung [HU] and its in-plane autocorrelation at 1, 2, 3, 4 voxels."""
    flat = lung.voxels_hu - ndimage.gaussian_filter(lung.voxels_hu, (0, 2.5, 2.5))
    smooth = ndimage.gaussian_filter(lung.voxels_hu, (0.5, 2.5, 2.5))
    quiet = (lung.depth_mm > 5) & (smooth < np.percentile(smooth[lung.depth_mm > 5], 40))
    sd = 1.4826 * float(np.median(np.abs(flat[quiet] - np.median(flat[quiet]))))
    clean = np.clip(flat, -3 * sd, 3 * sd)
    correlation = []
    for lag in (1, 2, 3, 4):
        both = quiet[:, :, lag:] & quiet[:, :, :-lag]
        a, b = clean[:, :, lag:][both], clean[:, :, :-lag][both]
        correlation.append(float(np.corrcoef(a, b)[0, 1]))
    return sd, correlation


def describe(lung: Lung) -> dict[str, str]:
    """All rows of one column of the table."""
    rows: dict[str, str] = {}
    for (sigma, threshold), value in count_maxima(lung).items():
        rows[f"LoG maxima per litre, sigma {sigma} mm, above {threshold} HU"] = f"{value:.0f}"
    values = lung.voxels_hu[lung.depth_mm > 2]
    for q in PERCENTILES:
        rows[f"lung HU, percentile {q}"] = f"{np.percentile(values, q):.0f}"
    for low, high in pairwise(DEPTHS_MM):
        band = (lung.depth_mm > low) & (lung.depth_mm <= high)
        rows[f"share above -600 HU, depth {low}-{high} mm [%]"] = (
            f"{100 * np.mean(lung.voxels_hu[band] > -600):.2f}"
        )
    sd, correlation = measure_noise(lung)
    rows["noise SD [HU]"] = f"{sd:.1f}"
    for lag, value in enumerate(correlation, 1):
        rows[f"noise autocorrelation in plane, {lag} voxel"] = f"{value:.2f}"
    return rows


def table(columns: dict[str, dict[str, str]]) -> str:
    """Markdown table, one column per scan."""
    names = list(columns)
    head = ["| measure | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    rows = next(iter(columns.values()))
    body = [f"| {row} | " + " | ".join(columns[name][row] for name in names) + " |" for row in rows]
    return "\n".join(head + body)


def main() -> int:
    """Measure, write the table, print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("REALISM.md"))
    options = parser.parse_args()
    data = Path(os.environ.get("MILIARY_DATA", Path(__file__).parents[2] / "shared" / "data"))
    sections = []
    for patient, protocol in TWINS.items():
        columns: dict[str, dict[str, str]] = {}
        folders = [f for f in data.rglob(f"*{patient}*") if f.is_dir()]
        if folders:
            voxels, spacing = read_patient(folders[0])
            columns[f"real {patient}"] = describe(crop(voxels, spacing, lung_depth(voxels, spacing)))
        for seed in options.seeds:
            anatomy = replace(draw_anatomy(seed), vessel_hu=VESSEL_HU[patient])
            scan = simulate_scan(protocol, seed=seed, anatomy=anatomy).scan
            voxels = scan.voxels_hu.astype(np.float32)
            columns[f"simulated {seed}"] = describe(
                crop(voxels, protocol.spacing_zyx_mm, lung_depth(voxels, protocol.spacing_zyx_mm))
            )
        sections.append(f"## Like {patient}\n\n{table(columns)}\n")
    text = header() + "\n".join(sections)
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def header() -> str:
    """Title, date, command and commit."""
    commit = subprocess.run(
        [shutil.which("git") or "git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    day = datetime.fromtimestamp(time.time(), UTC).date().isoformat()
    return (
        "# Simulated against real lungs\n\n"
        f"{day}, commit {commit}, `python -m validation.realism`. Healthy simulated lungs (no nodules) on\n"
        "grids, blur and noise like those of the real scan of the same section; the real lungs are the two\n"
        "development patients and do hold disease of their own (0314 a hilar mass, 0003 nodules).\n\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
