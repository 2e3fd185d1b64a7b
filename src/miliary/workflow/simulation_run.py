"""`write_simulated_scan`: a chest CT with known nodules, simulated and written as one folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miliary.workflow.run_control import CancelCheck, StageCallback, StageReporter, count_cores

if TYPE_CHECKING:
    from miliary.image.simulate import SimulatedScan

_FIELD_MM, _HEIGHT_MM = 358.0, 350.0


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """A simulated patient and scanner.

    Parameters
    ----------
    nodules : int
        How many nodules.
    diameter : tuple of float
        Their range of diameters [mm].
    density : tuple of float
        Their range of densities [HU].
    pattern : str
        How they are distributed: random, perilymphatic, centrilobular or none.
    shape : str, optional
        sphere, ellipsoid or lobulated; mixed when not given.
    calcified : int
        How many calcified nodules more.
    lesion : bool
        Add a cavitary lesion of 19 mm.
    hard_negatives : bool
        Add scars, septa, emphysema and the like.
    slice_thickness : float
        Thickness and distance of the slices [mm].
    pixel : float
        Size of a pixel [mm].
    blur : float
        Full width at half maximum of the point spread [mm].
    noise : float
        Standard deviation [HU].
    grid : tuple of int, optional
        Voxels (nz, ny, nx); 350 x 358 x 358 mm when not given.
    """

    nodules: int = 1000
    diameter: tuple[float, float] = (1.0, 3.0)
    density: tuple[float, float] = (20.0, 60.0)
    pattern: str = "random"
    shape: str | None = None
    calcified: int = 0
    lesion: bool = False
    hard_negatives: bool = False
    slice_thickness: float = 1.0
    pixel: float = 0.7
    blur: float = 1.4
    noise: float = 20.0
    grid: tuple[int, int, int] | None = None


DEFAULT_SIMULATION = SimulationSettings()


def write_simulated_scan(
    out: str | Path,
    *,
    seed: int = 1,
    settings: SimulationSettings = DEFAULT_SIMULATION,
    as_dicom: bool = False,
    n_threads: int | None = None,
    progress: StageCallback | None = None,
    cancel: CancelCheck | None = None,
) -> SimulatedScan:
    """Simulate a chest CT and write it with its truth, complete or not at all.

    Parameters
    ----------
    out : path
        Folder: new, empty, or an earlier simulation, which is replaced at the end.
    seed : int
        The same settings and seed give the same scan.
    settings : SimulationSettings
    as_dicom : bool
        Write a DICOM series in place of a NIfTI file.
    n_threads : int, optional
        All cores when not given. The scan does not depend on it.
    progress : callable, optional
        Called with the name of each stage as it starts.
    cancel : callable, optional
        Asked as each stage starts; true ends the run.

    Returns
    -------
    SimulatedScan

    Raises
    ------
    OutputError
        `out` cannot be written to.
    RunCancelled
        `cancel` said so; `out` is as it was before.
    """
    from miliary.exchange.folders.atomic_folder import check_output
    from miliary.exchange.folders.kinds import SIMULATION_KIND
    from miliary.exchange.folders.simulation_store import write_simulation

    check_output(out, kind=SIMULATION_KIND)
    report = StageReporter(progress, cancel)
    report("simulate")
    simulated = _simulate(seed, settings, n_threads or count_cores())
    report("write")
    write_simulation(
        simulated.scan,
        simulated.truth,
        simulated.lung_labels,
        out,
        parameters=asdict(settings),
        seed=seed,
        as_dicom=as_dicom,
    )
    return simulated


def _simulate(seed: int, settings: SimulationSettings, n_threads: int) -> SimulatedScan:
    from miliary.image.simulate import DominantLesion, NodulePopulation, ScanProtocol, simulate_scan

    pixel, thickness = settings.pixel, settings.slice_thickness
    n_pixels = round(_FIELD_MM / pixel)
    protocol = ScanProtocol(
        shape_zyx=settings.grid or (round(_HEIGHT_MM / thickness), n_pixels, n_pixels),
        spacing_zyx_mm=(thickness, pixel, pixel),
        psf_fwhm_mm=settings.blur,
        slice_thickness_mm=thickness,
        noise_sd_hu=settings.noise,
    )
    population = NodulePopulation(
        n=settings.nodules,
        diameter_mm=settings.diameter,
        density_hu=settings.density,
        pattern=settings.pattern if settings.nodules else "none",
        shape=settings.shape,
    )
    return simulate_scan(
        protocol,
        seed=seed,
        population=population,
        lesion=DominantLesion() if settings.lesion else None,
        n_calcified=settings.calcified,
        hard_negatives=settings.hard_negatives,
        n_threads=n_threads,
    )
