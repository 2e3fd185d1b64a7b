"""Small valid inputs of every door: a folder each, from which mutations start."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miliary.exchange.volumes.nifti import write_nifti
from miliary.exchange.volumes.volume_file import write_volume
from miliary.model.ct_result import CtResult, Lungs, Noise, OperatingPoint, Psf, Stage
from miliary.model.nodules import COLUMNS, Nodules
from miliary.model.scan import Acquisition, Grid, Scan
from tests.exchange.scans import phantom_grid, phantom_hu, write_multiframe, write_phantom
from tests.exchange.test_lung_mask import write_seg
from tests.exchange.test_radiograph import write_radiograph

ROOT = Path(__file__).resolve().parents[1]
_SHAPE = (16, 24, 28)


@dataclass(frozen=True)
class Door:
    """One way in.

    Parameters
    ----------
    name : str
    make : callable
        Writes the seed into an empty folder.
    entry : str
        What of it is read, relative to that folder; empty for the folder itself.
    rarely : int
        One input for so many of the other doors: these take a second each.
    """

    name: str
    make: Callable[[Path], object]
    entry: str = ""
    rarely: int = 1


def _grid() -> Grid:
    return phantom_grid(_SHAPE)


def _dicom(place: Path) -> None:
    write_phantom(place / "ct", voxels=phantom_hu(_SHAPE))


def _dicom_zip(place: Path) -> None:
    _dicom(place)
    with zipfile.ZipFile(place / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((place / "ct").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(place / "ct")


def _enhanced(place: Path) -> None:
    write_multiframe(place / "enhanced.dcm", phantom_hu(_SHAPE), _grid())
    shutil.rmtree(place / "enhanced.parts")


def _volume(name: str) -> Callable[[Path], None]:
    return lambda place: write_volume(place / name, phantom_hu(_SHAPE), _grid())


def _detached_nrrd(place: Path) -> None:
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 28 24 16\n"
        "space directions: (1.25,0,0) (0,1.5,0) (0,0,2)\nendian: little\nencoding: raw\nbyte skip: 0\n"
        "space origin: (-31.5,-22.25,104.5)\ndata file: ct.raw\n"
    )
    (place / "ct.nhdr").write_text(head)
    (place / "ct.raw").write_bytes(phantom_hu(_SHAPE).tobytes())


def _detached_metaimage(place: Path) -> None:
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -31.5 -22.25 104.5\n"
        "ElementSpacing = 1.25 1.5 2\nHeaderSize = 0\nDimSize = 28 24 16\nElementType = MET_SHORT\n"
        "ElementDataFile = ct.raw\n"
    )
    (place / "ct.mhd").write_text(head)
    (place / "ct.raw").write_bytes(phantom_hu(_SHAPE).tobytes())


def _case(place: Path) -> None:
    for name in ("case.yaml", "labs.csv"):
        shutil.copy(ROOT / "examples/index-case" / name, place / name)


def _exported(form: str) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        from miliary.workflow.case_exchange import export_case

        _case(place)
        export_case(place, **{form: place / "in.json"})
        for name in ("case.yaml", "labs.csv"):
            (place / name).unlink()

    return make


def make_measured() -> tuple[CtResult, Scan]:
    """A result made by hand, so that a seed costs no measurement."""
    labels = np.zeros((24, 40, 60), dtype=np.uint8)
    labels[3:21, 8:30, 8:26], labels[3:21, 8:30, 34:52] = 1, 2
    voxels = np.where(labels > 0, -850, 40).astype(np.int16)
    scan = Scan(voxels, Grid(voxels.shape, (2.0, 1.5, 1.0), (-30.0, -25.0, 100.0)))
    n = 5
    plain = {"float64": 0.5, "int64": 1, "object": ""}
    columns = {c.name: np.full(n, plain[np.dtype(c.dtype).name], dtype=c.dtype) for c in COLUMNS}
    columns["id"] = np.arange(1, n + 1)
    columns["side"] = np.array(["right"] * n, dtype=object)
    columns["zone"] = np.array(["upper"] * n, dtype=object)
    columns["attenuation"] = np.array(["solid"] * n, dtype=object)
    result = CtResult(
        grid=scan.grid,
        acquisition=Acquisition(modality="CT", kernel="B", slice_thickness_mm=2.0),
        source_order=scan.source_order,
        warnings=(),
        lungs=Lungs(labels, scan.grid.voxel_volume_mm3),
        right_ml=2000.0,
        left_ml=1500.0,
        noise=Noise(20.0, 0.7),
        psf=Psf(0.6, 0.5, "measured"),
        nodules=Nodules(columns),
        operating_point=OperatingPoint(0.5, 0.5),
        n_candidates=11,
        reference_hu=40.0,
        stages=(Stage("lungs", 0.25),),
        provenance={"version": "0", "seed": 0},
        preview_rgb=np.zeros((8, 9, 3), dtype=np.uint8),
    )
    return result, scan


def _saved_study(place: Path) -> None:
    """A measured scan twice, a comparison and a case, as small as they can be."""
    from miliary.exchange.folders.ct_store import write_ct_result
    from miliary.model.transform import Transform
    from miliary.workflow.case_derivation import derive_case

    result, scan = make_measured()
    for label in ("baseline", "followup"):
        write_ct_result(result, place / "ct" / label, scan=scan)
    compared = place / "compare/baseline__followup"
    compared.mkdir(parents=True)
    np.savez_compressed(compared / "transform.npz", **Transform.affine(np.eye(3), [0, 0, 4.0]).to_arrays())
    (compared / "matches.csv").write_text(
        "baseline_id,followup_id,probability,volume_change_fraction\n1,1,0.9,0.1\n"
    )
    response = {"schema_version": "1.0", "kind": "miliary.compare", "origin": "measured"}
    (compared / "response.json").write_text(json.dumps(response))
    _case(place)
    derive_case(place, place / "case")
    for name in ("case.yaml", "labs.csv"):
        (place / name).unlink()
    members = {
        "schema_version": "1.0",
        "kind": "miliary.study",
        "title": "t",
        "ct": [{"label": "baseline", "path": "ct/baseline"}, {"label": "followup", "path": "ct/followup"}],
        "compare": [{"baseline": "baseline", "followup": "followup", "path": "compare/baseline__followup"}],
        "case": "case/case.json",
    }
    (place / "study.json").write_text(json.dumps(members))
    line = {
        "number": 1,
        "time": "2026-01-01T00:00:00+00:00",
        "reader": "AB",
        "scan": "baseline",
        "kind": "add_nodule",
        "position_lps_mm": [1.0, 2.0, 120.0],
    }
    (place / "corrections.jsonl").write_text(json.dumps(line) + "\n")


def _mask(place: Path) -> None:
    result, scan = make_measured()
    grid = scan.grid
    write_nifti(
        place / "mask.nii.gz",
        result.lungs.labels,
        spacing_mm=grid.spacing_zyx_mm,
        origin_lps_mm=grid.origin_lps_mm,
        axes_lps=grid.axes_lps,
    )


def _segmentation(place: Path) -> None:
    result, scan = make_measured()
    write_seg(place / "seg.dcm", result.lungs.labels, scan.grid, {1: "Right lung", 2: "Left lung"})


def _radiograph(place: Path) -> None:
    values = (np.add.outer(np.arange(24), np.arange(20)) * 90).astype(np.uint16)
    write_radiograph(place / "picture.dcm", values, WindowCenter=2000, WindowWidth=3000)


DOORS = (
    Door("dicom", _dicom, "ct", rarely=3),
    Door("dicom_zip", _dicom_zip, "ct.zip", rarely=3),
    Door("enhanced", _enhanced, "enhanced.dcm", rarely=2),
    Door("nifti", _volume("ct.nii"), "ct.nii"),
    Door("nifti_gz", _volume("ct.nii.gz"), "ct.nii.gz"),
    Door("nrrd", _volume("ct.nrrd"), "ct.nrrd"),
    Door("nhdr", _detached_nrrd, "ct.nhdr"),
    Door("mha", _volume("ct.mha"), "ct.mha"),
    Door("mhd", _detached_metaimage, "ct.mhd"),
    Door("case", _case, rarely=6),
    Door("fhir", _exported("fhir"), "in.json", rarely=6),
    Door("phenopacket", _exported("phenopacket"), "in.json", rarely=4),
    Door("mask", _mask, "mask.nii.gz"),
    Door("seg", _segmentation, "seg.dcm", rarely=2),
    Door("radiograph", _radiograph, "picture.dcm"),
    Door("saved", _saved_study, rarely=16),
)
