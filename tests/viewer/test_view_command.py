import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from miliary.cli.main import main


def test_the_command_prints_an_address_that_answers_and_ends_quietly(study):
    command = [sys.executable, "-m", "miliary.cli", "view", str(study), "--no-browser", "--reader", "AB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            url = program.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/", url)
            with urllib.request.urlopen(url + "study", timeout=20) as answer:
                assert b"baseline" in answer.read()
            # A shell that runs the tests in the background has its children ignore interrupts.
            os.kill(program.pid, signal.SIGTERM)
            out, err = program.communicate(timeout=20)
        finally:
            program.kill()
    assert program.returncode == 0
    assert "Traceback" not in out + err
    assert str(study.parent) not in out + err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "is not a folder"),
        (lambda p: p, "holds no result"),
    ],
)
def test_what_is_no_study_is_refused(tmp_path, capsys, make, said):
    assert main(["view", str(make(tmp_path)), "--no-browser"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert str(tmp_path.parent) not in err


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.1", "192.0.2.1"])
def test_an_address_that_cannot_be_listened_on_is_refused(study, capsys, host):
    assert main(["view", str(study), "--no-browser", "--host", host]) == 2
    assert host in capsys.readouterr().err
