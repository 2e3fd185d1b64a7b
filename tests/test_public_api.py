import subprocess
import sys
import tomllib

import pytest

import miliary

PUBLIC = {
    "Assessment",
    "Case",
    "CtResult",
    "Grid",
    "InputError",
    "ComparisonSettings",
    "MeasurementSettings",
    "MiliaryError",
    "NodulePopulation",
    "Nodules",
    "RunCancelled",
    "Scan",
    "ScanProtocol",
    "StudySettings",
    "__version__",
    "assess_case",
    "read_case",
    "compare",
    "compare_scans",
    "derive_case",
    "find_nodules",
    "make_exam",
    "measure",
    "open_result",
    "read_ct",
    "read_lung_mask",
    "run_study",
    "simulate_scan",
    "summarize",
    "to_json",
    "write_comparison",
    "write_ct_result",
}


def test_the_public_names_are_exactly_these():
    assert set(miliary.__all__) == PUBLIC
    assert set(miliary.__dir__()) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_loads_and_has_a_docstring(name):
    value = getattr(miliary, name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'find_tumors'"):
        _ = miliary.find_tumors


def test_the_version_is_written_once_in_effect(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == miliary.__version__


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import miliary", {"numpy", "numba", "pydicom", "pandas", "click"}),
        ("import miliary.cli.main", {"numpy", "numba", "pydicom", "pandas", "pyarrow", "rich", "PIL"}),
        ("import miliary.image", {"pydicom", "pandas", "pyarrow"}),
        ("from miliary.image.figures import project", {"pydicom", "pandas", "pyarrow", "numba"}),
        (
            "from miliary import measure, compare, derive_case, run_study",
            {"numpy", "numba", "pydicom", "click", "rich"},
        ),
        ("from miliary import assess_case", {"numpy", "numba", "pydicom", "pandas", "pyarrow", "rich"}),
        ("from miliary.exchange.folders import ct_store", {"pandas", "pyarrow", "PIL", "numba"}),
        ("from miliary import find_nodules", {"pydicom", "pandas", "pyarrow", "rich", "click"}),
    ],
)
def test_imports_stay_light(statement, absent):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(loaded.stdout.split())
