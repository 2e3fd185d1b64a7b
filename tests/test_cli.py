import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

import miliary
from miliary.cli import simulate_command
from miliary.cli.main import main
from miliary.errors import NoLungsError, ScanReadError, WeightsError
from miliary.exchange import ct_read
from miliary.exchange.folders import ct_store as store
from miliary.exchange.folders.kinds import CT_FILES
from tests.exchange.situations import thin_chest_beside_thick_trunk, zip_in_a_zip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")  # noqa: PTH110
def test_an_output_that_takes_nothing_is_told_in_one_line():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, "-m", "miliary.cli", "rules", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("miliary: error: standard output cannot be written (no space left")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["ct", "nowhere", "--out", "x"], 2)])
def test_streams_that_were_closed_before_the_start_are_no_defect(monkeypatch, arguments, code):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(arguments) == code
    sys.stdout.close()
    sys.stderr.close()


@pytest.fixture
def measured(make_result, small_scan, monkeypatch):
    """Replace reading and measuring by something instant; what is returned can be changed."""
    state = types.SimpleNamespace(result=make_result(), calls=[])

    def read_ct(path, *, series=None, n_threads=None):
        state.calls.append((path.name, series, n_threads))
        return small_scan

    def find_nodules(
        scan,
        *,
        progress=None,
        n_threads=None,
        seed=0,
        corrections=None,
        with_completeness=True,
        lung_mask=None,
        lesion_seeds_lps_mm=(),
    ):
        assert scan is small_scan
        for name in ("lungs", "find"):
            progress(name)
        if isinstance(state.result, BaseException):
            raise state.result
        return state.result

    monkeypatch.setattr(ct_read, "read_ct", read_ct)
    pipeline = types.ModuleType("miliary.pipeline")
    pipeline.find_nodules = find_nodules
    monkeypatch.setitem(sys.modules, "miliary.pipeline", pipeline)
    return state


def test_ct_writes_the_folder_and_a_summary(measured, tmp_path, capsys):
    assert main(["ct", "scan", "--out", str(tmp_path / "out"), "--series", "3", "--threads", "2"]) == 0
    out, err = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(CT_FILES)
    assert measured.calls == [("scan", "3", 2)]
    assert "per litre" in out
    assert "This is made up. [test_warning]" in " ".join(out.split())
    assert [line.split()[0] for line in err.splitlines()] == ["read", "lungs", "find", "write"]


