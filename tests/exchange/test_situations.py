"""Every situation of `situations.py`: read with the right voxels, warned of, or refused in one line."""

import numpy as np
import pytest

from miliary.errors import ScanGeometryError, ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.exchange.dicom import pixels
from miliary.exchange.dicom.identity import list_series
from tests.exchange.exported_dicom import two_examinations
from tests.exchange.scans import SPACING, phantom_hu
from tests.exchange.situations import (
    ALL_SITUATIONS,
    linked_folder,
    render_table,
    thin_chest_beside_thick_trunk,
    thin_chest_beside_thin_belly,
    three_passes,
)


@pytest.mark.parametrize("situation", ALL_SITUATIONS, ids=lambda one: one.text)
def test_situation(tmp_path, situation):
    path = situation.make(tmp_path)
    if situation.refused:
        with pytest.raises((ScanReadError, ScanGeometryError), match=situation.refused) as caught:
            read_ct(path)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 300
        assert str(tmp_path) not in message
        return
    scan = read_ct(path)
    codes = {warning.code for warning in scan.warnings}
    expected = {"forms_disagree", "joined_series", "broken_links", "several_series", "series_refused"}
    expected |= {"interleaved_acquisitions", "overlapping_passes", "passes_left_out", "duplicated_slices"}
    expected |= {"empty_files", "unit_unknown", "orientation_unknown"}
    assert situation.warns in codes if situation.warns else not codes & expected
    assert not any("SMITH" in warning.message for warning in scan.warnings)
    if situation.same:
        truth = phantom_hu()
        # What lies outside the field of view is air in the phantom, but for its noise.
        inside = truth > -900
        assert scan.voxels_hu.shape == truth.shape
        assert scan.grid.spacing_zyx_mm == pytest.approx(SPACING)
        assert np.array_equal(scan.voxels_hu[inside], truth[inside])
        assert scan.voxels_hu[~inside].max() < -850


def test_the_thin_chest_is_chosen_and_the_other_named(tmp_path):
    scan = read_ct(thin_chest_beside_thick_trunk(tmp_path))
    assert scan.grid.spacing_zyx_mm[0] == 1.0
    said = next(warning.message for warning in scan.warnings if warning.code == "several_series")
    assert "32 slices of 4 mm" in said


def test_three_passes_are_read_from_end_to_end(tmp_path):
    assert read_ct(three_passes(tmp_path)).grid.shape_zyx[0] == 48


def test_an_earlier_examination_in_the_folder_is_called_one(tmp_path):
    scan = read_ct(two_examinations(tmp_path))
    said = next(warning.message for warning in scan.warnings if warning.code == "several_series")
    assert said.endswith("(another examination)")


def test_the_table_of_the_docs_is_current(root):
    text = (root / "docs/reading.md").read_text()
    table = text.split("<!-- situations -->\n")[1].split("<!-- end of situations -->")[0]
    assert table == render_table(), "run `make docs`"


def test_a_disk_that_fails_and_memory_that_ends_are_told_in_one_line(tmp_path, monkeypatch):
    path = linked_folder(tmp_path)
    for error, said in ((OSError(5, "Input/output error"), "cannot be read"), (MemoryError(), "more memory")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("miliary.exchange.dicom.read_series.read_pixels", fail)
        with pytest.raises(ScanReadError, match=said):
            read_ct(path)


def test_a_file_that_goes_away_while_the_folder_is_read_is_named(tmp_path, monkeypatch):
    path = linked_folder(tmp_path)
    gone = sorted((tmp_path / "elsewhere").iterdir())[5]
    real = pixels.read_pixels

    def read_pixels(*arguments, **options):
        gone.unlink(missing_ok=True)
        return real(*arguments, **options)

    monkeypatch.setattr("miliary.exchange.dicom.read_series.read_pixels", read_pixels)
    with pytest.raises(ScanReadError, match=rf"{gone.name} cannot be read"):
        read_ct(path)


def test_a_comparison_is_offered_the_series_that_show_the_lungs(tmp_path):
    found = list_series(thin_chest_beside_thin_belly(tmp_path))
    assert [(one.key, one.n_slices) for one in found] == [("#2", 48)]
