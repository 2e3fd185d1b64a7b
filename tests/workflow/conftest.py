"""A patient's folder made by hand, and detection and registration that are instant."""

import sys
import types

import numpy as np
import pytest

from miliary import followup
from miliary.exchange.dicom.write_ct import write_dicom_series
from miliary.model.ct_result import Lungs
from miliary.model.scan import Acquisition, Grid, Scan
from miliary.model.transform import Transform

SHAPE, SPACING = (22, 44, 64), (5.0, 3.0, 3.2)

CASE = """
id: p1
title: A made-up patient
origin: recorded
staging: {lobe: LUL, size_mm: 19}
"""
LABS = "analyte,value,unit,when\ncea,7,ng/mL,day 3\n"


def make_scan(seed=0):
    voxels = np.full(SHAPE, -1000, dtype=np.int16)
    voxels[:, 2:42, 2:62] = 40
    voxels[3:19, 6:38, 5:29] = -850
    voxels[3:19, 6:38, 35:59] = -850
    voxels += np.random.default_rng(seed).integers(-5, 6, SHAPE, dtype=np.int16)
    return Scan(voxels, Grid(SHAPE, SPACING), Acquisition(modality="CT", slice_thickness_mm=5.0))


@pytest.fixture
def add_scan():
    """Write a DICOM series into a new folder."""

    def add(folder, *, day, seed=0, **values):
        import pydicom

        scan = make_scan(seed)
        write_dicom_series(folder, scan.voxels_hu, scan.grid, acquisition=scan.acquisition, seed=seed)
        headers = {
            "PatientID": "P-77",
            "PatientBirthDate": "19480307",
            "StudyDate": day,
            "AcquisitionDate": day,
        }
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            for name, value in {**headers, **values}.items():
                setattr(dataset, name, value)
            dataset.save_as(path)

    return add


@pytest.fixture
def patient(tmp_path, add_scan):
    """Two dated scans under names that must go nowhere, a case and laboratory values."""
    folder = tmp_path / "patient"
    add_scan(folder / "Quzzle_Jane_zz", day="20210309", seed=1)
    add_scan(folder / "Quzzle_Jane_aa", day="20210608", seed=2)
    (folder / "case").mkdir()
    (folder / "case" / "case.yaml").write_text(CASE)
    (folder / "case" / "labs.csv").write_text(LABS)
    (folder / "notes.txt").write_text("not a scan")
    return folder


class Asked(list):
    """The scans that were measured, and how."""

    def __init__(self):
        super().__init__()
        self.settings = []


@pytest.fixture
def measured(monkeypatch, make_result, make_nodules):
    """Replace detection and registration; counts the scans that were measured."""
    asked = Asked()

    def find_nodules(scan, *, progress=None, **settings):
        for stage in ("lungs", "find"):
            if progress is not None:
                progress(stage)
        asked.append(scan)
        asked.settings.append(settings)
        labels = np.zeros(scan.voxels_hu.shape, dtype=np.uint8)
        labels[3:19, 6:38, 5:29] = 1
        labels[3:19, 6:38, 35:59] = 2
        return make_result(
            grid=scan.grid,
            acquisition=scan.acquisition,
            lungs=Lungs(labels, scan.grid.voxel_volume_mm3),
            nodules=make_nodules(0),
        )

    def register_lungs(*_, **__):
        return types.SimpleNamespace(
            transform=Transform.identity(),
            agreement=0.9,
            tre_estimate_mm=0.5,
            overlap=0.99,
            min_jacobian=0.9,
            folded_share=0.0,
            n_landmarks=100,
        )

    module = types.ModuleType("miliary.pipeline")
    module.find_nodules = find_nodules
    monkeypatch.setitem(sys.modules, "miliary.pipeline", module)
    monkeypatch.setattr(followup, "register_lungs", register_lungs)
    return asked
