import os
import subprocess
import sys

import pytest

from miliary import image


@pytest.mark.parametrize(
    ("writable", "is_set"), [(True, False), (False, True)], ids=["a place to write", "no place to write"]
)
def test_kernels_get_a_folder_only_where_there_is_none(monkeypatch, writable, is_set):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(image.os, "access", lambda *_: writable)
    image._provide_kernel_cache()
    assert ("NUMBA_CACHE_DIR" in os.environ) is is_set
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


def test_a_folder_that_the_user_chose_is_kept(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "chosen")
    monkeypatch.setattr(image.os, "access", lambda *_: False)
    image._provide_kernel_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == "chosen"


def test_kernels_compile_into_the_folder_given(tmp_path):
    """What numba does with the variable, so that a change of numba shows."""
    source = tmp_path / "kernel.py"
    source.write_text("import numba\n@numba.njit(cache=True)\ndef f(x):\n    return x + 1\nprint(f(1))\n")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert list((tmp_path / "cache").rglob("*.nbi"))
    assert not (tmp_path / "__pycache__").exists()
