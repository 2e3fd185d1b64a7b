"""Make every packaged model file, and the card over them: ``python -m training.make_all`` (`make train`).

1. ``classifier.npz`` and ``classifier.json``: trees, calibration, threshold (`training.train`). With
   ``--keep-trees --threshold 0.3`` (`make threshold THRESHOLD=0.3`) the trees in use are kept and only the
   threshold changes, with the floor of the screen that follows from it.
2. ``pattern.json``: chance of detection by place (`training.pattern_model`).
3. ``false_marks.json``: rates of false positives (`training.false_positive_table`).
4. ``card.json``: threshold, trees and SHA-256 of all of them.

Everything is made in a work folder and copied into the package at the end, when it belongs together. What
else was set with the threshold in use, by hand, is listed in the card under ``set_by_hand``: look at it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from miliary.image.nodules.judge import WEIGHTS_VARIABLE
from miliary.image.weights import card
from training import false_positive_table, pattern_model, train


def write_card(folder: Path, *, set_by_hand: dict[str, Any]) -> None:
    """Write ``card.json`` over the model files of a folder.

    Parameters
    ----------
    folder : Path
        Holds every file of `card.MODEL_FILES`.
    set_by_hand : dict
        Constants of the code that rest on the threshold, by module and name.

    Raises
    ------
    WeightsError
        The files were not made with one threshold and one set of trees.
    """
    classifier = _read(folder / card.CLASSIFIER)
    content = {
        "threshold": classifier["threshold"],
        "weights_sha256": classifier["sha256"],
        "files": {name: card.hash_file(folder / name) for name in card.MODEL_FILES},
        "set_by_hand": set_by_hand,
    }
    (folder / card.CARD_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    card.read_card(folder)


def make_dependents(folder: Path, *, n_crops: int, n_scans: int) -> None:
    """Measure what rests on the trees and the threshold: ``pattern.json`` and ``false_marks.json``.

    Parameters
    ----------
    folder : Path
        Holds the trees and ``classifier.json``; the two files are written there.
    n_crops, n_scans : int
        Simulated crops for the chance of detection, and lungs without nodules.
    """
    classifier = _read(folder / card.CLASSIFIER)
    made_with = {"threshold": classifier["threshold"], "weights_sha256": classifier["sha256"]}
    # The packaged files do not belong to these trees yet: the detector is told by name which to use.
    before = os.environ.get(WEIGHTS_VARIABLE)
    os.environ[WEIGHTS_VARIABLE] = str(folder / card.TREES)
    try:
        pattern_model.write_model(
            folder / card.PATTERN,
            packaged=_read(card.FOLDER / card.PATTERN),
            made_with=made_with,
            n_crops=n_crops,
        )
        false_positive_table.write_table(
            folder / card.FALSE_POSITIVES,
            packaged=_read(card.FOLDER / card.FALSE_POSITIVES),
            made_with=made_with,
            n_scans=n_scans,
        )
    finally:
        del os.environ[WEIGHTS_VARIABLE]
        if before is not None:
            os.environ[WEIGHTS_VARIABLE] = before


def install(folder: Path) -> None:
    """Copy the model files of a folder into the package, the card last, once they belong together."""
    card.read_card(folder)
    for name in (*card.MODEL_FILES, card.CARD_NAME):
        part = card.FOLDER / f"{name}.part"
        shutil.copyfile(folder / name, part)
        part.replace(card.FOLDER / name)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def main(arguments: Sequence[str] | None = None) -> None:
    """Make all model files, or with the trees in use those that rest on the threshold."""
    parser = argparse.ArgumentParser(prog="python -m training.make_all", description=__doc__)
    parser.add_argument("--work", type=Path, default=train.WORK_FOLDER)
    parser.add_argument("--threshold", type=float, default=None, help="by default the one in use")
    parser.add_argument("--keep-trees", action="store_true", help="change the threshold only")
    parser.add_argument("--crops", type=int, default=pattern_model.N_CROPS)
    parser.add_argument("--healthy", type=int, default=false_positive_table.N_SCANS)
    options, rest = parser.parse_known_args(arguments)
    packaged = _read(card.FOLDER / card.CARD_NAME)
    threshold = packaged["threshold"] if options.threshold is None else options.threshold
    folder = options.work / "models"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if options.keep_trees:
        train.change_threshold(folder / card.TREES, threshold=threshold, work=options.work)
    else:
        places = ["--out", str(folder / card.TREES), "--work", str(options.work)]
        train.main([*places, "--threshold", str(threshold), *rest])
    make_dependents(folder, n_crops=options.crops, n_scans=options.healthy)
    write_card(folder, set_by_hand=packaged["set_by_hand"])
    install(folder)
    print(f"installed: {', '.join((*card.MODEL_FILES, card.CARD_NAME))}")


if __name__ == "__main__":
    main()
