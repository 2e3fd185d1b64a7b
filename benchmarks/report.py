"""Time and size of what a report needs and of the report: ``python -m benchmarks.report``.

Two full-size scans (512 x 512 x 350 voxels) of noise with 10,000 nodules each at random in two ellipsoids are
written as a study with registered slabs of both and the published worked example beside them; only how much
there is matters here, not what it shows. Peak memory is of a process of its own that makes the page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from miliary.exchange.case.case_folder import write_case_files
from miliary.exchange.case.examples import find_example
from miliary.exchange.folders.ct_store import write_ct_result, write_figures
from miliary.exchange.folders.volume_store import write_stored_volume
from miliary.image.figures.scan_figures import render_figures
from miliary.model.ct_result import CtResult, Lungs, Noise, OperatingPoint, Psf
from miliary.model.figure import Figure
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Grid, Scan
from miliary.workflow.case_derivation import assess_case_folder

SHAPE_ZYX = (350, 512, 512)
SPACING_ZYX_MM = (1.0, 0.7, 0.7)
N_NODULES = 10_000
LABELS = ("baseline", "followup")

_PEAK = (
    "import sys; from pathlib import Path; from miliary.cli.main import main; code = main(sys.argv[1:]); "
    "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]; "
    "print(int(peak) / 1024**2, file=sys.stderr); sys.exit(code)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the study")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="miliary-report-") as name:
        folder = options.folder or Path(name) / "study"
        for measure, value in {**_time_study(folder), **_time_report(folder)}.items():
            print(f"{measure:<44} {value}")
    return 0


def _time_study(folder: Path) -> dict[str, str]:
    """Write the study, timing what `miliary ct` does for those who show it."""
    scan, labels = _make_scan()
    nodules = _make_nodules(labels, scan.grid)
    render_figures(scan, labels, nodules)
    figures, seconds = _time(lambda: render_figures(scan, labels, nodules))
    folder.mkdir(parents=True)
    _, volume = _time(lambda: write_stored_volume(scan, folder / "volume.zarr"))
    _, written = _time(lambda: write_figures(figures, folder / "figures"))
    for label in LABELS:
        result = replace(_make_result(scan, labels, nodules), figures=figures)
        write_ct_result(result, folder / "ct" / label)
    compared = folder / "compare" / "__".join(LABELS)
    compared.mkdir(parents=True)
    (compared / "response.json").write_text('{"schema_version": "1.0", "kind": "miliary.compare"}')
    slabs = [_compared(figure, label) for figure in figures if figure.kind == "slab" for label in LABELS]
    write_figures(slabs, compared / "figures")
    (folder / "case").mkdir()
    derived = assess_case_folder(find_example("index-case"))
    write_case_files(derived.summary, derived.text, folder / "case")
    return {
        "figures of one scan, made": f"{seconds:.2f} s",
        "figures of one scan, written": f"{written:.2f} s",
        "volume.zarr, written": f"{volume:.2f} s",
    }


def _time_report(folder: Path) -> dict[str, str]:
    """Make the page, the PDF and the draft as a user does."""
    found = {}
    for name, options in (("page", []), ("page and PDF", ["--pdf"]), ("page and draft", ["--care"])):
        out = folder / f"{name.rpartition(' ')[2].lower()}.html"
        command = [sys.executable, "-c", _PEAK, "report", str(folder), "--out", str(out), "--quiet", *options]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        sizes = ", ".join(
            f"{f.suffix[1:]} {f.stat().st_size / 1e6:.1f} MB" for f in folder.glob(f"{out.stem}.*")
        )
        peak = float(done.stderr.split()[-1]) if done.returncode == 0 else float("nan")
        found[f"report: {name}"] = f"{seconds:.1f} s, {peak:.2f} GB, {sizes}"
    return found


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _make_scan() -> tuple[Scan, np.ndarray]:
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[-1 : 1 : SHAPE_ZYX[0] * 1j, -1 : 1 : SHAPE_ZYX[1] * 1j, -1 : 1 : SHAPE_ZYX[2] * 1j]
    voxels = np.where((y / 0.7) ** 2 + (x / 0.95) ** 2 + 0 * z < 1, 40, -1000).astype(np.int16)
    labels = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    for label, center in ((1, -0.45), (2, 0.45)):
        labels[(z / 0.9) ** 2 + (y / 0.5) ** 2 + ((x - center) / 0.35) ** 2 < 1] = label
    voxels[labels > 0] = -860
    for index in range(SHAPE_ZYX[0]):
        voxels[index] += rng.normal(0, 20, SHAPE_ZYX[1:]).astype(np.int16)
    return Scan(voxels, Grid(SHAPE_ZYX, SPACING_ZYX_MM)), labels


def _make_nodules(labels: np.ndarray, grid: Grid) -> Nodules:
    rng = np.random.default_rng(1)
    inside = np.argwhere(labels[::4, ::4, ::4] > 0) * 4
    place = grid.lps_from_index(inside[rng.integers(0, len(inside), N_NODULES)])
    diameter = rng.uniform(1.0, 3.0, N_NODULES)
    columns = {c.name: np.full(N_NODULES, 0.5 if c.dtype is not object else "", c.dtype) for c in COLUMNS}
    columns |= {f"{axis}_mm": place[:, k] for k, axis in enumerate("xyz")}
    columns |= {"id": np.arange(1, N_NODULES + 1), "diameter_mm": diameter}
    columns |= {"volume_mm3": np.pi / 6 * diameter**3, "attenuation": np.full(N_NODULES, "solid", object)}
    columns |= {"side": np.full(N_NODULES, "left", object), "zone": np.full(N_NODULES, "upper", object)}
    return Nodules({column.name: columns[column.name] for column in COLUMNS})


def _make_result(scan: Scan, labels: np.ndarray, nodules: Nodules) -> CtResult:
    return CtResult(
        grid=scan.grid,
        acquisition=scan.acquisition,
        source_order=scan.source_order,
        warnings=(),
        lungs=Lungs(labels, scan.grid.voxel_volume_mm3),
        right_ml=3000.0,
        left_ml=2500.0,
        noise=Noise(20.0),
        psf=Psf(0.6, 0.6),
        nodules=nodules,
        operating_point=OperatingPoint(0.3, 0.3),
        n_candidates=N_NODULES,
        reference_hu=40.0,
    )


def _compared(figure: Figure, label: str) -> Figure:
    facts = {**figure.facts, "scan": label}
    return replace(figure, name=f"{label}_{figure.name}", kind="compared_slab", facts=facts)


if __name__ == "__main__":
    sys.exit(main())
