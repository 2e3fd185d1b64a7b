"""The card over all packaged model files: one threshold, one training, and the SHA-256 of every file.

The chance of detection by place (``pattern.json``) and the rates of false positives (``false_marks.json``)
were measured with one set of trees at one threshold, and mean nothing with another. ``card.json`` names that
threshold and those trees, and every file says with which it was made; `read_card` refuses a mixture. All of
them are made together by ``make train``; ``make threshold THRESHOLD=0.3`` makes anew what rests on the
threshold.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from miliary.errors import WeightsError

FOLDER = Path(__file__).parent
CARD_NAME = "card.json"
TREES, CLASSIFIER, PATTERN, FALSE_POSITIVES = (
    "classifier.npz",
    "classifier.json",
    "pattern.json",
    "false_marks.json",
)
MODEL_FILES = (TREES, CLASSIFIER, PATTERN, FALSE_POSITIVES)
_REMEDY = "run `make train`, or reinstall the package"


@dataclass(frozen=True)
class ModelCard:
    """What the packaged model files have in common, and their content.

    Attributes
    ----------
    threshold : float
        Probability of being a nodule from which a candidate is reported.
    weights_sha256 : str
        SHA-256 of the trees (``classifier.npz``).
    documents : mapping of str to mapping
        The content of every JSON model file, by its name.
    """

    threshold: float
    weights_sha256: str
    documents: Mapping[str, Mapping[str, Any]]


def read_card(folder: Path | None = None) -> ModelCard:
    """Read the card of a folder and check that the model files are those it names.

    Parameters
    ----------
    folder : Path, optional
        That of the package by default.

    Returns
    -------
    ModelCard
        The same object in every call: the files of a folder are read and checked once per process.

    Raises
    ------
    WeightsError
        A file is missing, damaged, not the one that the card names, or was made with another threshold or
        other trees.
    """
    return _read_card(FOLDER if folder is None else folder)


@functools.cache
def _read_card(folder: Path) -> ModelCard:
    card = _read_json(folder, CARD_NAME)
    for name in MODEL_FILES:
        if not (folder / name).is_file():
            raise WeightsError(f"{name}: missing from the model files; {_REMEDY}")
    try:
        threshold, weights = float(card["threshold"]), str(card["weights_sha256"])
        digests = {name: str(card["files"][name]) for name in MODEL_FILES}
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{CARD_NAME}: damaged, or does not list every model file; {_REMEDY}") from None
    documents = {name: _read_json(folder, name) for name in MODEL_FILES if name != TREES}
    for name, document in documents.items():
        _check_origin(name, find_origin(name, document), threshold, weights)
    for name, digest in digests.items():
        if hash_file(folder / name) != digest:
            raise WeightsError(f"{name}: not the file that {CARD_NAME} names (SHA-256 differs); {_REMEDY}")
    return ModelCard(threshold, weights, MappingProxyType(documents))


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_origin(name: str, document: Mapping[str, Any]) -> tuple[float | None, str]:
    """Threshold and SHA-256 of the trees that a JSON model file says it was made with.

    Parameters
    ----------
    name : str
        Of the file.
    document : mapping
        Its content.

    Returns
    -------
    threshold : float or None
        None where the file does not say it.
    weights_sha256 : str
        Empty where the file does not say it.
    """
    made = document if name == CLASSIFIER else document.get("made_with", {})
    weights = made.get("sha256" if name == CLASSIFIER else "weights_sha256", "")
    threshold = made.get("threshold")
    return (float(threshold) if isinstance(threshold, int | float) else None), str(weights)


def _check_origin(name: str, origin: tuple[float | None, str], threshold: float, weights: str) -> None:
    if origin[0] != threshold:
        said = "no threshold" if origin[0] is None else f"the threshold {origin[0]:g}"
        raise WeightsError(f"{name}: made with {said}, {CARD_NAME} names {threshold:g}; {_REMEDY}")
    if origin[1] != weights:
        said = f"{origin[1][:8]}..." if origin[1] else "none it names"
        raise WeightsError(f"{name}: made with other trees ({said}) than {CARD_NAME} names; {_REMEDY}")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{name}: missing from the model files; {_REMEDY}") from None
    except ValueError:
        raise WeightsError(f"{name}: damaged, no JSON; {_REMEDY}") from None
    if not isinstance(document, dict):
        raise WeightsError(f"{name}: damaged, no JSON object; {_REMEDY}")
    return document
