"""Other ways to find small nodules, each given the volume and the true lung mask.

A peer returns its marks with a strength; the benchmark then picks for it the strength with the best F1 on
this very volume, which favors the peer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
# Index (n, 3) in (z, y, x) and strength (n,) of the marks.
Marks = tuple[FloatArray, FloatArray]

LUNG_HU = -850.0
SIGMAS_MM = (0.5, 0.7, 0.9, 1.2)


def threshold_components(volume: Volume, lung: Mask, spacing: Spacing) -> Marks:
    """Connected voxels above -600 HU in the lung, no larger than a sphere of 4 mm."""
    labels, n = ndimage.label((volume > -600) & lung)
    size_mm3 = np.bincount(labels.ravel(), minlength=n + 1)[1:] * np.prod(spacing)
    kept = np.flatnonzero(size_mm3 <= np.pi / 6 * 4.0**3) + 1
    centre = ndimage.center_of_mass(np.clip(volume + 1000, 0, None), labels, kept)
    return np.array(centre).reshape(-1, 3), size_mm3[kept - 1]


def skimage_blob_log(volume: Volume, lung: Mask, spacing: Spacing) -> Marks:
    """`skimage.feature.blob_log` over four scales."""
    from skimage.feature import blob_log

    image = (np.where(lung, volume, LUNG_HU) - LUNG_HU) / 1000
    low, high = (np.array(SIGMAS_MM[i]) / spacing for i in (0, -1))
    blobs = blob_log(
        image.astype(np.float32),
        min_sigma=low,
        max_sigma=high,
        num_sigma=len(SIGMAS_MM),
        threshold=0.08,
        overlap=0.5,
    )
    index = blobs[:, :3]
    # It does not return the response; the smoothed contrast ranks the blobs instead.
    smooth = ndimage.gaussian_laplace(image, np.array(0.8) / spacing)
    return index, -smooth[tuple(np.rint(index).astype(int).T)]


def itk_log_maxima(volume: Volume, lung: Mask, spacing: Spacing) -> Marks:
    """SimpleITK's recursive Laplacian of Gaussian over four scales, then local maxima."""
    import SimpleITK as sitk

    image = _itk_image(volume, lung, spacing)
    best = np.full(volume.shape, -np.inf, dtype=np.float32)
    for sigma in SIGMAS_MM:
        response = sitk.LaplacianRecursiveGaussian(image, sigma=sigma, normalizeAcrossScale=True)
        np.maximum(best, -sitk.GetArrayViewFromImage(response), out=best)
    return _local_maxima(best, lung)


def itk_blobness_maxima(volume: Volume, lung: Mask, spacing: Spacing) -> Marks:
    """SimpleITK's Hessian objectness for blobs over three scales, then local maxima."""
    import SimpleITK as sitk

    image = _itk_image(volume, lung, spacing)
    best = np.full(volume.shape, -np.inf, dtype=np.float32)
    for sigma in SIGMAS_MM[:3]:
        smooth = sitk.SmoothingRecursiveGaussian(image, sigma)
        response = sitk.ObjectnessMeasure(smooth, objectDimension=0, brightObject=True, gamma=50.0)
        np.maximum(best, np.float32(sigma**2) * sitk.GetArrayViewFromImage(response), out=best)
    return _local_maxima(best, lung)


def _itk_image(volume: Volume, lung: Mask, spacing: Spacing):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.where(lung, volume, LUNG_HU).astype(np.float32))
    image.SetSpacing(tuple(float(step) for step in spacing[::-1]))
    return image


def _local_maxima(response: Volume, lung: Mask, most: int = 60_000) -> Marks:
    is_peak = (response == ndimage.maximum_filter(response, size=3)) & lung & (response > 0)
    index = np.argwhere(is_peak)
    strength = response[is_peak]
    # The weakest of hundreds of thousands of maxima are noise; no threshold worth having keeps them.
    kept = np.argsort(strength)[::-1][:most]
    return index[kept].astype(float), strength[kept].astype(float)


PEERS: dict[str, Callable[[Volume, Mask, Spacing], Marks]] = {
    "threshold + components": threshold_components,
    "skimage blob_log": skimage_blob_log,
    "SimpleITK LoG, 4 scales": itk_log_maxima,
    "SimpleITK Hessian blobness, 3 scales": itk_blobness_maxima,
}
