import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk
from PIL import Image

from miliary.errors import OutputError
from miliary.exchange.folders import atomic_folder, ct_store
from miliary.exchange.folders.atomic_folder import check_output
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.kinds import CT_FILES
from miliary.exchange.folders.tables import write_nodules_csv
from miliary.model.nodules import COLUMN_NAMES, COLUMNS
from miliary.model.saved.codec import to_json
from miliary.model.saved.summarize_scan import summarize

WITHOUT_VOLUME = sorted(name for name in CT_FILES if name != "volume.zarr")


def _listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_result_folder_holds_its_files_and_nothing_else(make_result, small_scan, tmp_path):
    result = make_result()
    write_ct_result(result, tmp_path / "deep" / "out", scan=small_scan)
    assert _listing(tmp_path / "deep" / "out") == sorted(CT_FILES)
    assert _listing(tmp_path / "deep") == ["out"]
    assert json.loads((tmp_path / "deep/out/scan.json").read_text()) == json.loads(
        json.dumps(to_json(summarize(result)))
    )
    assert np.array_equal(Image.open(tmp_path / "deep/out/preview.png"), result.preview_rgb)


def test_the_tables_read_back(make_result, make_nodules, tmp_path):
    nodules = make_nodules(
        3,
        x_mm=[1.23456, -2.0, 0.0],
        volume_mm3_err=[0.1, np.nan, 0.2],
        flags=["vessel_attached;blended", "", "fit_poor"],
    )
    write_ct_result(make_result(nodules=nodules), tmp_path / "out")
    raw = (tmp_path / "out/nodules.csv").read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    rows = list(csv.DictReader(raw.decode().splitlines()))
    assert tuple(rows[0]) == COLUMN_NAMES
    assert [row["x_mm"] for row in rows] == ["1.235", "-2.000", "0.000"]
    assert [row["volume_mm3_err"] for row in rows] == ["0.1000", "", "0.2000"]
    assert rows[0]["flags"] == "vessel_attached;blended"
    table = pq.read_table(tmp_path / "out/nodules.parquet")
    assert table.column_names == list(COLUMN_NAMES)
    assert table["x_mm"].to_pylist() == [1.23456, -2.0, 0.0]
    assert table.schema.field("volume_mm3").metadata[b"unit"] == b"mm3"
    for column in COLUMNS:
        assert (
            str(table.schema.field(column.name).type)
            == {
                object: "string",
                np.int64: "int64",
                np.float64: "double",
            }[column.dtype]
        )


def test_columns_are_written_without_pandas():
    """A third of a second of every run; in a process of its own, since other tests load it."""
    code = """
import sys
import numpy as np
from miliary.exchange.folders import ct_store, tables
ct_store.load_writers()
columns = (np.array([1.5, np.nan]), float), (np.array([3, 4], np.int32), np.int64)
columns += ((np.array(["\u00e4", "", "xyz"], object), object),)
loaded = [tables._parquet_array(*column) for column in columns]
print("pandas" in sys.modules, loaded[1].to_pylist(), loaded[2].to_pylist() == ["\u00e4", "", "xyz"])
print(loaded[0].null_count, [str(column.type) for column in loaded])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False [3, 4] True", "0 ['double', 'int64', 'string']"]


def test_no_nodules_is_a_table_of_no_rows(make_result, make_nodules, tmp_path):
    write_ct_result(make_result(nodules=make_nodules(0)), tmp_path / "out")
    assert (tmp_path / "out/nodules.csv").read_text() == ",".join(COLUMN_NAMES) + "\n"
    assert pq.read_table(tmp_path / "out/nodules.parquet").num_rows == 0


def test_extra_columns_follow_the_declared_ones(make_nodules, tmp_path):
    path = tmp_path / "truth.csv"
    write_nodules_csv(make_nodules(2), path, extra={"density_hu": np.array([40.0, -300.0])})
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(rows[0]) == (*COLUMN_NAMES, "density_hu")
    assert [float(row["density_hu"]) for row in rows] == [40.0, -300.0]


def test_the_lungs_are_written_as_given(make_result, tmp_path):
    result = make_result()
    write_ct_result(result, tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out/lungs.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), result.lungs.labels)
    assert image.GetSpacing() == pytest.approx(result.grid.spacing_zyx_mm[::-1])
    assert image.GetOrigin() == pytest.approx(result.grid.origin_lps_mm)


def test_an_earlier_result_is_replaced(make_result, make_nodules, tmp_path):
    write_ct_result(make_result(), tmp_path / "out")
    check_output(tmp_path / "out")
    write_ct_result(make_result(nodules=make_nodules(2)), tmp_path / "out")
    assert json.loads((tmp_path / "out/scan.json").read_text())["nodules"]["count"] == 2
    assert _listing(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failing_run_leaves_nothing_new(make_result, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(ct_store, "write_png", fail)
    with pytest.raises(type(error)):
        write_ct_result(make_result(), tmp_path / "deep" / "out")
    assert _listing(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failing_run_leaves_the_earlier_result(make_result, make_nodules, tmp_path, monkeypatch, error):
    write_ct_result(make_result(), tmp_path / "out")
    before = (tmp_path / "out/scan.json").read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(ct_store, "write_png", fail)
    with pytest.raises(type(error)):
        write_ct_result(make_result(nodules=make_nodules(1)), tmp_path / "out")
    assert _listing(tmp_path) == ["out"]
    assert (tmp_path / "out/scan.json").read_bytes() == before


def test_a_failing_rename_brings_the_earlier_result_back(make_result, tmp_path, monkeypatch):
    write_ct_result(make_result(), tmp_path / "out")
    rename = atomic_folder.Path.rename

    def fail_for_draft(self, target):
        if self.name.endswith(".part"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(atomic_folder, "_exchange", lambda *_: False)  # as where the system cannot
    monkeypatch.setattr(atomic_folder.Path, "rename", fail_for_draft)
    with pytest.raises(OutputError, match="permission denied"):
        write_ct_result(make_result(), tmp_path / "out")
    assert _listing(tmp_path) == ["out"]
    assert _listing(tmp_path / "out") == WITHOUT_VOLUME


KILLED = """
import os, signal, sys
from pathlib import Path
from miliary.exchange.folders import atomic_folder

