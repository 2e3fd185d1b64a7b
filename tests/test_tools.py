"""The checks of `tools/` find what they are for: each planted violation is reported, the code has none."""

import importlib.util
import sys
from pathlib import Path

import pytest


def load(root, name):
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def names(root):
    return load(root, "check_names")


@pytest.fixture(scope="module")
def docstrings(root):
    return load(root, "check_docstrings")


def function(n_lines, *, head="def long():"):
    return "\n".join([head, *["    pass"] * n_lines, ""])


@pytest.mark.parametrize(
    ("modules", "keys"),
    [
        ({"a/match.py": "", "b/match.py": ""}, {"module-twice match"}),
        ({"a/__init__.py": "", "b/__init__.py": ""}, set()),
        ({"a/x.py": "class Row: ...", "b/y.py": "class Row: ..."}, {"class-twice Row"}),
        ({"a/x.py": "class _Row: ...", "b/y.py": "class _Row: ..."}, set()),
        ({f"a/m{k}.py": "" for k in range(20)}, set()),
        ({f"a/m{k}.py": "" for k in range(21)}, {"room a"}),
        ({f"m{k}.py": "" for k in range(6)} | {"__init__.py": ""}, set()),
        ({f"m{k}.py": "" for k in range(7)}, {"room ."}),
        ({"m.py": function(60)}, set()),
        ({"m.py": function(61)}, {"function-length m.py:long"}),
        ({"m.py": "@nb.njit(cache=True)\n" + function(61)}, set()),
        ({"m.py": "@functools.cache\n" + function(61)}, {"function-length m.py:long"}),
        ({"m.py": 'def documented():\n    """' + "\n" * 80 + '    """\n    return 1\n'}, set()),
        ({"m.py": "#\n" * 800}, set()),
        ({"m.py": "#\n" * 801}, {"module-length m.py"}),
    ],
)
def test_the_check_of_names_finds_what_is_planted_and_nothing_else(names, modules, keys):
    assert set(names.find_faults({Path(path): text for path, text in modules.items()})) == keys


def test_a_method_that_is_too_long_is_named_with_its_class(names):
    text = "class Room:\n" + "\n".join(f"    {line}" for line in function(61).splitlines())
    assert set(names.find_faults({Path("m.py"): text})) == {"function-length m.py:Room.long"}


def test_an_allowance_needs_a_reason_and_a_fault(names):
    faults = {"class-twice Row": "class Row stands in a, b"}
    assert names.judge(faults, {"class-twice Row": "renamed with the reader"}) == []
    assert names.judge(faults, {"class-twice Row": ""}) == ["class Row stands in a, b"]
    assert names.judge({}, {"class-twice Row": "renamed with the reader"})


def test_names_and_sizes_of_modules_hold(names):
    assert names.main() == 0


DOCUMENTED = '''"""Module."""
def f(a, *, b=1, **rest):
    """Do.

    Parameters
    ----------
    a : int
        First.
    {second} : int
    **rest
        More.

    Returns
    -------
    int
    """
'''


RECORD = '''"""Module."""
@dataclass
class A:
    """A.

    Parameters
    ----------
    x : int
    """
'''


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (DOCUMENTED.format(second="b"), set()),
        (DOCUMENTED.format(second="c"), {"parameters m.py:f"}),
        (DOCUMENTED.format(second="b, c"), {"parameters m.py:f"}),
        ("def f(): ...", {"missing m.py", "missing m.py:f"}),
        ('"""M."""\nclass A:\n    """A."""\n    def g(self): ...', {"missing m.py:A.g"}),
        ('"""M."""\nclass _A:\n    def g(self): ...', set()),
        ('"""M."""\ndef _f(): ...', set()),
        (RECORD + "    x: int\n    y: int\n", {"parameters m.py:A"}),
        (RECORD + "    def __init__(self, x): ...\n", set()),
        (
            '"""M."""\ndef f(cls):\n    """F.\n\n    Parameters\n    ----------\n    cls : type\n    """\n',
            set(),
        ),
    ],
)
def test_the_check_of_docstrings_finds_what_is_planted_and_nothing_else(docstrings, text, keys):
    assert set(docstrings.find_faults(Path("m.py"), text)) == keys


def test_every_public_name_is_documented_with_its_parameters(docstrings, root):
    faults, n_public = docstrings.read_faults(root / "src" / "miliary")
    assert list(faults.values()) == []
    assert n_public > 500


@pytest.mark.parametrize(
    ("file", "text", "n_different"),
    [
        ("scan.json", '{"stages": [2], "a": {"b": [1, 2.0]}}', 0),
        ("scan.json", '{"stages": [1], "a": {"b": [1, 2.5]}}', 1),
        ("scan.json", '{"a": {"b": [1, 2.0]}, "new": null}', 1),
        ("scan.json", '{"a": {"b": [1]}}', 1),
        ("nodules.csv", "id\n2\n", 1),
        ("nodules.csv", None, 1),
    ],
)
def test_results_are_compared_value_by_value(root, tmp_path, capsys, file, text, n_different):
    compare = load(root, "compare_results")
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scan.json").write_text('{"stages": [1], "a": {"b": [1, 2.0]}}')
        (tmp_path / folder / "nodules.csv").write_text("id\n1\n")
    changed = tmp_path / "after" / file
    changed.unlink() if text is None else changed.write_text(text)
    code = compare.main([str(tmp_path / "before"), str(tmp_path / "after")])
    assert code == min(n_different, 1)
    assert capsys.readouterr().out.endswith(f"2 files compared, {n_different} differ\n")
