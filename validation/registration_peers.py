"""Registration libraries on the same pair: ``python -m validation.registration_peers PEER PAIR``.

They get what the method gets: both lungs at 1.5 mm, everything outside and denser painted alike, and the same
affine start. `elastix` needs the package itk-elastix, which is no dependency of this project.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from miliary.image.anatomy.segmentation import find_lungs
from miliary.image.kernels.resample import resample_volume
from miliary.image.pair.register import _align, _make_working_volume
from miliary.model.scan import Grid
from validation.registration import measure_error, read_pair

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
PointMap = Callable[[F64], F64]


def _image(volume: F32, grid: Grid) -> Any:
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(grid.spacing_zyx_mm[::-1])
    image.SetOrigin(grid.origin_lps_mm)
    return image


def _by_transform(transform: Any) -> PointMap:
    return lambda points: np.array([transform.TransformPoint(p) for p in points.tolist()])


def run_bspline(fixed: F32, moving: F32, mask: npt.NDArray[np.uint8], grid: Grid) -> PointMap:
    """SimpleITK: B-spline of 12 mm in the end, correlation at 2 % of the lung's voxels, three resolutions."""
    method = sitk.ImageRegistrationMethod()
    target = _image(fixed, grid)
    size = np.array(fixed.shape[::-1]) * np.array(grid.spacing_zyx_mm[::-1])
    mesh = [int(n) for n in np.ceil(size / 48.0)]
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(sitk.Cast(_image(mask.astype(np.float32), grid), sitk.sitkUInt8))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.02, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsLBFGS2(numberOfIterations=60)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([3, 1.5, 0])
    method.SetInitialTransformAsBSpline(
        sitk.BSplineTransformInitializer(target, mesh), inPlace=True, scaleFactors=[1, 2, 4]
    )
    return _by_transform(method.Execute(target, _image(moving, grid)))


def run_demons(fixed: F32, moving: F32, mask: npt.NDArray[np.uint8], grid: Grid) -> PointMap:
    """SimpleITK: diffeomorphic demons over three resolutions."""
    del mask
    field = None
    for factor, steps in ((4, 60), (2, 40), (1, 25)):
        images = [_image(v, grid) for v in (fixed, moving)]
        if factor > 1:
            images = [
                sitk.Shrink(sitk.SmoothingRecursiveGaussian(i, 0.5 * factor), [factor] * 3) for i in images
            ]
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(steps)
        demons.SmoothDisplacementFieldOn()
        demons.SetStandardDeviations(1.5)
        if field is None:
            field = demons.Execute(*images)
        else:
            field = demons.Execute(*images, sitk.Resample(field, images[0]))
    return _by_transform(sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)))


def run_elastix(fixed: F32, moving: F32, mask: npt.NDArray[np.uint8], grid: Grid) -> PointMap:
    """itk-elastix: B-spline of 10 mm, correlation at 3,000 fresh samples, 4 resolutions of 500 steps."""
    import itk

    def as_itk(volume: npt.NDArray[Any]) -> Any:
        image = itk.image_from_array(np.ascontiguousarray(volume))
        image.SetSpacing(list(grid.spacing_zyx_mm[::-1]))
        image.SetOrigin(list(grid.origin_lps_mm))
        return image

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(int(os.environ.get("NUMBA_NUM_THREADS", "2")))
    settings = itk.ParameterObject.New()
    chosen = settings.GetDefaultParameterMap("bspline", 4, 10.0)
    chosen["Metric"] = ["AdvancedNormalizedCorrelation", "TransformBendingEnergyPenalty"]
    chosen["Metric1Weight"] = ["0.01"]
    chosen["MaximumNumberOfIterations"] = ["500"]
    chosen["NumberOfSpatialSamples"] = ["3000"]
    chosen["ErodeMask"] = ["false"]
    settings.AddParameterMap(chosen)
    _, found = itk.elastix_registration_method(
        as_itk(fixed),
        as_itk(moving),
        parameter_object=settings,
        fixed_mask=as_itk(mask),
        log_to_console=False,
    )
    field = itk.array_from_image(itk.transformix_deformation_field(as_itk(moving), found))
    image = sitk.GetImageFromArray(field.astype(np.float64), isVector=True)
    image.SetSpacing(list(grid.spacing_zyx_mm[::-1]))
    image.SetOrigin(list(grid.origin_lps_mm))
    return _by_transform(sitk.DisplacementFieldTransform(image))


PEERS = {"bspline": run_bspline, "demons": run_demons, "elastix": run_elastix}


def main() -> None:
    """Print error and time of one library on one pair."""
    parser = argparse.ArgumentParser(prog="python -m validation.registration_peers", description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("pair")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "miliary-registration")
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(os.environ.get("NUMBA_NUM_THREADS", "2")))
    pair = read_pair(options.pair, options.cache)
    scans = (pair.baseline, pair.followup)
    views = [_make_working_volume(scan, find_lungs(scan)[0].labels, None) for scan in scans]
    affine = _align(views[0], views[1])
    grid = views[0].grid
    moving = resample_volume(views[1].image, views[1].grid, grid, transform=affine, fill=1.0)
    mask = (views[0].image < 1.0).astype(np.uint8)
    began, began_cpu = time.perf_counter(), time.process_time()
    found = PEERS[options.peer](views[0].image, moving, mask, grid)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    figures = measure_error(pair, lambda points: affine.apply(found(points)))
    told = " ".join(f"{key} {value:.3g}" for key, value in figures.items())
    print(f"{options.peer} {options.pair}: {told} seconds {seconds:.1f} cpu_s {cpu_s:.1f}")


if __name__ == "__main__":
    main()
