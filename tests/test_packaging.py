import importlib.util
import re
import subprocess

import pytest

LOCKS = ("bootstrap.txt", "core.txt", "all.txt")
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
