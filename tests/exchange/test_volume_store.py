"""The volume kept with a result: what is read back is what was cropped."""

import json

import numpy as np
import pytest

from miliary.errors import ScanReadError
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.volume_store import find_body_box, read_stored_volume, write_stored_volume
from miliary.model.scan import Grid, Scan


@pytest.fixture
def body():
    """A block of tissue in air, with a table below it, on an oblique anisotropic grid."""
    rng = np.random.default_rng(3)
    voxels = np.full((36, 70, 90), -1000, dtype=np.int16)
    voxels[:, 16:44, 20:70] = rng.integers(-100, 200, (36, 28, 50))
    voxels[:, 60:63, 10:80] = 50
    axes = ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0))
    return Scan(voxels, Grid(voxels.shape, (2.5, 2.0, 1.5), (-30.0, 12.5, 100.0), axes))


def test_what_is_read_is_the_crop_of_what_was_written(body, tmp_path):
    write_stored_volume(body, tmp_path / "volume.zarr")
    stored = read_stored_volume(tmp_path)
    z, y, x = stored.start_zyx
    nz, ny, nx = stored.grid.shape_zyx
    np.testing.assert_array_equal(stored.read(), body.voxels_hu[z : z + nz, y : y + ny, x : x + nx])
    assert stored.read().dtype == np.int16
    first = stored.grid.lps_from_index((0, 0, 0))
    np.testing.assert_allclose(first, body.grid.lps_from_index(stored.start_zyx), atol=1e-9)
    assert stored.grid.axes_lps == body.grid.axes_lps


def test_the_crop_holds_the_body_and_not_the_table(body):
    box = find_body_box(body.voxels_hu, body.grid.spacing_zyx_mm)
    assert box[1].start <= 16
    assert 44 <= box[1].stop < 60
    assert box[2].start <= 20
    assert box[2].stop >= 70


def test_a_scan_of_air_is_kept_whole():
    air = np.full((10, 12, 14), -1000, dtype=np.int16)
    assert find_body_box(air, (1.0, 1.0, 1.0)) == tuple(slice(0, n) for n in air.shape)


def test_floats_are_rounded_and_clipped(tmp_path):
    voxels = np.full((8, 9, 10), 0.6, dtype=np.float32)
    voxels[0, 0, 0] = 1e6
    write_stored_volume(Scan(voxels, Grid(voxels.shape, (1.0, 1.0, 1.0))), tmp_path / "volume.zarr")
    values = read_stored_volume(tmp_path).read()
    assert values[0, 0, 0] == 32767
    assert values[1, 1, 1] == 1


def test_a_missing_or_damaged_volume_is_said(body, tmp_path):
    with pytest.raises(ScanReadError, match=r"volume.zarr: is not there"):
        read_stored_volume(tmp_path)
    write_stored_volume(body, tmp_path / "volume.zarr")
    (tmp_path / "volume.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ScanReadError, match=r"volume.zarr: is damaged"):
        read_stored_volume(tmp_path)


def test_a_result_keeps_figures_always_and_the_volume_when_given(
    make_result, small_scan, small_labels, tmp_path
):
    from miliary.image.figures.scan_figures import render_figures

    result = make_result(figures=render_figures(small_scan, small_labels, make_result().nodules))
    write_ct_result(result, tmp_path / "with", scan=small_scan)
    write_ct_result(result, tmp_path / "without")
    assert (tmp_path / "with" / "volume.zarr").is_dir()
    assert not (tmp_path / "without" / "volume.zarr").exists()
    listed = json.loads((tmp_path / "without" / "figures" / "figures.json").read_text())
    files = {figure["file"] for figure in listed["figures"] if figure["file"]}
    assert files | {"figures.json"} == {path.name for path in (tmp_path / "without" / "figures").iterdir()}
    assert len(listed["figures"]) == len(result.figures)
