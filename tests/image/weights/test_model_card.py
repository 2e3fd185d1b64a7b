"""The packaged model files belong together, and any mixture is refused in one line with its remedy."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

from miliary.errors import WeightsError
from miliary.image.distribution import randomness
from miliary.image.nodules import judge
from miliary.image.sensitivity import false_positives
from miliary.image.weights import card


@pytest.fixture
def folder(tmp_path):
    """A copy of the packaged model files."""
    for name in (*card.MODEL_FILES, card.CARD_NAME):
        shutil.copy(card.FOLDER / name, tmp_path / name)
    return tmp_path


def edit(path, **changes):
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def name_in_card(folder, name):
    """Let the card name a file as it is now."""
    files = json.loads((folder / card.CARD_NAME).read_text("utf-8"))["files"]
    edit(folder / card.CARD_NAME, files={**files, name: card.hash_file(folder / name)})


def refusal(folder):
    with pytest.raises(WeightsError) as caught:
        card.read_card(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "make train" in message
    assert "reinstall" in message
    return message


def test_the_packaged_files_are_those_of_the_card(folder):
    found = card.read_card(folder)
    assert found == card.read_card()
    assert found.threshold == judge.read_classifier().threshold
    assert found.weights_sha256 == judge.read_classifier().sha256
    assert {path.name for path in card.FOLDER.iterdir() if path.suffix in (".json", ".npz")} == {
        *card.MODEL_FILES,
        card.CARD_NAME,
    }


@pytest.mark.parametrize("name", [*card.MODEL_FILES, card.CARD_NAME])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{name}: missing")


@pytest.mark.parametrize("name", card.MODEL_FILES)
def test_a_changed_byte_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    place = data.rindex(b"}") if name.endswith(".json") else len(data) // 2
    data[place : place + 1] = b" }" if name.endswith(".json") else bytes([data[place] ^ 1])
    (folder / name).write_bytes(data)
    assert refusal(folder).startswith(f"{name}: not the file that card.json names")


@pytest.mark.parametrize("name", [card.CLASSIFIER, card.PATTERN, card.FALSE_POSITIVES])
def test_a_file_that_is_no_json_is_refused(folder, name):
    (folder / name).write_text("{", encoding="utf-8")
    assert refusal(folder).startswith(f"{name}: damaged")


def test_a_threshold_changed_in_the_classifier_alone_is_refused(folder):
    edit(folder / card.CLASSIFIER, threshold=0.25)
    name_in_card(folder, card.CLASSIFIER)
    message = refusal(folder)
    assert message.startswith("classifier.json: made with the threshold 0.25, card.json names 0.32")


def test_a_threshold_changed_everywhere_but_in_what_rests_on_it_is_refused(folder):
    edit(folder / card.CLASSIFIER, threshold=0.25)
    name_in_card(folder, card.CLASSIFIER)
    edit(folder / card.CARD_NAME, threshold=0.25)
    message = refusal(folder)
    assert message.startswith("pattern.json: made with the threshold 0.32, card.json names 0.25")


@pytest.mark.parametrize("name", [card.PATTERN, card.FALSE_POSITIVES])
def test_a_file_made_with_other_trees_is_refused_even_if_the_card_names_it(folder, name):
    made = json.loads((folder / name).read_text("utf-8"))["made_with"]
    edit(folder / name, made_with={**made, "weights_sha256": "ab" * 32})
    name_in_card(folder, name)
    assert refusal(folder).startswith(f"{name}: made with other trees (abababab...)")


@pytest.mark.parametrize("name", [card.PATTERN, card.FALSE_POSITIVES])
def test_a_file_that_does_not_say_how_it_was_made_is_refused(folder, name):
    edit(folder / name, made_with={})
    name_in_card(folder, name)
    assert refusal(folder).startswith(f"{name}: made with no threshold")


def test_trees_of_another_training_are_refused(folder):
    (folder / card.TREES).write_bytes(b"other trees")
    name_in_card(folder, card.TREES)
    edit(folder / card.CARD_NAME, weights_sha256=card.hash_file(folder / card.TREES))
    assert refusal(folder).startswith("classifier.json: made with other trees (54fda4d9...)")


@pytest.mark.parametrize("changes", [{"files": {}}, {"threshold": "high"}, {"files": None}])
def test_a_card_that_says_too_little_is_refused(folder, changes):
    edit(folder / card.CARD_NAME, **changes)
    assert refusal(folder).startswith("card.json: damaged")


@pytest.mark.parametrize(
    "read", [judge.read_classifier, randomness.read_model, false_positives.read_table], ids=str
)
def test_every_loader_refuses_a_mixture(folder, monkeypatch, read):
    monkeypatch.delenv(judge.WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(card, "FOLDER", folder)
    (folder / card.FALSE_POSITIVES).unlink()
    randomness.read_model.cache_clear()
    false_positives.read_table.cache_clear()
    with pytest.raises(WeightsError, match=r"^false_marks\.json: missing"):
        read()


def test_settings_of_the_code_are_those_that_the_files_were_made_with(monkeypatch):
    randomness.read_model.cache_clear()
    monkeypatch.setattr(randomness, "CERTAIN_PROBABILITY", 0.7)
    with pytest.raises(WeightsError, match=r"^pattern\.json: made with other settings"):
        randomness.read_model()
    false_positives.read_table.cache_clear()
    monkeypatch.setattr(false_positives, "BAND", (-3.0, 0.0))
    with pytest.raises(WeightsError, match=r"^false_marks\.json: made with another band"):
        false_positives.read_table()


def test_constants_set_by_hand_at_this_threshold_are_those_the_card_lists():
    listed = json.loads((card.FOLDER / card.CARD_NAME).read_text("utf-8"))["set_by_hand"]
    assert listed
    for module, constants in listed.items():
        for name, value in constants.items():
            in_code = getattr(importlib.import_module(module), name)
            assert (list(in_code) if isinstance(in_code, tuple) else in_code) == value, name
