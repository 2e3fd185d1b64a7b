"""The ten changes of ARCHITECTURE's table "Where do I add ...?", each made on a copy of the package.

A script that shows what the change is for runs on the changed copy, and fails on the copy as it is. Files
beyond knowledge (rule files, model files, the report's words), tests and docs are counted against the table.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from miliary.clinical.rulebook import find_edition
from miliary.image.weights.card import hash_file

ROOT = Path(__file__).parents[1]
KNOWLEDGE = re.compile(r"\.toml$|^image/weights/")
# Made from end to end where model files are made.
ELSEWHERE = {"threshold": "tests/training/test_make_all.py"}
DOSE = """
[[dose]]
id = "alectinib_toy"
drug = "alectinib"
region = "EU"
use = "adjuvant"
unit_dose_mg = 450.0
times_per_day = 2
steps_daily_mg = [900.0]
basis = "read"
confidence = "H"
citations = ["alecensa_us"]
"""
ASSESS = """
from miliary.clinical.registry import assess_case
from tests.clinical.cases import make_case
"""


@dataclass(frozen=True)
class Change:
    """One change: its row of the table, what shows it, (anchor, replacement) by file, and new files."""

    row: str
    script: str
    edits: dict[str, tuple[str, str]] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None

    @property
    def files(self):
        """Files beyond knowledge."""
        return [name for name in (*self.edits, *self.new) if not KNOWLEDGE.search(name)]


def add_dose(package):
    """A row at the end of the newest edition of the rules on therapy."""
    path = package / "clinical" / "rules" / "therapy" / f"{find_edition('therapy')}.toml"
    path.write_text(path.read_text("utf-8") + DOSE, encoding="utf-8")


def add_pattern_class(package):
    """Effect sizes of a class that keeps to the vessels and airways, and the card over the changed file."""
    weights = package / "image" / "weights"
    model = json.loads((weights / "pattern.json").read_text("utf-8"))
    effects = {"mean": [-3, -2, -2, 3, 0, 0, 0], "sd": [0.5] * 7}
    model["classes"]["airway_centered"] = {"prior": 0.3, "ways": [effects]}
    (weights / "pattern.json").write_text(json.dumps(model), encoding="utf-8")
    card = json.loads((weights / "card.json").read_text("utf-8"))
    card["files"]["pattern.json"] = hash_file(weights / "pattern.json")
    (weights / "card.json").write_text(json.dumps(card), encoding="utf-8")


CHANGES = (
    Change(
        "CTCAE term",
        ASSESS
        + """
case = make_case({"adverse_events": [{"id": "a", "term": "hiccups", "grade": 3}]})
assert not [a for a in assess_case(case) if a.rule_id == "ctcae.event_term"]
""",
        {
            "clinical/rules/ctcae/5.0.toml": (
                '[[term]]\nid = "anemia"',
                """[[term]]
id = "hiccups"
name = "Hiccups"
citations = ["nci_ctcae_5"]
basis = "read"
confidence = "H"

[[criterion]]
id = "hiccups-g3a"
term = "hiccups"
grade = 3
any_fact = ["hospitalization"]
citations = ["nci_ctcae_5"]
basis = "read"
confidence = "H"