at, exchanges = int(sys.argv[2]), sys.argv[3] == "exchange"
if not exchanges:
    atomic_folder._exchange = lambda *_: False
steps = 0

def step(real):
    def counted(*arguments, **options):
        global steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return counted

atomic_folder.Path.rename = step(Path.rename)
atomic_folder.shutil.rmtree = step(atomic_folder.shutil.rmtree)
with atomic_folder.replacing_folder(Path(sys.argv[1])) as draft:
    (draft / "scan.json").write_text('{"kind": "miliary.ct", "new": 1}')
    step(lambda: None)()
"""


@pytest.mark.parametrize("way", ["exchange", "two steps"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_kill_at_any_step_loses_nothing_and_the_next_run_clears_up(tmp_path, at, way):
    target = tmp_path / "out"
    target.mkdir()
    (target / "scan.json").write_text('{"kind": "miliary.ct"}')
    ended = subprocess.run([sys.executable, "-c", KILLED, target, str(at), way], check=False)
    assert ended.returncode in (0, -9)
    if way == "exchange":
        assert (target / "scan.json").is_file()
    check_output(target)
    assert _listing(tmp_path) == ["out"]
    assert json.loads((target / "scan.json").read_text())["kind"] == "miliary.ct"


def test_a_draft_of_a_run_that_works_is_left_alone(tmp_path):
    with atomic_folder.replacing_folder(tmp_path / "out") as draft:
        check_output(tmp_path / "out")
        assert draft.is_dir()
    assert _listing(tmp_path) == ["out"]


def _foreign_file(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def _result_with_a_note(folder):
    folder.mkdir()
    (folder / "scan.json").write_text('{"kind": "miliary.ct"}')
    (folder / "notes.txt").write_text("mine")


def _other_scan_json(folder):
    folder.mkdir()
    (folder / "scan.json").write_text('{"kind": "other"}')


def _broken_scan_json(folder):
    folder.mkdir()
    (folder / "scan.json").write_text("{")


def _file(folder):
    folder.write_text("mine")


def _dangling_link(folder):
    folder.symlink_to(folder.parent / "nowhere")


@pytest.mark.parametrize(
    "prepare",
    [_foreign_file, _result_with_a_note, _other_scan_json, _broken_scan_json, _file, _dangling_link],
)
def test_what_is_not_ours_is_never_replaced(make_result, tmp_path, prepare):
    target = tmp_path / "out"
    prepare(target)
    before = {path: path.is_symlink() or path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    for attempt in (check_output, lambda folder: write_ct_result(make_result(), folder)):
        with pytest.raises(OutputError, match=r"^out: .*choose a new folder$"):
            attempt(target)
    assert before == {
        path: path.is_symlink() or path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")
    }


def test_an_empty_folder_may_be_filled(make_result, tmp_path):
    (tmp_path / "out").mkdir()
    check_output(tmp_path / "out")
    write_ct_result(make_result(), tmp_path / "out")
    assert _listing(tmp_path / "out") == WITHOUT_VOLUME


def test_a_place_that_cannot_be_written_is_said_before_the_work(make_result, tmp_path):
    (tmp_path / "file").write_text("")
    for attempt in (check_output, lambda folder: write_ct_result(make_result(), folder)):
        with pytest.raises(OutputError, match=r"^out: cannot write there") as caught:
            attempt(tmp_path / "file" / "out")
        assert str(tmp_path) not in str(caught.value)


def test_a_check_leaves_nothing(tmp_path):
    check_output(tmp_path / "deep" / "out")
    assert _listing(tmp_path) == []
