"""Which Pythons are tried for bcc, and what is told of those that cannot be used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import CACHE, Options
from otel_tcplife.probe import compiler, interpreters, loader
from otel_tcplife.probe.interpreters import HELPER_MARK, NoBcc, bcc_interpreters, run_helper

_BY_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def bcc_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of that name can be imported."""
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("bcc_here")
@pytest.mark.parametrize("executable", ["/usr/sbin/uwsgi", "/bin/false", "", None])
def test_where_python_is_embedded_the_program_around_it_is_never_run(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    here, *others = bcc_interpreters()
    assert os.path.basename(here) == _BY_VERSION
    assert set(others) <= {"/usr/bin/python3"}


@pytest.mark.usefixtures("bcc_here")
def test_this_python_comes_first() -> None:
    assert bcc_interpreters()[0] == sys.executable


def test_one_that_cannot_be_run_or_fails_is_told(tmp_path: Path) -> None:
    script = tmp_path / "python3"
    for content, problem in [
        ("#!/bin/sh\necho one >&2; echo two >&2; exit 5\n", "two"),
        ("#!/bin/sh\nexit 5\n", "it ended with 5"),
        ("#!/bin/sh\nkill -SEGV $$\n", "SIGSEGV"),
        ("#!/nonexistent\n", "No such file"),
        ("no script", "Exec format error"),
    ]:
        script.write_text(content)
        script.chmod(0o755)
        with pytest.raises(CannotTrace, match=problem):
            run_helper(str(script), [], b"")
    script.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(NoBcc):
        run_helper(str(script), [], b"")


def test_the_next_one_is_tried_and_all_reasons_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [tmp_path / "one", tmp_path / "two"]
    for number, script in enumerate(broken):
        script.write_text(f"#!/bin/sh\necho broken {number} >&2; exit 1\n")
        script.chmod(0o755)
    monkeypatch.setenv(str(CACHE.variable), "none")
    monkeypatch.setattr(compiler, "bcc_interpreters", lambda: [str(script) for script in broken])
    with pytest.raises(CannotTrace) as refused:
        loader.prepare_program(Options())
    assert f"broken 0 (with {broken[0]}); broken 1 (with {broken[1]})" in str(refused.value)


def test_one_that_works_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes for want of CPU; the clock alone would not tell that from one that hangs."""
    monkeypatch.setattr(interpreters, "_HANGS_AFTER", 1)
    works = _script(tmp_path, "import os, time\nwhile time.process_time() < 2.5: pass\nos.write(1, b'done')\n")
    assert run_helper(works, [], b"") == "done"
    hangs = _script(tmp_path, "import time\ntime.sleep(600)\n")
    with pytest.raises(CannotTrace, match="it was not done within"):
        run_helper(hangs, [], b"")


def test_one_that_works_without_end_is_not(tmp_path: Path) -> None:
    works = _script(tmp_path, "while True: pass\n")
    with pytest.raises(CannotTrace, match="it was not done within 1 s"):
        run_helper(works, [], b"", patience=1)


def _script(directory: Path, program: str) -> str:
    """An executable that runs this program in Python, whatever it is given."""
    path = directory / "python3"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    path.chmod(0o755)
    return str(path)


def test_without_memfd_a_temporary_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_name: str) -> int:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(CannotTrace, match="it ended with 1"):
        run_helper("/bin/false", [], b"")


def test_the_helper_starts_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every Python is instrumented, it is too: one would start another without end."""
    monkeypatch.setattr(interpreters, "in_helper", lambda: True)
    with pytest.raises(CannotTrace, match="this is the helper"):
        run_helper(sys.executable, [], b"")
    assert interpreters.in_helper()
    monkeypatch.undo()
    monkeypatch.setenv(HELPER_MARK, "1")
    with pytest.raises(CannotTrace, match="this is the helper"):
        run_helper(sys.executable, [], b"")
