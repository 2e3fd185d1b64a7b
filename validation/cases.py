"""The scans of the validation: what they are, how they are made, where they are kept.

Simulated volumes are kept outside the repository, under a name that holds the hash of their parameters and
of the simulator's source, so that a change of either makes them anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from miliary.model.scan import Acquisition, Grid, Scan
from validation.insertion import Blur

ROOT = Path(__file__).resolve().parent.parent
ATTACHED_FLAGS = ("vessel_attached", "pleura_attached")


@dataclass(frozen=True)
class Case:
    """One scan of the validation.

    Parameters
    ----------
    name : str
    source : str
        ``shipped`` (`miliary.image.simulate`), ``independent`` (`validation.independent`) or ``real``.
    tags : frozenset of str
        Which rows it belongs to.
    seed : int
        Anatomy; training uses seeds below 900000.
    settings : mapping
        Plain JSON values for the maker of the scan.
    is_quick : bool
        Part of ``--quick``.
    """

    name: str
    source: str
    tags: frozenset[str]
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_quick: bool = False


@dataclass(frozen=True)
class Loaded:
    """A simulated scan with its truth and lung labels."""

    scan: Scan
    truth: pd.DataFrame
    labels: npt.NDArray[np.uint8]


def _case(name: str, tags: str, seed: int, *, is_quick: bool = False, **settings: Any) -> Case:
    source = {"ship": "shipped", "ind": "independent"}[name.split("-", maxsplit=1)[0]]
    return Case(name, source, frozenset(tags.split()), seed, settings, is_quick)


_BASIC = "sens precision volume diameter lungs"
SIMULATED: tuple[Case, ...] = (
    _case("ship-1000-a", _BASIC, 900110, is_quick=True, n_nodules=1000),
    _case("ship-1000-b", _BASIC, 900102, n_nodules=1000, fwhm_mm=1.1, overshoot=0.1, slice_mm=1.25),
    _case("ship-healthy", "healthy lungs shift-without", 900103, is_quick=True, n_nodules=0),
    _case("ship-5000-mass", "sens volume diameter lungs shift-with", 900103, n_nodules=5000, has_lesion=True),
    _case("ship-hard", "hard lungs", 900121, n_nodules=0, has_hard_negatives=True, n_calcified=20),
    _case("ship-lowdose", "lowdose lungs", 900108, n_nodules=1000, noise_hu=55.0),
    _case(
        "ship-perilymphatic", "sens volume diameter lungs", 900113, n_nodules=2000, pattern="perilymphatic",
        fwhm_mm=0.95, overshoot=0.2,
    ),
    _case("ind-1000-a", _BASIC, 900201, is_quick=True, n_nodules=1000),
    _case(
        "ind-1000-b", _BASIC, 900202, n_nodules=1000, fwhm_mm=1.4, overshoot=0.0, steepness=1.7, slice_mm=1.25
    ),
    _case("ind-healthy", "healthy lungs shift-without", 900203, n_nodules=0),
    _case("ind-5000-mass", "sens volume diameter lungs shift-with", 900203, n_nodules=5000, has_lesion=True),
    _case(
        "ind-hard", "hard lungs", 900204, is_quick=True, n_nodules=0, has_hard_negatives=True, n_calcified=20
    ),
    _case("ind-lowdose", "lowdose lungs", 900205, n_nodules=1000, noise_hu=55.0),
    _case(
        "ind-sharp", "sens volume diameter lungs", 900206, n_nodules=1000, fwhm_mm=0.95, overshoot=0.6,
        shape_zyx=(290, 460, 460), spacing_zyx_mm=(1.2, 0.78, 0.78), slice_mm=1.2,
    ),
)  # fmt: skip


def _real(name: str, folder: str, tags: str, blur: Blur, role: str, n: int) -> Case:
    settings = {"folder": folder, "blur": asdict(blur), "role": role, "n": n}
    return Case(name, "real", frozenset(tags.split()), 900300, settings)


# Blur as full widths: the sharp kernel D of 0314 at 1.0 mm, GE STANDARD of 0001 and 0003, Siemens B31f.
REAL: tuple[Case, ...] = (
    _real("real-0314", "lidc-idri-0314", "real-0314", Blur(0.95, 1.0), "development", 1500),
    _real("real-lungfcp", "lungfcp-01-0001", "real-lungfcp", Blur(1.3, 2.0), "validation", 500),
    _real("real-0001", "lidc-idri-0001", "real-0001", Blur(1.3, 2.5), "validation", 1500),
    _real("real-0003", "lidc-idri-0003", "real-0003", Blur(1.3, 2.5), "development", 1500),
)
CASES: tuple[Case, ...] = SIMULATED + REAL


def data_folder() -> Path:
    """Where the real scans lie: `MILIARY_DATA`, by default beside the repository."""
    return Path(os.environ.get("MILIARY_DATA", ROOT / ".." / "shared" / "data"))


def cache_folder() -> Path:
    """Where simulated volumes are kept: `MILIARY_CACHE`, by default in the user's cache."""
    return Path(os.environ.get("MILIARY_CACHE", Path.home() / ".cache" / "miliary-validation"))


