"""What is locked, what a wheel and a source archive hold, and that an installed wheel works by itself."""

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

LOCKS = ("bootstrap.txt", "core.txt", "all.txt", "docs.txt", "node.txt")
HELD_OUT_WORDS = ("/work" + "/", "shared" + "/data/", "pypi" + ".org", "files.python" + "hosted")


def _load(root, name):
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pins(root, lock):
    text = (root / "requirements" / lock).read_text()
    return set(re.findall(r"^([a-z0-9._-]+==\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_hashed_and_names_no_host(root, lock):
    text = (root / "requirements" / lock).read_text()
    assert text
    assert not re.search(r"http|--index|--find-links|--extra-index|@ ", text)
    assert _load(root, "check_locks").find_faults(text) == []


@pytest.mark.parametrize(
    "line", ["--index-url somewhere", "numpy>=2", "numpy==2.1", "    --hash=md5:00", "x @ file \\"]
)
def test_the_check_of_locks_sees_a_fault(root, line):
    assert _load(root, "check_locks").find_faults(line)


def test_the_locks_agree(root):
    assert _pins(root, "core.txt") <= _pins(root, "all.txt")
    versions = dict(pin.split("==") for pin in _pins(root, "all.txt"))
    docs = dict(pin.split("==") for pin in _pins(root, "docs.txt"))
    assert {name: docs[name] for name in docs.keys() & versions} == {
        name: versions[name] for name in docs.keys() & versions
    }


def test_no_lock_holds_a_deep_learning_framework(root):
    names = {pin.split("==")[0] for lock in LOCKS for pin in _pins(root, lock)}
    assert not names & {"torch", "tensorflow", "jax", "pylibjpeg-libjpeg"}


@pytest.mark.parametrize(
    ("said", "is_bad"),
    [
        ("MIT", False),
        ("BSD-3-Clause AND Apache-2.0", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-2.1", True),
        ("GNU Lesser General Public License v3", True),
        ("", True),
    ],
)
def test_the_check_of_licenses_knows_good_from_bad(root, said, is_bad):
    assert bool(_load(root, "check_licenses").judge_license("some-package", said)) is is_bad


def test_no_tracked_file_names_a_machine_or_an_index(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if path.is_file() and path.stat().st_size < 2_000_000:
            text = path.read_bytes().decode("utf-8", "ignore")
            found += [f"{name}: {word}" for word in HELD_OUT_WORDS if word in text]
    assert [line for line in found if not line.startswith("tests/test_packaging.py")] == []


# --- the core without anything optional ---------------------------------------------------------------

# Imported first in a process: nothing but the core can be imported after it, and no connection can be opened.
GUARD = """
import socket
import sys

BLOCKED = frozenset({blocked})


class _Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}} (not in requirements/core.txt)", name=name)


def _refuse(self, address):
    raise OSError(f"a connection to {{address!r}} was attempted")


sys.meta_path.insert(0, _Guard())
socket.socket.connect = _refuse
"""


@pytest.fixture(scope="module")
def guard(root):
    """Source of a module that leaves a process only the packages of core.txt, and no network."""
    core = {re.sub(r"[-_.]+", "-", pin.split("==")[0]) for pin in _pins(root, "core.txt")} | {"miliary"}
    blocked = [
        module
        for module, distributions in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", name.lower()) for name in distributions} & core
    ]
    assert {"pandas", "docx", "weasyprint", "lightgbm", "pytest"} & set(blocked)
    assert not {"numpy", "numba", "markupsafe", "yaml"} & set(blocked)
    return GUARD.format(blocked=sorted(blocked))


def test_every_module_and_command_of_the_core_loads_with_the_core_alone(root, guard):
    code = (
        guard
        + """
import importlib
import pkgutil

import click
import miliary
from miliary.cli.main import cli

for found in pkgutil.walk_packages(miliary.__path__, "miliary."):
    importlib.import_module(found.name)
for name in miliary.__all__:
    getattr(miliary, name)


def list_commands(command):
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from list_commands(below)


for command in list_commands(cli):
    command.get_help(click.Context(command))
print(sum(1 for _ in list_commands(cli)), "commands")
"""
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[0]) > 10


def test_a_table_without_pandas_is_one_line_that_names_the_extra(guard, root):
    code = (
        guard
        + """
import numpy as np

from miliary.errors import InputError
from miliary.model.nodules import COLUMNS, Nodules

try:
    Nodules({c.name: np.empty(0, c.dtype) for c in COLUMNS}).to_frame()
except InputError as error:
    print(error)
"""
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "a DataFrame needs pandas, which is not installed: pip install 'miliary[table]'\n"


def test_every_extra_is_described(root):
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (root / "docs" / "install.md").read_text()
    assert [name for name in extras if f"| `{name}` |" not in page] == []


# --- wheel and source archive -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archives(root, tmp_path_factory):
    """The wheel and the source archive, built by the locked backend, without isolation or an index."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_the_wheel_holds_every_file_of_the_package_and_the_examples(root, archives):
    names = set(zipfile.ZipFile(archives[0]).namelist())
    package = root / "src" / "miliary"
    expected = {
        f"miliary/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix in {".py", ".toml", ".json", ".npz", ".html", ".css", ".js", ".yaml"}
    }
    expected |= {
        f"miliary/examples/{path.relative_to(root / 'examples').as_posix()}"
        for path in (root / "examples").rglob("*")
        if path.is_file()
    }
    assert len(expected) > 200
    assert expected - names == set()
    assert {"miliary/py.typed", "miliary/image/weights/classifier.npz"} <= names


def test_the_wheel_holds_the_bundle_of_the_viewer(root, archives):
    bundle = root / "src" / "miliary" / "viewer" / "static" / "webgl.js"
    if not bundle.is_file():
        reason = "the bundle of the viewer is not built: make viewer"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    names = zipfile.ZipFile(archives[0]).namelist()
    assert {f"miliary/viewer/static/webgl.{end}" for end in ("js", "licenses.txt")} <= set(names)


def test_the_wheel_holds_nothing_else(archives):
    names = zipfile.ZipFile(archives[0]).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"miliary"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".nbc", ".nbi"))]


def test_the_source_archive_can_be_built_and_tested(root, archives):
    with tarfile.open(archives[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = ["pyproject.toml", "Makefile", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff"]
    needed += [
        "tools/write_docs.py",
        "training/train.py",
        "validation/run.py",
        "tests/conftest.py",
        "docs/index.md",
    ]
    needed += ["requirements/core.txt", "web/package-lock.json", "examples/index-case/case.yaml"]
    assert set(needed) - names == set()


@pytest.fixture(scope="module")
def installed(archives, guard, tmp_path_factory):
    """Run a command of the wheel in an environment of its own, outside the checkout.

    Nothing is fetched: the wheel is installed without its dependencies, which a path file takes from the
    environment of the tests. That path file does not read others, so the editable checkout stays out; the
    guard, loaded at start, leaves only what core.txt names.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    install = ["-m", "uv", "pip", "install", "--quiet", "--offline", "--no-index", "--no-deps", "--python"]
    subprocess.run([sys.executable, *install, str(python), str(archives[0])], check=True)
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (site / "core_only_guard.py").write_text(guard)
    borrowed = Path(pytest.__file__).parents[1]
    (site / "zz_borrowed.pth").write_text(f"{borrowed}\nimport core_only_guard\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "NUMBA"))}

    def run(*words):
        command = [str(folder / "env" / "bin" / "miliary"), *words]
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run.folder = folder
    run.python = python
    run.environment = environment
    return run


def test_the_installed_wheel_is_what_runs(installed):
    code = "import miliary; print(miliary.__file__)"
    said = subprocess.run(
        [str(installed.python), "-c", code],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(said.strip()).is_relative_to(installed.folder)
    assert "Measure miliary lung disease" in installed("--help")


def test_the_installed_wheel_reads_a_case_with_its_rules_and_schemas(installed):
    installed("case", "new", "patient")
    examples = next(installed.folder.glob("env/lib/*/site-packages/miliary/examples"))
    installed("case", "run", str(examples / "index-case"), "--out", "findings")
    assert json.loads((installed.folder / "findings" / "case.json").read_text())["assessments"]


def _keep_compiled_kernels(root, site):
    """Give the installed package what this checkout has compiled, where its modules hold the same bytes.

    Compiling everything a second time took a minute and tests nothing that other tests do not.
    """
    for source in (root / "src" / "miliary").rglob("*.py"):
        module = site / "miliary" / source.relative_to(root / "src" / "miliary")
        assert module.read_bytes() == source.read_bytes()
        # numba takes a kernel for current where time and size of the module are those it was compiled from.
        os.utime(module, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    for kept in (root / "src" / "miliary" / "image").rglob("__pycache__/*.nb[ci]"):
        copy = site / kept.relative_to(root / "src")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(kept.read_bytes())


def test_the_installed_wheel_simulates_and_measures_a_scan(installed, root):
    _keep_compiled_kernels(root, next((installed.folder / "env" / "lib").glob("python*/site-packages")))
    grid = ["--grid", "84", "112", "144", "--slice-thickness", "2.6", "--pixel", "2.4", "--blur", "2.4"]
    installed("simulate", "--out", "scan", "--nodules", "60", "--diameter", "4", "6", *grid, "--quiet")
    installed("ct", "scan/volume.nii.gz", "--out", "result", "--fast", "--quiet")
    summary = json.loads((installed.folder / "result" / "scan.json").read_text())
    rows = list(csv.DictReader((installed.folder / "result" / "nodules.csv").read_text().splitlines()))
    assert summary["lungs"]["total_ml"] > 1000
    assert rows
    installed("report", "result", "--out", "page.html")
    assert "<html" in (installed.folder / "page.html").read_text()