[[term]]
id = "anemia\"""",
            )
        },
    ),
    Change(
        "definition of miliary",
        ASSESS
        + """
nodules = {"max_diameter_mm": 2.0, "distribution": "random"}
case = make_case({"studies": [{"id": "ct", "modality": "CT", "nodules": nodules}]})
(found,) = [a for a in assess_case(case) if a.rule_id == "definition.toy_2027"]
assert found.verdict == "met", found
""",
        {
            "clinical/rules/definition/2026-11.toml": (
                '[[definition]]\nid = "fleischner_2008"',
                """[[definition]]
id = "toy_2027"
name = "A toy"
max_diameter_mm = 2.5
inclusive = true
citations = ["kanne"]
basis = "read"
confidence = "H"

[[definition]]
id = "fleischner_2008\"""",
            )
        },
    ),
    Change(
        "drug label",
        """
from miliary.clinical.rulebook import find_rules
assert find_rules("therapy").row("alectinib_toy")["unit_dose_mg"] == 450.0
""",
        prepare=add_dose,
    ),
    Change(
        "column of `nodules.csv`",
        """
import numpy as np, pathlib, tempfile
from miliary.exchange.folders.tables import read_nodules_csv, write_nodules_csv
from tests.image.nodules.test_describe import START, SPACING, _describe
from miliary.image.anatomy.lung_box import LungBox
labels = np.ones((30, 50, 60), np.uint8)
found = _describe(LungBox(np.full(labels.shape, -850, np.float32), labels, START, SPACING))
assert found["toy_mm"].tolist() == [4.5]
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "nodules.csv"
    write_nodules_csv(found, path)
    header, row = path.read_text().splitlines()
    assert header.endswith(",toy_mm") and row.endswith(",4.500")
    path.write_text(header.removesuffix(",toy_mm") + "\\n" + row.removesuffix(",4.500") + "\\n")
    older = read_nodules_csv(path)
assert np.isnan(older.value["toy_mm"]).all() and older.warnings
""",
        {
            "model/nodules.py": (
                '    Column("flags", object, "", "NoduleFlag names joined by \';\'"),\n)',
                (
                    '    Column("flags", object, "", "NoduleFlag names joined by \';\'"),\n'
                    '    Column("toy_mm", np.float64, "mm", "a toy"),\n)'
                ),
            ),
            "image/nodules/describe.py": (
                "        flags,\n    )",
                "        flags,\n        np.full(n, 4.5),\n    )",
            ),
        },
    ),
    Change(
        "class of pattern",
        """
import numpy as np
from miliary.image.distribution import randomness
from miliary.image.distribution.evidence import Counts
pairs = np.full((9, 3), 40.0) + np.arange(9)[:, None]
null = Counts(np.full(9, 99.0), np.full((9, 6), 16.5), pairs, np.full(9, 3.0))
zone = np.array([[1.0, 1, 1, 90, 3, 3]])
seen = Counts(np.array([99.0]), zone, np.array([[44.0, 44, 44]]), np.array([3.0]))
chances = randomness._class_probabilities(seen, null, 200.0)
assert list(chances)[3] == "airway_centered" and chances["airway_centered"] > 0.5, chances
assert abs(sum(chances.values()) - 1.0) < 1e-9
""",
        {
            "model/pattern.py": (
                """CENTRILOBULAR = "centrilobular"
    NONE = "none"
    INDETERMINATE = "indeterminate"
    AIRWAY_CENTRED = "airway_centred"
    OTHER = "other"


# Patterns of nodules that are there, each with effect sizes in the packaged model.
SPATIAL_CLASSES =""",
                """CENTRILOBULAR = "centrilobular"
    AIRWAY_CENTERED = "airway_centered"
    NONE = "none"
    INDETERMINATE = "indeterminate"
    AIRWAY_CENTRED = "airway_centred"
    OTHER = "other"


SPATIAL_CLASSES = (*PatternLabel,)[:4]
_BEFORE =""",
            ),
        },
        prepare=add_pattern_class,
    ),
    Change(
        "section of the report",
        """
from miliary.model.study import StudyResult
from miliary.report.page import render_report
assert "<p>0 scans, counted</p>" in render_report(StudyResult("toys"))
""",
        {
            "report/sections/__init__.py": (
                "references.build, words.build)",
                "references.build, words.build, __import__(__name__ + '.toy_count', fromlist=['_']).build)",
            ),
            "report/strings.toml": ("\n[section]\n", '\n[section]\ntoy_count = {en = "Toys", ja = "玩具"}\n'),
        },
        {
            "report/sections/toy_count.py": '''"""How many scans there are."""

from dataclasses import dataclass

from miliary.report.section import Section


@dataclass(frozen=True)
class ToyContent:
    n_scans: int


def build(study, catalog, sources):
    content = ToyContent(len(study.scans))
    return Section("toy_count", catalog("section.toy_count"), "sections/toy_count.html", content)
''',
            "report/templates/sections/toy_count.html": "<p>{{ content.n_scans }} scans, counted</p>\n",
        },
    ),
    Change(
        "DICOM object",
        """
import pathlib, tempfile, pydicom
from miliary.exchange.dicom.objects.toy_note import write_note
from miliary.model.saved.scan_summary import NoduleSummary, ScanSummary
from miliary.model.saved.codec import from_json
saved = from_json(ScanSummary, {"kind": "miliary.ct", "nodules": {"count": 7}}, name="scan.json").value
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "note.dcm"
    write_note(saved, path)
    assert pydicom.dcmread(path).ImageComments == "7 nodules"
""",
        new={
            "exchange/dicom/objects/__init__.py": "",
            "exchange/dicom/objects/toy_note.py": '''"""A note."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def write_note(summary, path):
    note = Dataset()
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    note.SOPClassUID, note.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    note.ImageComments = f"{summary.nodules.count} nodules"
    note.save_as(path, enforce_file_format=True)
''',
        },
    ),
    Change(
        "DICOM transfer syntax",
        """
import pathlib, tempfile, numpy as np, pydicom
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import utils
from miliary.exchange.ct_read import read_ct
from tests.exchange.scans import write_phantom

NEW = pydicom.uid.UID("1.2.826.0.1.3680043.10.999.1")
known = utils.pixel_array

def pixel_array(dataset, **options):
    # What a decoder that pydicom learns later would do: here the bytes are turned around.
    if dataset.file_meta.TransferSyntaxUID != NEW:
        return known(dataset, **options)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    return np.frombuffer(frame[::-1], np.int16).reshape(dataset.Rows, dataset.Columns)

with tempfile.TemporaryDirectory() as folder:
    voxels = write_phantom(pathlib.Path(folder))
    for path in pathlib.Path(folder).glob("*"):
        one = pydicom.dcmread(path)
        one.PixelData = encapsulate([one.PixelData[::-1]])
        one["PixelData"].is_undefined_length = True
        one.file_meta.TransferSyntaxUID = NEW
        one.save_as(path, implicit_vr=False, little_endian=True)
    utils.pixel_array = pixel_array
    assert np.array_equal(read_ct(folder).voxels_hu, voxels)
""",
    ),
    Change(
        "command",
        """
from miliary.cli.main import main
assert main(["toy"]) == 0
""",
        {
            "cli/main.py": (
                "view, doctor):\n",
                "view, doctor, __import__('miliary.cli.toy_command', fromlist=['toy']).toy):\n",
            ),
        },
        {
            "cli/toy_command.py": '''"""`miliary toy`."""

import click


@click.command()
def toy() -> None:
    """Say that it works."""
    print("toy")
'''
        },
    ),
)


