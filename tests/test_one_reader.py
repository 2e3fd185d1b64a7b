"""Saved results are read in one place and by type."""

import ast
import importlib.util

import pytest


@pytest.fixture(scope="module")
def counter(root):
    spec = importlib.util.spec_from_file_location("count_json_reads", root / "tools" / "count_json_reads.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_saved_result_is_read_by_string_key(counter):
    assert counter.count() == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('count = scan["nodules"]["count_per_litre"]', {"nodules", "count_per_litre"}),
        ('half = scan.get("completeness", {}).get("diameter_50_mm")', {"completeness", "diameter_50_mm"}),
        ('ratio = response["response"]["volume_ratio"]', {"response", "volume_ratio"}),
        ('events = case["record"]["events"]', {"record", "events"}),
        ('made = {"nodules": 1}', set()),
        ('summary["nodules"] = 1', set()),
        ('volume = nodules["volume_mm3"]', set()),
        ('other = row["no_field_of_a_result"]', set()),
    ],
)
def test_a_planted_read_is_counted(counter, text, keys):
    assert {read.key for read in counter.find_reads(text, counter.list_fields())} == keys


def test_a_planted_read_in_a_module_that_is_checked_is_found(counter, tmp_path):
    for file in (
        "followup.py",
        "viewer/viewed_study.py",
        "clinical/miliary/bridge.py",
        "exchange/fhir/bundle.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text('x = summary["lungs"]\n')
    found = {read.file for read in counter.count(tmp_path)}
    assert found == {"followup.py", "viewer/viewed_study.py", "clinical/miliary/bridge.py"}


def test_every_place_that_is_allowed_exists(counter):
    places = [*counter.ALLOWED, *counter.ALLOWED_KEYS, *counter.CHECKED]
    assert [place for place in places if not (counter.SOURCE / place).exists()] == []


@pytest.fixture(scope="module")
def read_calls(root):
    """Each call in the package that reads a file, as (module, constants inside the call)."""
    source = root / "src" / "miliary"
    found = []
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if called in ("loads", "load", "read_text", "open", "read_bytes"):
                    inside = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                    found.append((path.relative_to(source).as_posix(), inside))
    return found


@pytest.mark.parametrize("name", ["scan.json", "response.json", "series.json", "case.json"])
def test_one_module_opens_a_saved_result_to_read_it(read_calls, name):
    """Whoever names the file in a call that reads: ``json.loads``, ``read_text`` or ``open``."""
    assert len(read_calls) > 10
    assert {module for module, inside in read_calls if name in inside} == set()


def test_only_the_reader_of_results_decodes_whole_files(root):
    source = root / "src" / "miliary"
    users = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if "load_result_file(" in path.read_text("utf-8")
    }
    assert users == {
        "exchange/folders/result_file.py",
        "exchange/folders/open_result.py",
        "exchange/folders/picture_files.py",
        "exchange/folders/study_file.py",
    }
