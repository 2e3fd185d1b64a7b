"""Write the list of compiled loops that a first run compiles ahead: ``python -m tools.list_kernels``.

Each stage runs on a small simulated patient in a process of its own, and every loop that Python itself calls
is noted with the types it is called with; loops that loops call come with them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "src" / "miliary" / "image" / "kernels" / "kernels.json"
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write the list; as a worker, run one step and write what it called."""
    if arguments:
        step, folder = arguments
        rows = record(lambda: _STEPS[step](Path(folder)))
        (Path(folder) / f"{step}.json").write_text(json.dumps(rows), encoding="utf-8")
        return 0
    with tempfile.TemporaryDirectory(prefix="miliary-kernels-") as name:
        found = {step: _record_apart(step, Path(name)) for step in _STEPS}
    rows = [{"stage": stage, **row} for stage, row in _name_stages(found)]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    LIST.write_text(f'{{"kernels": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} kernels in {LIST.relative_to(ROOT)}")
    return 0


def _name_stages(found: dict[str, list[Row]]) -> list[tuple[str, Row]]:
    """Stage and kernel, in the order of a run; a kernel is listed with every stage that can run alone."""
    return [
        *(("simulate", row) for row in found["simulate"]),
        *(("ct" if row in found["fast"] else "completeness", row) for row in found["whole"]),
        # Alone where both sides were measured before.
        *(("compare", row) for row in found["compare"]),
    ]


def record(run: Callable[[], None]) -> list[Row]:
    """Run something and list the loops that Python calls in it, with their types, in the order of first use.

    A loop that this process called with the same types before is not seen again.
    """
    from numba.core.dispatcher import Dispatcher

    from miliary.image.kernels.compile_ahead import encode_types

    rows: list[Row] = []
    prepare = Dispatcher._compile_for_args  # noqa: SLF001  where numba goes for types that are new to it

    def note(self: Any, *arguments: Any, **named: Any) -> Any:
        function = self.py_func
        if function.__module__.startswith("miliary."):
            types = encode_types([self.typeof_pyval(one) for one in arguments])
            row = {"module": function.__module__, "function": function.__qualname__, "types": types}
            # Threads may meet here.
            if row not in rows:
                rows.append(row)
        return prepare(self, *arguments, **named)

    Dispatcher._compile_for_args = note  # noqa: SLF001
    try:
        run()
    finally:
        Dispatcher._compile_for_args = prepare  # noqa: SLF001
    return rows


def _record_apart(step: str, folder: Path) -> list[Row]:
    subprocess.run([sys.executable, "-m", "tools.list_kernels", step, str(folder)], check=True, cwd=ROOT)
    rows: list[Row] = json.loads((folder / f"{step}.json").read_text(encoding="utf-8"))
    return rows


def _simulate(folder: Path) -> None:
    """The demo's patient on a coarse grid, with fewer and larger nodules, as two DICOM series."""
    from miliary.exchange.dicom.write_ct import write_dicom_series
    from miliary.image.simulate import NodulePopulation, demo_pair, simulate_pair

    small = demo_pair()
    small["protocol"] = replace(
        small["protocol"],
        shape_zyx=(120, 180, 180),
        spacing_zyx_mm=(1.9, 1.7, 1.7),
        slice_thickness_mm=1.9,
        psf_fwhm_mm=2.4,
    )
    small["population"] = NodulePopulation(n=400, diameter_mm=(3.0, 6.0), shape="sphere")
    pair = simulate_pair(**small, n_threads=2)
    for label, one in (("baseline", pair.baseline), ("followup", pair.followup)):
        scan = one.scan
        write_dicom_series(folder / label, scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=1)


def _run(*words: str | Path) -> None:
    from miliary.cli.main import main as run

    code = run([*map(str, words), "--quiet", "--threads", "1"])
    if code:
        raise RuntimeError(f"miliary {words[0]} ended with {code}; mend it before listing its kernels")


# In this order: later ones read what earlier ones wrote.
_STEPS: dict[str, Callable[[Path], None]] = {
    "simulate": _simulate,
    "whole": lambda folder: _run("ct", folder / "baseline", "--out", folder / "measured-baseline"),
    "fast": lambda folder: _run("ct", folder / "baseline", "--fast", "--out", folder / "fast"),
    "followup": lambda folder: _run(
        "ct", folder / "followup", "--fast", "--out", folder / "measured-followup"
    ),
    "compare": lambda folder: _run(
        "compare", folder / "measured-baseline", folder / "measured-followup", "--out", folder / "compared"
    ),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