def read_table():
    """Most files of each row of the table, by the row's words."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Where do I add ...?")[2]
    rows = [line.split("|")[1:3] for line in text.splitlines() if re.match(r"\| (?!a new)\w", line)]
    return {name.strip(): int(files.strip().split("-")[-1]) for name, files in rows}


def copy_package(folder, change=None):
    """The package in a folder, with the change made."""
    package = folder / "miliary"
    unneeded = shutil.ignore_patterns("__pycache__", "static")
    shutil.copytree(ROOT / "src" / "miliary", package, ignore=unneeded)
    if change is not None:
        for name, (anchor, text) in change.edits.items():
            before = (package / name).read_text("utf-8")
            assert before.count(anchor) == 1, f"{name}: {anchor!r} stands {before.count(anchor)} times"
            (package / name).write_text(before.replace(anchor, text), encoding="utf-8")
        for name, text in change.new.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text, encoding="utf-8")
        if change.prepare is not None:
            change.prepare(package)
    return folder


def run(folder, script):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.row)
def test_a_change_takes_the_files_that_the_table_says_and_works(change, tmp_path):
    assert len(change.files) <= read_table()[change.row] <= 3
    done = run(copy_package(tmp_path / "changed", change), change.script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "change", [c for c in CHANGES if c.edits or c.new or c.prepare], ids=lambda change: change.row
)
def test_without_the_change_it_does_not_work(change, tmp_path):
    assert run(copy_package(tmp_path / "as_it_is"), change.script).returncode != 0


def test_every_row_of_the_table_is_tried():
    assert {change.row for change in CHANGES} | set(ELSEWHERE) == set(read_table())
    assert "--threshold" in (ROOT / ELSEWHERE["threshold"]).read_text("utf-8")
