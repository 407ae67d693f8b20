"""--check finds all that is needed."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.host_agent import COMMAND


def test_all_that_is_needed_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([COMMAND, "--check"], capture_output=True, text=True, check=False)
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0
    states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert {*states} >= {"kernel:", "proc:", "BTF:", "bcc:", "privileges:", "program:", "cache:"}
    assert {*states.values()} == {"ok"}
    assert f"Linux {os.uname().release}" in done.stdout
