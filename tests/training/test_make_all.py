"""Making the model files: the card follows from them, and a mixture is never installed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from miliary.errors import WeightsError
from miliary.image.weights import card
from training import make_all
from training.false_positive_table import HealthyScan, make_table
from training.pattern_model import format_model


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