def test_the_stages_of_a_result_begin_with_reading(measured, tmp_path):
    main(["ct", "scan", "--out", str(tmp_path / "out"), "--quiet"])
    stages = json.loads((tmp_path / "out/scan.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["read", "lungs"]


def test_json_is_one_object_on_stdout_and_lines_on_stderr(measured, tmp_path, capsys):
    assert main(["ct", "scan", "--out", str(tmp_path / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out/scan.json").read_text())
    events = [json.loads(line) for line in err.splitlines()]
    assert [e["stage"] for e in events if e["event"] == "done"] == ["read", "lungs", "find", "write"]
    assert all(e["seconds"] >= 0 for e in events if e["event"] == "done")


def test_quiet_says_nothing(measured, tmp_path, capsys):
    assert main(["ct", "scan", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "out/scan.json").is_file()


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NoLungsError("no lungs were found; give a chest CT"), 2, "scan: no lungs were found"),
        (WeightsError("classifier.npz: damaged; reinstall"), 1, "classifier.npz: damaged; reinstall"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("/secret/path"), 1, "ZeroDivisionError in test_cli.py"),
        (MemoryError(), 1, "not enough memory"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["--quiet"], ["--json"]])
def test_a_failing_run_is_one_line_and_leaves_nothing(
    measured, tmp_path, capsys, monkeypatch, error, code, text, mode
):
    monkeypatch.delenv("MILIARY_DEBUG", raising=False)
    measured.result = error
    assert main(["ct", "scan", "--out", str(tmp_path / "deep" / "out"), *mode]) == code
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert text in last
    assert "/secret" not in err
    assert "Traceback" not in err
    if mode == ["--json"]:
        assert json.loads(last)["exit_code"] == code
    else:
        assert last.startswith("miliary: error: ")
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_broke(measured, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MILIARY_DEBUG", "1")
    measured.result = ZeroDivisionError("detail")
    assert main(["ct", "scan", "--out", str(tmp_path / "out")]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unusable_folder_is_said_before_anything_is_read(measured, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["ct", "scan", "--out", str(tmp_path)]) == 2
    assert measured.calls == []
    assert "mine.txt, which miliary did not write" in capsys.readouterr().err


def test_a_reading_error_is_shown_as_it_is(tmp_path, capsys, monkeypatch):
    def read_ct(*_, **__):
        raise ScanReadError("slice 7.dcm: is truncated;  copy it again")

    monkeypatch.setattr(ct_read, "read_ct", read_ct)
    assert main(["ct", "scan", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.endswith("miliary: error: slice 7.dcm: is truncated; copy it again\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ct"],
        ["ct", "scan"],
        ["ct", "scan", "--out", "x", "--threads", "0"],
        ["ct", "scan", "--out", "x", "--sires", "1"],
        ["unknown"],
        ["simulate", "--out", "x", "--pattern", "miliary"],
    ],
)
def test_a_usage_error_is_one_line_that_points_to_the_help(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("miliary: error: ")
    assert err.count("\n") == 1
    assert "--help'" in err


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "ct" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"miliary {miliary.__version__}\n"


def test_the_words_of_the_simulator_are_its_own():
    from miliary.image import simulate

    assert simulate_command.PATTERNS == simulate.PATTERNS
    assert simulate_command.SHAPES == simulate.SHAPES


@pytest.fixture
def simulated(small_scan, small_labels, make_nodules, monkeypatch):
    """Replace the simulator by something instant that records what it was asked for."""
    from miliary.image import simulate

    calls = []

    def simulate_scan(protocol, **settings):
        calls.append((protocol, settings))
        nodules = make_nodules(3)
        truth = {
            **nodules.columns,
            "kind": np.array(["nodule", "nodule", "calcified"], dtype=object),
            "density_hu": np.array([40.0, 30.0, 400.0]),
            "shape": np.array(["sphere"] * 3, dtype=object),
        }
        return simulate.SimulatedScan(small_scan, truth, small_labels, None)

    monkeypatch.setattr(simulate, "simulate_scan", simulate_scan)
    return calls


def test_a_simulated_scan_reads_back(simulated, small_scan, tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "simulation.json",
        "truth.csv",
        "truth_lungs.nii.gz",
        "volume.nii.gz",
    ]
    rows = (tmp_path / "a/truth.csv").read_text().splitlines()
    assert rows[0].endswith("flags,kind,density_hu,shape")
    assert rows[3].endswith(",calcified,400.000,sphere")
    assert main(["simulate", "--out", str(tmp_path / "b"), "--quiet", "--dicom"]) == 0
    assert len(list((tmp_path / "b/dicom").iterdir())) == small_scan.grid.shape_zyx[0]
    for place in ("a/volume.nii.gz", "b/dicom"):
        back = ct_read.read_ct(tmp_path / place)
        assert np.array_equal(back.voxels_hu, small_scan.voxels_hu)
        assert back.grid.origin_lps_mm == pytest.approx(small_scan.grid.origin_lps_mm)
        assert back.grid.spacing_zyx_mm == pytest.approx(small_scan.grid.spacing_zyx_mm)
    assert capsys.readouterr() == ("", "")


def test_the_options_of_simulate_reach_the_simulator(simulated, tmp_path, capsys):
    options = "--seed 5 --nodules 7 --diameter 1.5 2.5 --density -500 -300 --pattern perilymphatic"
    options += " --shape sphere --calcified 3 --lesion --hard-negatives --slice-thickness 2"
    options += " --pixel 0.8 --blur 1.8 --noise 55 --threads 1"
    assert main(["simulate", "--out", str(tmp_path / "a"), "--json", *options.split()]) == 0
    protocol, settings = simulated[0]
    assert protocol.spacing_zyx_mm == (2.0, 0.8, 0.8)
    assert protocol.shape_zyx == (175, 448, 448)
    assert (protocol.slice_thickness_mm, protocol.psf_fwhm_mm, protocol.noise_sd_hu) == (2.0, 1.8, 55.0)
    population = settings["population"]
    assert (population.n, population.pattern, population.shape) == (7, "perilymphatic", "sphere")
    assert (population.diameter_mm, population.density_hu) == ((1.5, 2.5), (-500.0, -300.0))
    assert (settings["seed"], settings["n_calcified"], settings["n_threads"]) == (5, 3, 1)
    assert settings["hard_negatives"] is True
    assert settings["lesion"] is not None
    assert json.loads(capsys.readouterr().out) == {"origin": "simulated", "nodule": 2, "calcified": 1}
    about = json.loads((tmp_path / "a/simulation.json").read_text())
    assert about["seed"] == 5
    assert about["parameters"]["pattern"] == "perilymphatic"


def test_an_earlier_simulation_is_replaced(simulated, tmp_path):
    assert main(["simulate", "--out", str(tmp_path / "a"), "--quiet", "--dicom"]) == 0
    assert main(["simulate", "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert not (tmp_path / "a/dicom").exists()


def test_a_simulation_never_replaces_a_result(measured, simulated, tmp_path, capsys):
    main(["ct", "scan", "--out", str(tmp_path / "out"), "--quiet"])
    assert main(["simulate", "--out", str(tmp_path / "out")]) == 2
    assert simulated == []
    assert "miliary did not write" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(CT_FILES)


_INTERRUPTED = """
import os, signal, sys, time
# A shell that runs the tests in the background has its children ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from miliary.cli.main import entry
from miliary.exchange import ct_read

def read_ct(*_, **__):
    print("reading", flush=True)
    time.sleep(60)

ct_read.read_ct = read_ct
sys.argv = ["miliary", "ct", "scan", "--out", sys.argv[1]]
entry()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_leaves_nothing(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "reading\n"
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing(measured, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_png", interrupt)
    assert main(["ct", "scan", "--out", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_check_says_what_would_be_read_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    path = thin_chest_beside_thick_trunk(tmp_path / "a")
    before = sorted(tmp_path.rglob("*"))
    assert main(["ct", str(path), "--check", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["shape_zyx"] == [48, 64, 80]
    assert said["series_choice"].startswith("series 2 of 2 (number 3)")
    assert "32 slices of 4 mm" in said["other_series"]
    assert "several_series" in [warning["code"] for warning in said["warnings"]]
    scan = ct_read.read_ct(path)
    assert [warning["code"] for warning in said["warnings"]] == [w.code for w in scan.warnings]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_check_refuses_what_would_be_refused(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    assert main(["ct", str(zip_in_a_zip(tmp_path / "a")), "--check"]) == 2
    assert "a zip of its own" in capsys.readouterr().err


def test_the_doctor_finds_nothing_needed_missing_here_and_says_what_is(capsys, monkeypatch):
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {"codecs", "model files", "kernel cache", "viewer bundle", "printing"} <= {
        c["name"] for c in checks
    }
    monkeypatch.setattr("miliary.cli.installation._SYNTAXES", {"1.2.840.10008.1.2.4.51": "JPEG extended"})
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    assert main(["doctor"]) == 2
    assert "missing  codecs          no decoder for JPEG extended" in capsys.readouterr().out
