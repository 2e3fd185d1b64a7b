"""What in a patient's folder is a scan, what is not and why, and in which order scans are."""

import shutil
import zipfile

import pytest

from miliary.errors import InputError
from miliary.exchange.volumes.volume_file import write_volume
from miliary.model.comparison import Identity
from miliary.workflow.comparison_run import name_in_order
from miliary.workflow.study_record import digest_scan
from miliary.workflow.study_search import FoundScan, search_study, sort_scans


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "patient"
    here.mkdir()
    return here


@pytest.fixture
def write_nifti(small_scan):
    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, small_scan.voxels_hu, small_scan.grid)

    return write


def search(folder):
    found = search_study(folder, out=folder / "result")
    return [(scan.name, scan.kind) for scan in found.scans], {e.name: e.reason for e in found.skipped}


def test_volume_files_are_scans_unless_their_name_says_mask(folder, write_nifti):
    for name in ("b.nii.gz", "a.nii.gz", "a_vessel-mask.nii.gz", "truth_lungs.nii.gz", "deep/er/c.nii.gz"):
        write_nifti(folder / name)
    (folder / "a.raw").write_bytes(b"1")
    scans, skipped = search(folder)
    assert scans == [(name, "volume file") for name in ("a.nii.gz", "b.nii.gz", "deep/er/c.nii.gz")]
    assert set(skipped) == {"a_vessel-mask.nii.gz", "truth_lungs.nii.gz"}


def test_a_lung_mask_goes_with_the_scan_it_is_named_after(folder, write_nifti, add_scan):
    for name in ("a.nii.gz", "a-lungs.nii.gz", "b.nii.gz", "other_lung_mask.nii.gz"):
        write_nifti(folder / name)
    add_scan(folder / "first", day="20210309")
    write_nifti(folder / "first_lungs.nrrd")
    found = search_study(folder, out=folder / "result")
    masks = {scan.name: scan.lung_mask and scan.lung_mask.name for scan in found.scans}
    assert masks == {"a.nii.gz": "a-lungs.nii.gz", "b.nii.gz": None, "first": "first_lungs.nrrd"}
    assert [entry.name for entry in found.skipped] == ["other_lung_mask.nii.gz"]


def test_zips_folders_and_the_subfolder_ct_are_looked_at(folder, add_scan):
    add_scan(folder / "ct" / "later", day="20210608")
    add_scan(folder / "first", day="20210309")
    add_scan(folder.parent / "loose", day="20210401")
    with zipfile.ZipFile(folder / "middle.zip", "w") as archive:
        for path in (folder.parent / "loose").iterdir():
            archive.write(path, path.name)
    found = search_study(folder, out=folder / "result")
    assert [scan.name for scan in found.scans] == ["first", "middle.zip", "ct/later"]
    assert found.order == "acquisition dates"


@pytest.mark.parametrize(
    ("uids", "expected"), [(("1.2.3", "1.2.4"), ["all/x", "all/y"]), (("1.2.3",) * 2, ["all"])]
)
def test_studies_in_one_folder_are_told_apart_and_series_are_not(folder, add_scan, uids, expected):
    for name, uid in zip("xy", uids, strict=True):
        add_scan(folder / "all" / name, day="20210608", seed=ord(name), StudyInstanceUID=uid)
    assert [name for name, _ in search(folder)[0]] == expected


def test_images_that_lie_loose_are_one_line(folder, add_scan):
    add_scan(folder.parent / "loose", day="20210401")
    (folder / "case.yaml").write_text("id: p1\n")
    for path in (folder.parent / "loose").iterdir():
        shutil.copy(path, folder / path.name)
    scans, skipped = search(folder)
    assert scans == []
    assert list(skipped) == ["22 single DICOM images"]


def test_images_right_in_ct_are_one_scan(folder, add_scan):
    add_scan(folder / "ct", day="20210401")
    assert search(folder)[0] == [("ct", "DICOM folder")]


def test_what_is_no_ct_says_so(folder, add_scan, write_nifti):
    write_nifti(folder / "a.nii")
    add_scan(folder / "film", day="20210401", Modality="DX")
    (folder / "letters").mkdir()
    (folder / "letter.pdf").write_text("%PDF")
    (folder / "old").mkdir()
    (folder / "old" / "study.json").write_text("{}")
    (folder / ".hidden").mkdir()
    (folder / "result").mkdir()
    assert search(folder)[1] == {
        "film": "holds no CT (DX)",
        "letter.pdf": "is no chest CT",
        "letters": "holds no chest CT",
        "old": "is an earlier study",
    }


def test_the_case_beside_the_scans_or_in_its_folder(folder, write_nifti):
    write_nifti(folder / "a.nii")
    (folder / "case.yaml").write_text("id: a\n")
    assert search_study(folder, out=folder / "result").case == folder
    (folder / "case").mkdir()
    (folder / "case" / "case.yaml").write_text("id: b\n")
    found = search_study(folder, out=folder / "result")
    assert found.case == folder / "case"
    assert [entry.name for entry in found.skipped] == ["case.yaml"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: None, "neither a chest CT nor a case.yaml"),
        (lambda p: p.rmdir(), "is no folder"),
        (lambda p: (p / "scan.json").write_text("{}"), "is a result"),
    ],
)
def test_a_folder_of_nothing_is_refused(folder, make, text):
    make(folder)
    with pytest.raises(InputError, match=text):
        search(folder)


@pytest.mark.parametrize(
    ("scans", "expected", "order"),
    [
        ([("b", 1), ("a", 2)], ["b", "a"], "acquisition dates"),
        ([("followup", None), ("baseline", None)], ["baseline", "followup"], "names"),
        ([("follow-up", None), ("x", None), ("before", None)], ["before", "x", "follow-up"], "names"),
        ([("scan-10", None), ("scan-2", None)], ["scan-2", "scan-10"], "names"),
        ([("a", None), ("b", 5), ("c", 3)], ["c", "b", "a"], "names, and dates where the files say them"),
        ([("z-baseline", None), ("b", 5)], ["z-baseline", "b"], "names, and dates where the files say them"),
        ([("a", 1)], ["a"], ""),
    ],
)
def test_scans_are_in_the_order_of_time_as_far_as_it_is_known(tmp_path, scans, expected, order):
    found = [FoundScan(tmp_path / name, name, "zip", Identity(day=day)) for name, day in scans]
    for given in (found, found[::-1]):
        ordered, said = sort_scans(given)
        assert ([scan.name for scan in ordered], said) == (expected, order)


def test_labels_say_nothing_but_the_order():
    assert [name_in_order(n) for n in range(4)] == [
        [],
        ["baseline"],
        ["baseline", "followup"],
        ["baseline", "followup", "followup-2"],
    ]


def test_the_hash_of_a_header_holds_the_data_it_names(folder):
    header, data, other = folder / "a.mhd", folder / "a.raw", folder / "b.raw"
    header.write_text("ObjectType = Image\nElementDataFile = a.raw\n")
    data.write_bytes(b"1")
    other.write_bytes(b"1")
    first = digest_scan(header)
    other.write_bytes(b"2")
    assert digest_scan(header) == first
    data.write_bytes(b"2")
    assert digest_scan(header) != first
