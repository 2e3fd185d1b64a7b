"""A few seconds of the fuzzer in every run, and everything that it has found before."""

import json
import math
import time
import zipfile
from pathlib import Path

import pytest

from fuzzing import requests
from fuzzing.run import FINDINGS, FOREIGN, HANG, Range, fuzz, put_through
from fuzzing.seeds import DOORS

REGRESSIONS = Path(__file__).resolve().parents[2] / "fuzzing/regressions"
BY_NAME = {door.name: door for door in DOORS}


def test_some_mutated_inputs_of_every_door_are_read_or_refused_in_one_line(capsys):
    quick = [door for door in DOORS if door.rarely <= 3]
    counts = fuzz(quick, iter((0, 6, 12, 18)), until=math.inf, keep=None)
    assert not [name for name in counts if name in FINDINGS], capsys.readouterr().out
    assert counts["read"] + counts["refused"] == 4 * len(quick)
    assert min(counts["read"], counts["refused"]) > 3


def test_hostile_requests_are_refused_and_the_next_good_one_answered(capsys):
    counts = requests.run(80)
    assert counts["finding"] == 0, capsys.readouterr().out
    assert min(counts[status] for status in ("200", "403", "421")) > 0


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.zip")), ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(tmp_path, path):
    door = BY_NAME[path.stem.partition("-")[0]]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "input")
    (tmp_path / "out").mkdir()
    place = tmp_path / "input"
    outcome, words = put_through(door.name, place / door.entry if door.entry else place, tmp_path / "out")
    assert outcome not in FINDINGS, words


def test_the_runner_tells_a_foreign_error_and_a_hang_from_a_refusal(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    assert put_through("nifti", tmp_path / "nothing", tmp_path / "out")[0] == "refused"
    monkeypatch.setattr("fuzzing.run.go_through", lambda *_: json.loads("{"))
    outcome, words = put_through("nifti", tmp_path, tmp_path / "out")
    assert outcome == FOREIGN
    assert "JSONDecodeError" in words
    monkeypatch.setattr("fuzzing.run.LIMIT_CLOCK_S", 0.2)
    monkeypatch.setattr("fuzzing.run.go_through", lambda *_: time.sleep(30))
    assert put_through("nifti", tmp_path, tmp_path / "out")[0] == HANG


def test_an_input_is_made_again_from_its_number(tmp_path):
    arena = Range(tmp_path)
    door = BY_NAME["nifti"]
    arena.prepare(door)
    seed = (arena.folder / "seeds/nifti/ct.nii").read_bytes()
    first = [(arena.make(door, (number,)) / "ct.nii").read_bytes() for number in range(5)]
    assert first == [(arena.make(door, (number,)) / "ct.nii").read_bytes() for number in range(5)]
    assert len({seed, *first}) > 3
