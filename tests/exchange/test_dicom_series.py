"""Which of several series is read, and that the reason is said."""

import pytest

from miliary.errors import ScanReadError
from miliary.exchange.ct_read import read_ct
from miliary.exchange.dicom.series import is_sharp_kernel
from miliary.model.scan import Acquisition, Grid
from tests.exchange.scans import edit_all, phantom_hu, write_phantom


def add_series(folder, *, number, n=24, step=2.0, kernel="STANDARD", image_type="ORIGINAL", shape=(20, 24)):
    voxels = phantom_hu((n, *shape))
    name = folder / f"s{number}"
    write_phantom(
        name,
        voxels=voxels,
        grid=Grid(voxels.shape, (step, 1.5, 1.5)),
        acquisition=Acquisition(kernel=kernel),
        seed=number,
    )

    def label(dataset):
        dataset.PatientID = "one"
        dataset.SeriesNumber = number
        dataset.ImageType = [image_type, "PRIMARY", "AXIAL"]

    edit_all(name, label)
    return name


CHOICES = {
    "long enough before all": ({"n": 9, "step": 1.0}, {"n": 24, "step": 2.0}, "long enough to be a chest"),
    "reach before thinness": ({"n": 40, "step": 1.0}, {"n": 40, "step": 2.5}, "because it reaches further"),
    "original before derived": (
        {"image_type": "DERIVED", "n": 48, "step": 1.0},
        {"n": 24, "step": 2.0},
        "original axial images",
    ),
    "thin before thick": ({"n": 16, "step": 3.0}, {"n": 48, "step": 1.0}, "thinner slices"),
    "smooth before sharp": ({"kernel": "B70f"}, {"kernel": "B31f"}, "smoother kernel"),
    "more before fewer": ({"n": 24}, {"n": 26}, "more slices"),
}


@pytest.mark.parametrize(("worse", "better", "reason"), CHOICES.values(), ids=CHOICES)
def test_rule_and_reason(tmp_path, worse, better, reason):
    add_series(tmp_path, number=3, **worse)
    add_series(tmp_path, number=7, **better)
    scan = read_ct(tmp_path)
    assert scan.acquisition.series_choice is not None
    assert scan.acquisition.series_choice.startswith("series 2 of 2 (number 7): ")
    assert scan.acquisition.series_choice.endswith(f"chosen {'' if 'because' in reason else 'for '}{reason}")
    warned = [w for w in scan.warnings if w.code == "several_series"]
    assert len(warned) == 1
    assert scan.acquisition.series_choice in warned[0].message


def test_equal_series_fall_to_the_lower_number(tmp_path):
    add_series(tmp_path, number=9)
    add_series(tmp_path, number=4)
    choice = read_ct(tmp_path).acquisition.series_choice
    assert choice == (
        "series 1 of 2 (number 4): 24 slices of 2 mm, kernel STANDARD; chosen as the first of equal series"
    )


@pytest.mark.parametrize(("asked", "n"), [("7", 26), (7, 26), ("2", 26), ("#1", 24), ("3", 24), ("1", 24)])
def test_series_is_chosen_by_number_or_position(tmp_path, asked, n):
    add_series(tmp_path, number=3, n=24)
    add_series(tmp_path, number=7, n=26)
    scan = read_ct(tmp_path, series=asked)
    assert scan.voxels_hu.shape[0] == n
    assert str(scan.acquisition.series_choice).endswith("; asked for")


def test_an_unknown_series_lists_the_choices(tmp_path):
    add_series(tmp_path, number=3, n=24)
    add_series(tmp_path, number=7, n=26, kernel="B60f")
    with pytest.raises(ScanReadError) as caught:
        read_ct(tmp_path, series="11")
    assert "#1 number 3: 24 slices of 2 mm, kernel STANDARD; #2 number 7: 26 slices" in str(caught.value)
    assert "kernel B60f" in str(caught.value)


def test_localizers_and_projections_are_passed_over(tmp_path):
    slab = add_series(tmp_path, number=1, n=60, step=1.0)
    edit_all(slab, lambda d: setattr(d, "ImageType", ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]))
    scout = add_series(tmp_path, number=2, n=60, step=1.0)
    edit_all(scout, lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    add_series(tmp_path, number=3, n=24)
    assert read_ct(tmp_path).voxels_hu.shape[0] == 24


def test_only_localizers_is_an_error(tmp_path):
    scout = add_series(tmp_path, number=2)
    edit_all(scout, lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    with pytest.raises(ScanReadError, match="only localizers"):
        read_ct(tmp_path)


def test_other_modalities_beside_the_ct_are_passed_over(tmp_path):
    add_series(tmp_path, number=3, n=24)
    mr = add_series(tmp_path, number=4, n=60, step=1.0)

    def to_mr(dataset):
        dataset.Modality = "MR"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"

    edit_all(mr, to_mr)
    assert read_ct(tmp_path).voxels_hu.shape[0] == 24


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        ("B31f", False),
        ("B70f", True),
        ("Br40d", False),
        ("I70f/3", True),
        ("STANDARD", False),
        ("LUNG", True),
        ("BONEPLUS", True),
        ("FC08", False),
        ("FC51", True),
        ("D", True),
        ("B", False),
        ("something new", None),
        (None, None),
    ],
)
def test_kernel_names(kernel, sharp):
    assert is_sharp_kernel(kernel) is sharp
