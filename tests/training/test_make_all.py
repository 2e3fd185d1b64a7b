"""Making the model files: the card follows from them, and a mixture is never installed."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from miliary.errors import WeightsError
from miliary.image.nodules import judge
from miliary.image.nodules.features import FEATURE_NAMES, QUICK_NAMES
from miliary.image.weights import card
from training import false_positive_table, make_all, pattern_model, train
from training.false_positive_table import HealthyScan, make_table
from training.pattern_model import format_model
from training.scans import Recipe


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "made").mkdir()
    for name in card.MODEL_FILES:
        shutil.copy(card.FOLDER / name, tmp_path / "made" / name)
    return tmp_path / "made"


def test_the_packaged_card_is_what_the_files_and_the_constants_make(folder):
    packaged = (card.FOLDER / card.CARD_NAME).read_text("utf-8")
    make_all.write_card(folder, set_by_hand=json.loads(packaged)["set_by_hand"])
    assert (folder / card.CARD_NAME).read_text("utf-8") == packaged


def test_the_packaged_pattern_model_is_written_as_it_is_read():
    text = (card.FOLDER / card.PATTERN).read_text("utf-8")
    assert format_model(json.loads(text)) + "\n" == text


def test_files_of_two_trainings_are_not_installed(folder, tmp_path, monkeypatch):
    target = tmp_path / "package"
    target.mkdir()
    monkeypatch.setattr(card, "FOLDER", target)
    model = json.loads((folder / card.PATTERN).read_text("utf-8"))
    model["made_with"]["weights_sha256"] = "0" * 64
    (folder / card.PATTERN).write_text(format_model(model), encoding="utf-8")
    with pytest.raises(WeightsError, match="made with other trees"):
        make_all.write_card(folder, set_by_hand={})
    with pytest.raises(WeightsError, match="made with other trees"):
        make_all.install(folder)
    assert list(target.iterdir()) == []


def test_files_that_belong_together_are_installed_whole(folder, tmp_path, monkeypatch):
    make_all.write_card(folder, set_by_hand={})
    target = tmp_path / "package"
    target.mkdir()
    monkeypatch.setattr(card, "FOLDER", target)
    make_all.install(folder)
    assert {path.name for path in target.iterdir()} == {*card.MODEL_FILES, card.CARD_NAME}
    assert card.read_card(target).threshold == card.read_card(folder).threshold


def test_rates_of_false_positives_are_recovered_from_counts():
    rng = np.random.default_rng(7)
    scans = [
        HealthyScan(
            n_reported=int(rng.poisson(3.0 * 2.0)),
            n_below=int(rng.poisson(15.0 * 2.0)),
            litres=2.0,
            slice_mm=1.0,
            noise_hu=20.0 if k % 2 else 50.0,
        )
        for k in range(400)
    ]
    table = make_table(scans)
    # 2400 reported and 12000 below: the ratio is known to about 3 %.
    assert table["ratio"]["value"] == pytest.approx(0.2, rel=0.1)
    assert [(row["slice_max_mm"], row["noise_max_hu"]) for row in table["rows"]] == [
        (1.3, 30.0),
        (1.3, 100.0),
    ]
    for row in table["rows"]:
        # The mean logarithm of counts of 6 lies a little below that of their mean.
        assert row["per_litre"] == pytest.approx(3.0, rel=0.12)
        assert row["log_spread"] == pytest.approx(0.2, abs=0.1)
        assert row["n_scans"] == 200


def test_a_protocol_of_few_scans_has_no_row():
    scans = [HealthyScan(5, 20, 2.0, 1.0, 20.0)] * 10 + [HealthyScan(5, 20, 2.0, 2.0, 20.0)] * 3
    assert [row["n_scans"] for row in make_table(scans)["rows"]] == [10]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the packaged model files in the place of the package, and measurements that take no time."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name in (*card.MODEL_FILES, card.CARD_NAME):
        shutil.copy(card.FOLDER / name, folder / name)
    detection = json.loads((folder / card.PATTERN).read_text("utf-8"))["detection"]
    monkeypatch.setattr(card, "FOLDER", folder)
    monkeypatch.setattr(judge, "WEIGHTS_PATH", folder / card.TREES)
    monkeypatch.setattr(
        pattern_model, "measure_chance", lambda _seeds, _geometry: {**detection, "made": "anew"}
    )
    monkeypatch.setattr(
        false_positive_table, "measure_healthy", lambda seed: HealthyScan(10 + seed % 7, 30, 2.0, 1.0, 20.0)
    )
    monkeypatch.setattr(train, "load_tables", lambda *_: [make_candidates()])
    patients = json.loads((folder / card.CLASSIFIER).read_text("utf-8"))["patients"]
    recipes = [Recipe(name, name, 0, patient=name) for name in patients]
    monkeypatch.setattr(train, "find_data", lambda: None)
    monkeypatch.setattr(train, "list_recipes", lambda **_: recipes)
    monkeypatch.delenv(judge.WEIGHTS_VARIABLE, raising=False)
    return folder


def make_candidates() -> train.Table:
    """Candidates without meaning, all of them nodules."""
    rng = np.random.default_rng(3)
    n = 4000
    return train.Table(
        recipe=Recipe("none", "simulated-0", 0),
        features=rng.normal(0, 30, (n, len(FEATURE_NAMES))).astype(np.float32),
        quick=rng.normal(0, 30, (n, len(QUICK_NAMES))).astype(np.float32),
        label=np.ones(n, dtype=np.float32),
        weight=np.ones(n, dtype=np.float32),
        position_mm=np.zeros((n, 3)),
        truth_mm=np.zeros((0, 3)),
        truth_diameter_mm=np.zeros(0),
        lung_litres=1.0,
    )


def test_another_threshold_makes_anew_what_rests_on_it_and_keeps_the_rest(package, tmp_path):
    before = {name: (package / name).read_bytes() for name in card.MODEL_FILES}
    arguments = ["--keep-trees", "--threshold", "0.4", "--work", str(tmp_path / "work"), "--healthy", "8"]
    make_all.main(arguments)
    # A folder is read once per process, and this one has been read before it was changed.
    found = card.read_card(shutil.copytree(package, tmp_path / "installed"))
    assert found.threshold == 0.4
    assert (package / card.TREES).read_bytes() == before[card.TREES]
    classifier, pattern, table = (
        found.documents[n] for n in (card.CLASSIFIER, card.PATTERN, card.FALSE_POSITIVES)
    )
    old = {name: json.loads(text) for name, text in before.items() if name != card.TREES}
    assert classifier["threshold"] == 0.4
    assert classifier["screen_floor"] != old[card.CLASSIFIER]["screen_floor"]
    assert classifier["calibration"] == old[card.CLASSIFIER]["calibration"]
    assert pattern["detection"]["made"] == "anew"
    assert pattern["classes"] == old[card.PATTERN]["classes"]
    assert table["rows"][0]["n_scans"] == 8
    assert table["unknown_scan"] == old[card.FALSE_POSITIVES]["unknown_scan"]
    assert judge.WEIGHTS_VARIABLE not in os.environ


def test_the_screen_serves_the_lowest_threshold_that_a_scan_may_choose(package, tmp_path):
    floors = []
    for threshold in (0.5, 0.9):
        train.change_threshold(tmp_path / "new" / card.TREES, threshold=threshold, work=tmp_path)
        made = json.loads((tmp_path / "new" / card.CLASSIFIER).read_text("utf-8"))
        assert made["threshold"] == threshold
        floors.append(made["screen_floor"])
    assert floors[0] == floors[1]


def test_the_scans_that_the_trees_were_trained_on_must_be_there(package, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "list_recipes", lambda **_: [Recipe("a", "simulated-1", 0)])
    with pytest.raises(SystemExit, match="lidc-idri-0003, lidc-idri-0314"):
        train.change_threshold(tmp_path / card.TREES, threshold=0.4, work=tmp_path)


def test_lungs_with_hardly_a_false_positive_tell_no_rate():
    with pytest.raises(ValueError, match="simulate more lungs"):
        make_table([HealthyScan(1, 20, 2.0, 1.0, 20.0)] * 8)
