from __future__ import annotations

import threading
from dataclasses import fields, replace

import numba as nb
import numpy as np
import pytest

from miliary import pipeline
from miliary.errors import NoLungsError
from miliary.image.simulate import ScanProtocol, simulate_scan
from miliary.model.ct_result import CtResult
from miliary.model.nodules import COLUMN_NAMES
from miliary.model.saved.figure_index import summarize_figure
from miliary.model.scan import Grid, Scan, ScanWarning
from miliary.pipeline import find_nodules


@pytest.fixture(scope="module")
def result(simulated_chest) -> CtResult:
    return find_nodules(simulated_chest.scan, n_threads=1)


def _same(one: CtResult, other: CtResult) -> None:
    """Bit for bit the same, the times aside."""
    for name in COLUMN_NAMES:
        np.testing.assert_array_equal(one.nodules[name], other.nodules[name], err_msg=name)
    np.testing.assert_array_equal(one.lungs.labels, other.lungs.labels)
    np.testing.assert_array_equal(one.preview_rgb, other.preview_rgb)
    assert [summarize_figure(f) for f in one.figures] == [summarize_figure(f) for f in other.figures]
    for figure, twin in zip(one.figures, other.figures, strict=True):
        np.testing.assert_array_equal(figure.pixels, twin.pixels, err_msg=figure.name)
    for field in fields(CtResult):
        if field.name not in {"nodules", "lungs", "preview_rgb", "figures", "stages"}:
            assert getattr(one, field.name) == getattr(other, field.name), field.name


def test_most_nodules_are_found_where_they_are(result, simulated_chest):
    truth = simulated_chest.truth
    place = np.stack([truth[f"{a}_mm"] for a in "xyz"], axis=1)
    distance = np.linalg.norm(place[:, None] - result.nodules.position_lps_mm, axis=2).min(axis=1)
    # Nodules of 3 to 4.5 mm on voxels of 2.5 mm: a mark within one voxel.
    assert np.mean(distance < 2.5) > 0.5
    # By chance: marks cover well under a tenth of the lungs.
    shuffled = place[:, [1, 0, 2]]
    chance = np.linalg.norm(shuffled[:, None] - result.nodules.position_lps_mm, axis=2).min(axis=1)
    assert np.mean(chance < 2.5) < 0.2


def test_marks_lie_in_the_lungs_and_say_on_which_side(result):
    grid = result.grid
    index = np.rint(grid.index_from_lps(result.nodules.position_lps_mm)).astype(int)
    label = result.lungs.labels[tuple(np.clip(index, 0, np.array(grid.shape_zyx) - 1).T)]
    assert np.mean(label > 0) > 0.9
    inside = label > 0
    expected = np.where(label == 1, "right", "left")
    assert np.array_equal(result.nodules["side"][inside], expected[inside])


def test_the_table_is_plausible(result):
    nodules = result.nodules
    assert nodules["id"].tolist() == list(range(1, len(nodules) + 1))
    assert np.all(nodules["probability"] >= result.threshold)
    assert np.all(nodules["diameter_mm"] > 0)
    assert np.all(nodules["volume_mm3_err"] > 0)
    np.testing.assert_allclose(nodules["volume_mm3"], np.pi / 6 * nodules["diameter_mm"] ** 3)
    assert result.n_candidates > len(nodules)


def test_the_lungs_are_measured(result, simulated_chest):
    voxel_ml = simulated_chest.scan.grid.voxel_volume_mm3 / 1000
    for label, ml in ((1, result.right_ml), (2, result.left_ml)):
        truth = np.count_nonzero(simulated_chest.lung_labels == label) * voxel_ml
        assert ml == pytest.approx(truth, rel=0.05)


def test_again_and_on_threads_it_is_the_same_bit_for_bit(result, simulated_chest):
    scan = simulated_chest.scan
    before = scan.voxels_hu.copy()
    _same(find_nodules(scan, n_threads=2), result)
    np.testing.assert_array_equal(scan.voxels_hu, before)


def test_every_stage_is_named_as_it_starts(result, simulated_chest):
    told: list[str] = []
    find_nodules(simulated_chest.scan, progress=told.append, with_completeness=False)
    assert told == [stage.name for stage in result.stages if stage.name != "completeness"]
    assert all(stage.seconds > 0 for stage in result.stages)


def test_warnings_of_the_reader_come_first(simulated_chest):
    scan = simulated_chest.scan.with_warnings(ScanWarning("clipped_high", "Made up."))
    found = find_nodules(scan, with_completeness=False)
    assert found.warnings[: len(scan.warnings)] == scan.warnings
    assert all("clipped_hu" in flags for flags in found.nodules["flags"])