def read_real(case: Case) -> Scan:
    """Read the DICOM series of a real case."""
    from miliary.exchange.ct_read import read_ct

    folder = data_folder() / str(case.settings["folder"])
    return read_ct(folder / "dicom.zip" if (folder / "dicom.zip").exists() else folder)


def load_simulated(case: Case) -> Loaded:
    """The scan of a simulated case, from the cache where it is there already."""
    folder = cache_folder() / f"{case.name}-{_fingerprint(case)}"
    if not (folder / "truth.csv").exists():
        _forget_others(folder, case.name)
        _write(folder, _simulate_shipped(case) if case.source == "shipped" else _simulate_independent(case))
    return _read(folder)


def _fingerprint(case: Case) -> str:
    pattern = "src/miliary/image/simulate/*.py" if case.source == "shipped" else "validation/independent*.py"
    digest = hashlib.sha256(json.dumps([case.seed, dict(case.settings)], sort_keys=True).encode())
    for path in sorted(ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _forget_others(folder: Path, name: str) -> None:
    for old in folder.parent.glob(f"{name}-????????????"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


def _write(folder: Path, loaded: Loaded) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    grid = loaded.scan.grid
    acquisition = {key: value for key, value in asdict(loaded.scan.acquisition).items() if value is not None}
    (folder / "scan.json").write_text(json.dumps({"grid": asdict(grid), "acquisition": acquisition}))
    np.save(folder / "voxels.npy", loaded.scan.voxels_hu)
    np.savez_compressed(folder / "labels.npz", labels=loaded.labels)
    # Written last: its presence says that the entry is whole.
    loaded.truth.to_csv(folder / "truth.csv", index=False)


def _read(folder: Path) -> Loaded:
    facts = json.loads((folder / "scan.json").read_text())
    grid = Grid(**{key: _tuples(value) for key, value in facts["grid"].items()})
    scan = Scan(np.load(folder / "voxels.npy"), grid, Acquisition(**facts["acquisition"]))
    labels = np.load(folder / "labels.npz")["labels"]
    return Loaded(scan, pd.read_csv(folder / "truth.csv", keep_default_na=False), labels)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _simulate_shipped(case: Case) -> Loaded:
    from miliary.image.simulate import DominantLesion, NodulePopulation, ScanProtocol, simulate_scan

    wanted = case.settings
    renamed = {"fwhm_mm": "psf_fwhm_mm", "slice_mm": "slice_thickness_mm", "noise_hu": "noise_sd_hu"}
    renamed |= {"overshoot": "edge_overshoot"}
    protocol = ScanProtocol(**{there: wanted[here] for here, there in renamed.items() if here in wanted})
    simulated = simulate_scan(
        protocol,
        seed=case.seed,
        population=NodulePopulation(n=wanted["n_nodules"], pattern=wanted.get("pattern", "random"))
        if wanted["n_nodules"]
        else None,
        lesion=DominantLesion(diameter_mm=32.0) if wanted.get("has_lesion") else None,
        n_calcified=wanted.get("n_calcified", 0),
        hard_negatives=bool(wanted.get("has_hard_negatives")),
    )
    truth = pd.DataFrame(dict(simulated.truth))
    flags = truth["flags"].astype(str)
    truth = truth.assign(
        attached=[any(flag in text for flag in ATTACHED_FLAGS) for text in flags],
        pleural=flags.str.contains("pleura_attached"),
    )
    return Loaded(simulated.scan, truth, simulated.lung_labels)


def _simulate_independent(case: Case) -> Loaded:
    from validation.independent import Disease, Protocol, simulate_independent
    from validation.independent_render import Optics

    wanted = dict(case.settings)
    optics = Optics(
        **{k: wanted.pop(k) for k in ("fwhm_mm", "overshoot", "steepness", "slice_mm") if k in wanted}
    )
    grid = {k: wanted.pop(k) for k in ("shape_zyx", "spacing_zyx_mm", "noise_hu") if k in wanted}
    simulated = simulate_independent(
        case.seed, protocol=Protocol(optics=optics, **grid), disease=Disease(**wanted)
    )
    return Loaded(simulated.scan, simulated.truth, simulated.labels)
