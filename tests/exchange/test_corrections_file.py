import json
import threading

import pytest

from miliary.errors import InputError, OutputError
from miliary.exchange.folders.corrections_file import (
    append_correction,
    find_corrections_file,
    read_corrections,
)
from miliary.model.corrections import CorrectionKind

ADDED = {"reader": "AB", "scan": "baseline", "kind": "add_nodule", "position_lps_mm": [1.0, 2.0, 3.0]}


def test_corrections_are_numbered_timed_and_read_back(tmp_path):
    path = tmp_path / "corrections.jsonl"
    assert read_corrections(path) == ()
    first = append_correction(path, ADDED)
    second = append_correction(path, {**ADDED, "kind": "reject_nodule", "nodule_id": 4, "reader": "林"})
    assert (first.number, second.number) == (1, 2)
    assert first.time.endswith("+00:00")
    assert read_corrections(path) == (first, second)


def test_a_line_once_written_is_never_touched(tmp_path):
    path = tmp_path / "corrections.jsonl"
    append_correction(path, ADDED)
    before = path.read_bytes()
    taken_back = append_correction(
        path, {"reader": "AB", "scan": "baseline", "kind": "withdraw", "withdraws": 1}
    )
    assert taken_back.kind is CorrectionKind.WITHDRAW
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reader": ""}, "initials"),
        ({"position_lps_mm": [1, 2]}, "position_lps_mm"),
        ({"number": 5, "surprise": 1}, "surprise"),
        ({"kind": "withdraw", "position_lps_mm": None, "withdraws": 1}, "earlier correction"),
    ],
)
def test_what_is_no_correction_is_not_written(tmp_path, change, said):
    path = tmp_path / "corrections.jsonl"
    with pytest.raises(InputError, match=said):
        append_correction(path, {**ADDED, **change})
    assert not path.exists() or path.read_bytes() == b""


def test_what_another_scan_has_cannot_be_withdrawn_here(tmp_path):
    path = tmp_path / "corrections.jsonl"
    append_correction(path, ADDED)
    with pytest.raises(InputError, match="another scan"):
        append_correction(path, {"reader": "AB", "scan": "followup", "kind": "withdraw", "withdraws": 1})
    assert len(read_corrections(path)) == 1


def test_taking_back_cannot_be_taken_back(tmp_path):
    path = tmp_path / "corrections.jsonl"
    append_correction(path, ADDED)
    back = {"reader": "AB", "scan": "baseline", "kind": "withdraw"}
    append_correction(path, {**back, "withdraws": 1})
    with pytest.raises(InputError, match="make that one again"):
        append_correction(path, {**back, "withdraws": 2})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b'{"number": 2', "line 2: ends in the middle"),
        (b"[1]\n", "line 2: is not a JSON object"),
        (b"nonsense\n", "line 2"),
        (b"\xff\n", "UTF-8"),
        (b"\n", "line 2"),
    ],
)
def test_a_damaged_file_is_named_with_its_line_and_left_alone(tmp_path, damage, said):
    path = tmp_path / "corrections.jsonl"
    append_correction(path, ADDED)
    path.write_bytes(path.read_bytes() + damage)
    before = path.read_bytes()
    for act in (lambda: read_corrections(path), lambda: append_correction(path, ADDED)):
        with pytest.raises(InputError, match=said) as caught:
            act()
        assert str(tmp_path) not in str(caught.value)
    assert path.read_bytes() == before


def test_numbers_that_do_not_follow_are_told(tmp_path):
    path = tmp_path / "corrections.jsonl"
    append_correction(path, ADDED)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match="line 2: has number 1, expected 2"):
        read_corrections(path)


def test_many_at_once_get_a_number_each(tmp_path):
    path = tmp_path / "corrections.jsonl"
    threads = [threading.Thread(target=append_correction, args=(path, ADDED)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [c.number for c in read_corrections(path)] == list(range(1, 13))


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    with pytest.raises(OutputError, match=r"corrections\.jsonl: cannot write there"):
        append_correction(tmp_path / "nowhere" / "corrections.jsonl", ADDED)


def test_corrections_stand_in_the_study_or_beside_a_single_result(tmp_path):
    study = tmp_path / "study"
    (study / "ct" / "baseline").mkdir(parents=True)
    assert find_corrections_file(study) == study / "corrections.jsonl"
    assert find_corrections_file(study / "ct" / "baseline") == study / "corrections.jsonl"
    single = tmp_path / "result"
    single.mkdir()
    assert find_corrections_file(single) == tmp_path / "result.corrections.jsonl"
    # A study by its own word, its scans elsewhere.
    (single / "study.json").write_text(json.dumps({}))
    assert find_corrections_file(single) == single / "corrections.jsonl"
    (single / "scans" / "a").mkdir(parents=True)
    assert find_corrections_file(single / "scans" / "a") == single / "corrections.jsonl"
