"""Each run writes one folder, reports its stages, and leaves nothing half-written where it is stopped."""

import json
import subprocess
import sys

import pytest

import miliary
from miliary.errors import InputError, OutputError, RunCancelled
from miliary.exchange.folders.kinds import CT_FILES
from miliary.model.saved.codec import to_json
from miliary.workflow.case_derivation import derive_case
from miliary.workflow.comparison_run import ComparisonSettings, compare
from miliary.workflow.scan_measurement import MeasurementSettings, measure
from miliary.workflow.simulation_run import SimulationSettings, write_simulated_scan
from tests.workflow.control import digest, stop_at


def run_measure(patient, out, **control):
    return measure(patient / "Quzzle_Jane_zz", out, n_threads=1, **control)


def run_compare(patient, out, **control):
    return compare([patient / "Quzzle_Jane_zz", patient / "Quzzle_Jane_aa"], out, n_threads=1, **control)


def run_case(patient, out, **control):
    return derive_case(patient / "case", out, **control)


def run_simulation(_patient, out, **control):
    settings = SimulationSettings(nodules=3, grid=(24, 64, 64), pixel=5.0, slice_thickness=9.0)
    return write_simulated_scan(out, settings=settings, n_threads=1, **control)


RUNS = [
    (run_measure, ["read", "lungs", "find", "write"]),
    (run_compare, ["check", "read baseline", "measure baseline", "read followup", "measure followup"]),
    (run_case, ["assess", "write"]),
    (run_simulation, ["simulate", "write"]),
]


@pytest.mark.parametrize(("run", "stages"), RUNS, ids=lambda value: getattr(value, "__name__", ""))
def test_stages_are_reported_in_order(run, stages, patient, measured, tmp_path):
    seen = []
    run(patient, tmp_path / "out", progress=seen.append)
    assert seen[: len(stages)] == stages
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(("run", "stages"), RUNS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_run_cancelled_at_any_stage_leaves_nothing(run, stages, patient, measured, tmp_path):
    for number in range(1, len(stages) + 1):
        with pytest.raises(RunCancelled):
            run(patient, tmp_path / "deep" / "out", cancel=stop_at(number))
        assert [path.name for path in tmp_path.iterdir()] == ["patient"]


@pytest.mark.parametrize(("run", "stages"), RUNS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_cancelled_run_leaves_an_earlier_result_as_it_was(run, stages, patient, measured, tmp_path):
    run(patient, tmp_path / "out")
    before = digest(tmp_path)
    for number in range(1, len(stages) + 1):
        with pytest.raises(RunCancelled):
            run(patient, tmp_path / "out", cancel=stop_at(number))
    assert digest(tmp_path) == before


def test_what_progress_raises_ends_the_run_and_leaves_nothing(patient, measured, tmp_path):
    class StopError(Exception):
        pass

    def progress(stage):
        if stage == "write":
            raise StopError

    with pytest.raises(StopError):
        run_measure(patient, tmp_path / "out", progress=progress)
    assert not (tmp_path / "out").exists()


def test_measuring_returns_what_it_wrote(patient, measured, tmp_path):
    result = miliary.measure(patient / "Quzzle_Jane_zz", tmp_path / "out", n_threads=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(CT_FILES)
    saved = json.loads((tmp_path / "out/scan.json").read_text())
    assert saved == json.loads(json.dumps(to_json(miliary.summarize(result))))
    assert [stage["name"] for stage in saved["stages"]] == ["read", "lungs"]


def test_settings_reach_the_result(patient, measured, tmp_path):
    settings = MeasurementSettings(keep_volume=False)
    measure(patient / "Quzzle_Jane_zz", tmp_path / "out", settings=settings, n_threads=1)
    assert not (tmp_path / "out/volume.zarr").exists()


def test_an_earlier_result_is_measured_anew_in_its_place(patient, measured, tmp_path):
    run_measure(patient, tmp_path / "out")
    measure(tmp_path / "out", n_threads=1)
    assert len(measured) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"patient", "out"}


def test_a_comparison_says_what_its_file_holds(patient, measured, tmp_path):
    run = run_compare(patient, tmp_path / "out")
    assert json.loads((tmp_path / "out/response.json").read_text()) == json.loads(
        json.dumps(to_json(run.summary))
    )
    assert [one.days_between for one in run.comparisons] == [91]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p, o: measure(p / "Quzzle_Jane_zz"), OutputError, "out: is missing"),
        (lambda p, o: measure(p / "nobody", o), InputError, "nobody does not exist"),
        (lambda p, o: measure(p / "Quzzle_Jane_zz", o, apply_corrections=True), InputError, "miliary view"),
        (lambda p, o: compare([p / "Quzzle_Jane_zz"], o), InputError, "two or more"),
        (lambda p, o: compare([p, p], o, settings=ComparisonSettings(days=(1, 2))), InputError, "days:"),
        (lambda p, o: derive_case(p / "nobody", o), InputError, "nobody"),
        (lambda p, o: derive_case(p / "case", p), OutputError, "miliary did not write"),
    ],
)
def test_errors_are_those_of_the_package_and_leave_nothing(patient, measured, tmp_path, call, error, text):
    with pytest.raises(error, match=text) as raised:
        call(patient, tmp_path / "out")
    assert isinstance(raised.value, miliary.MiliaryError)
    assert str(tmp_path) not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_workflow_runs_without_the_command_line(patient, tmp_path):
    code = (
        "import sys, miliary; "
        f"miliary.derive_case({str(patient / 'case')!r}, {str(tmp_path / 'out')!r}); "
        "import miliary.workflow.study_run, miliary.workflow.demo_patient; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"click", "rich", "miliary.cli"} & set(done.stdout.split())
    assert done.stderr == ""
    assert (tmp_path / "out/case.json").is_file()


def test_every_folder_opens_as_what_it_is(patient, measured, tmp_path):
    for name, run in (("ct", run_measure), ("pair", run_compare), ("facts", run_case)):
        run(patient, tmp_path / name)
    miliary.run_study(patient, tmp_path / "study", n_threads=1)
    kinds = {
        name: type(miliary.open_result(tmp_path / name)).__name__ for name in ("ct", "pair", "facts", "study")
    }
    assert kinds == {
        "ct": "SavedCtResult",
        "pair": "SavedComparisonResult",
        "facts": "SavedCaseResult",
        "study": "StudyFolder",
    }
    assert [entry.label for entry in miliary.open_result(tmp_path / "study").index.ct] == [
        "baseline",
        "followup",
    ]
    for nothing in (patient, patient / "Quzzle_Jane_zz", tmp_path / "nobody"):
        with pytest.raises(InputError, match="no result of this program"):
            miliary.open_result(nothing)