def test_a_lung_without_nodules_gives_a_table(result, simulated_chest):
    grid = simulated_chest.scan.grid
    protocol = ScanProtocol(
        shape_zyx=grid.shape_zyx,
        spacing_zyx_mm=grid.spacing_zyx_mm,
        psf_fwhm_mm=2.8,
        slice_thickness_mm=2.3,
        noise_sd_hu=15.0,
    )
    plain = simulate_scan(protocol, seed=5, anatomy=simulated_chest.anatomy)
    found = find_nodules(plain.scan, with_completeness=False)
    assert tuple(found.nodules.columns) == COLUMN_NAMES
    assert len(found.nodules) < 0.8 * len(result.nodules)


def test_nothing_to_find_gives_no_rows():
    """Two smooth ellipsoids of even density in water: no texture, no vessels, no noise."""
    shape, spacing = (90, 90, 110), (2.5, 2.5, 2.7)
    z, y, x = np.ix_(*[(np.arange(n) - 0.5 * (n - 1)) * s for n, s in zip(shape, spacing, strict=True)])
    voxels = np.where((y / 100) ** 2 + (x / 140) ** 2 + 0 * z < 1.0, 40.0, -1000.0)
    for side in (-1, 1):
        r = np.sqrt((z / 95) ** 2 + (y / 70) ** 2 + ((x - side * 68) / 50) ** 2)
        # An edge two voxels wide, as any blur makes it.
        voxels += np.clip((1.0 - r) * 12.0 + 0.5, 0.0, 1.0) * (-850.0 - 40.0)
    scan = Scan(np.rint(voxels).astype(np.int16), Grid(shape, spacing))
    found = find_nodules(scan, with_completeness=False)
    assert len(found.nodules) == 0
    assert found.nodules["id"].dtype == np.int64


def test_a_head_is_refused():
    shape, spacing = (60, 70, 64), (3.0, 3.0, 2.6)
    z, y, x = np.ix_(*[(np.arange(n) - 0.5 * (n - 1)) * s for n, s in zip(shape, spacing, strict=True)])
    r = np.sqrt((z / 85) ** 2 + (y / 95) ** 2 + (x / 75) ** 2)
    voxels = np.select([r < 0.92, r < 1.0], [35, 900], -1000).astype(np.int16)
    voxels[(z + 30) ** 2 + (y + 50) ** 2 + x**2 < 16**2] = -980
    with pytest.raises(NoLungsError):
        find_nodules(Scan(voxels, Grid(shape, spacing)))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_work_beside_is_done_in_order_on_a_thread_of_its_own(n_threads):
    done: list[str] = []

    def work(name: str, *, last: bool = False) -> tuple[int, int]:
        done.append(name)
        if last:
            raise NoLungsError("none")
        return threading.get_ident(), nb.get_num_threads()

    with pipeline._working_beside(n_threads) as beside:
        results = [beside(work, "a"), beside(work, "b"), beside(work, "c", last=True)]
        thread, n_kernels = results[0]()
        assert results[1]()[0] == thread
        assert (thread == threading.get_ident()) == (n_threads == 1)
        assert n_kernels == min(n_threads, nb.config.NUMBA_NUM_THREADS) or n_threads == 1
        with pytest.raises(NoLungsError, match="none"):
            results[2]()
    assert done == ["a", "b", "c"]


def test_detections_too_wide_for_any_scanner_lead_to_no_pattern_and_no_definition(
    simulated_chest, monkeypatch
):
    measured = pipeline.detect.measure_nodules

    def measure_wide(*arguments, **options):
        run, fit, nodules = measured(*arguments, **options)
        return replace(run, psf=replace(run.psf, source="unclear")), fit, nodules

    monkeypatch.setattr(pipeline.detect, "measure_nodules", measure_wide)
    found = find_nodules(simulated_chest.scan, n_threads=1)
    assert len(found.nodules) > 0
    assert found.pattern.label.value == "indeterminate"
    assert found.validity.verdict.value == "outside"
    assert "wider than any scanner blurs" in found.pattern.reason
    assert found.extent.reason == found.true_sizes.reason == found.completeness.reason == found.pattern.reason
    assert not found.pattern.probabilities
    assert {one["verdict"] for one in found.definitions} == {"not_assessable"}
    assert found.completeness.at_least == ()
    assert "blur_at_limit" in {warning.code for warning in found.warnings}
