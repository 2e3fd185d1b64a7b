"""Time and memory of `miliary view` in a browser that draws in software: ``python -m benchmarks.viewer``.

A study of two simulated scans of 512 x 512 x 350 voxels with 10,000 nodules each is written once (and kept
with ``--folder``), the command is started as a user starts it, and the page is timed from inside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from miliary.exchange.folders.ct_store import write_ct_result
from miliary.image.simulate import NodulePopulation, ScanProtocol, simulate_scan
from miliary.model.ct_result import CtResult, Lungs, Noise, OperatingPoint, Psf
from miliary.model.nodules import COLUMN_NAMES, Nodules
from miliary.model.transform import Transform
from tests.chromium import Chromium

SHAPE_ZYX = (350, 512, 512)
SPACING_ZYX_MM = (1.0, 0.7, 0.7)
N_NODULES = 10_000
LABELS = ("baseline", "followup")
FILTERS = ("right", "left upper", "solid", "7", "blended", "un", "lower", "")

_TIME_FILTERS = """(async () => {
  const find = document.getElementById('find');
  const times = [];
  for (const text of %s) {
    const start = performance.now();
    find.value = text;
    find.dispatchEvent(new Event('input'));
    document.getElementById('list').getBoundingClientRect();
    times.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 30));
  }
  return times;
})()"""
_TIME_SLICES = """(async () => {
  const times = [];
  const view = document.querySelector('.pane .view');
  const frame = () => new Promise(done => requestAnimationFrame(done));
  for (let i = 0; i < 9; i++) {
    const start = performance.now();
    view.dispatchEvent(new KeyboardEvent('keydown', { key: 'PageUp' }));
    do await frame(); while (view.getAttribute('aria-busy') === 'true');
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b);
})()"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=__doc__)
    parser.add_argument("--folder", type=Path, help="study to make, or to use where it is there already")
    parser.add_argument("--picture", type=Path, help="screenshot of the page in the end")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="miliary-view-") as name:
        folder = options.folder or Path(name) / "study"
        if not folder.exists():
            write_study(folder)
        for measure, value in time_viewer(folder, options.picture).items():
            print(f"{measure:<52} {value}")
    return 0


def write_study(folder: Path) -> None:
    """Two scans of one simulated patient, the second with its own noise, moved by 5 mm."""
    protocol = ScanProtocol(shape_zyx=SHAPE_ZYX, spacing_zyx_mm=SPACING_ZYX_MM, noise_sd_hu=0.0)
    population = NodulePopulation(N_NODULES, (1.0, 3.0))
    simulated = simulate_scan(protocol, seed=1, population=population)
    rng = np.random.default_rng(1)
    columns = {name: simulated.truth[name][:N_NODULES] for name in COLUMN_NAMES}
    for label in LABELS:
        noise = rng.normal(0.0, 20.0, simulated.scan.voxels_hu.shape).astype(np.float32)
        scan = replace(simulated.scan, voxels_hu=(simulated.scan.voxels_hu + noise).astype(np.int16))
        write_ct_result(_make_result(scan, simulated.lung_labels, columns), folder / "ct" / label, scan=scan)
    compared = folder / "compare" / "__".join(LABELS)
    compared.mkdir(parents=True)
    np.savez(compared / "transform.npz", **Transform.affine(np.eye(3), [0.0, 0.0, 5.0]).to_arrays())


def _make_result(scan: Any, labels: Any, columns: Any) -> CtResult:
    """A result that holds the truth: what the viewer shows does not depend on how it was found."""
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
        nodules=Nodules(columns),
        operating_point=OperatingPoint(0.3, 0.3),
        n_candidates=N_NODULES,
        reference_hu=40.0,
    )


def time_viewer(folder: Path, picture: Path | None) -> dict[str, str]:
    """Start the command and the browser, and read off what took how long."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "miliary.cli", "view", str(folder), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            listening = time.perf_counter() - start
            with Chromium() as browser:
                found = _time_page(browser, url, picture)
            return {
                "command to address": f"{listening:.2f} s",
                **found,
                "server, peak memory": f"{_peak_gb(server.pid):.2f} GB",
            }
        finally:
            server.terminate()


def _time_page(browser: Chromium, url: str, picture: Path | None) -> dict[str, str]:
    page = browser.open(url)
    page.wait_for("document.documentElement.dataset.ready === 'webgl'", timeout_s=120)
    filters = page.evaluate(_TIME_FILTERS % json.dumps(FILTERS))
    by_card = page.evaluate(_TIME_SLICES)
    page.evaluate("document.getElementById('webgl').click()")
    by_server = page.evaluate(_TIME_SLICES)
    marks = dict(page.evaluate("performance.getEntriesByType('mark').map(m => [m.name, m.startTime])"))
    # The picture is in the page itself, so that the first paint shows it if it is there by then.
    first = page.evaluate(
        "Math.max(performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByType('resource').find(r => r.name.includes('/slice?')).responseEnd)"
    )
    if picture is not None:
        page.screenshot(picture)
    assert not page.errors, page.errors
    return {
        "page asked to first picture painted": f"{first / 1000:.2f} s",
        "page asked to first picture with marks drawn": f"{marks['miliary-slices'] / 1000:.2f} s",
        "page asked to coarse volumes of both scans": f"{marks['miliary-webgl-coarse'] / 1000:.2f} s",
        "page asked to full volumes of both scans": f"{marks['miliary-webgl'] / 1000:.2f} s",
        f"filter of {N_NODULES:,} nodules, slowest of {len(FILTERS)}": f"{max(filters):.0f} ms",
        "next slice by the server, median / slowest": f"{by_server[4]:.0f} / {by_server[-1]:.0f} ms",
        "next slice by WebGL, median / slowest": f"{by_card[4]:.0f} / {by_card[-1]:.0f} ms",
    }


def _peak_gb(pid: int) -> float:
    """Most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024**2


if __name__ == "__main__":
    sys.exit(main())
