"""What mends a refusal of the kernel, by what can be seen of its causes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from otel_tcplife.probe.diagnosis import remedy_of

_HOST = "0 0 4294967295\n"


def _root(directory: Path, *, uid_map: str = _HOST, seccomp: str = "0", lockdown: str = "") -> Path:
    """/proc and /sys of a process."""
    (directory / "proc/self").mkdir(parents=True)
    (directory / "proc/self/uid_map").write_text(uid_map)
    (directory / "proc/self/status").write_text(f"Name:\tx\nSeccomp:\t{seccomp}\nSeccomp_filters:\t1\n")
    if lockdown:
        (directory / "sys/kernel/security").mkdir(parents=True)
        (directory / "sys/kernel/security/lockdown").write_text(lockdown)
    return directory


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS])
@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ({}, None),
        ({"uid_map": "0 1000 1\n"}, "outside of the user namespace"),
        ({"uid_map": "0 100000 65536\n", "seccomp": "2"}, "outside of the user namespace"),
        ({"seccomp": "2"}, "seccomp filter let bpf(2) through"),
        ({"seccomp": "1"}, None),
        ({"lockdown": "none integrity [confidentiality]\n"}, "lockdown=integrity"),
        ({"lockdown": "none [integrity] confidentiality\n"}, None),
    ],
)
def test_a_refusal_has_the_remedy_of_its_cause(
    state: dict[str, str], remedy: str | None, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1.0", "1", "x86_64")))
    problem = f"could not open bpf map: flows, error: {os.strerror(number)} (with /usr/bin/python3)"
    found = remedy_of(problem, _root(tmp_path, **state))
    assert remedy in found if remedy else found == ""


@pytest.mark.parametrize(
    ("release", "counts"), [("5.10.0-32-amd64", True), ("5.8.0", True), ("5.11.0", False), ("6.1-x", False)]
)
def test_maps_count_against_locked_memory_before_5_11(
    release: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "1", "x86_64")))
    assert ("locked memory" in remedy_of(os.strerror(errno.EPERM), _root(tmp_path))) == counts


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        (os.strerror(errno.EMFILE), "ulimit -n"),
        (os.strerror(errno.ENFILE), "fs.file-max"),
        (os.strerror(errno.EAGAIN), "ulimit -u"),
        (os.strerror(errno.ENOMEM), "memory"),
        ("MemoryError", "memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        (os.strerror(errno.EFBIG), "ulimit -f"),
    ],
)
def test_a_limit_has_the_remedy_of_that_limit(problem: str, remedy: str, tmp_path: Path) -> None:
    assert remedy in remedy_of(f"cannot do it: {problem}", _root(tmp_path, seccomp="2"))


def test_without_proc_and_for_what_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1.0", "1", "x86_64")))
    assert remedy_of(os.strerror(errno.EPERM), tmp_path) == ""
    assert remedy_of("error: expected ';'", tmp_path) == ""
