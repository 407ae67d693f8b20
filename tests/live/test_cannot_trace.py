"""What keeps the command from tracing, and what --check finds: each is one line, with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import seccomp_main
from tests.support.for_all_users import copied_python
from tests.support.host_agent import COMMAND

_BCC = "\"$(/usr/bin/python3 -Ic 'import bcc; print(bcc.__path__[0])')\""
_HIDDEN = {
    "no BTF": ("mount -t tmpfs none /sys/kernel/btf", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"),
    "no /sys": ("umount -l /sys", "/sys/kernel/btf/vmlinux", "mount it (mount -t sysfs sysfs /sys)"),
    "no /proc": ("umount -l /proc", "/proc is not mounted", "mount it (mount -t proc proc /proc)"),
    "no bcc": (f"mount -t tmpfs none {_BCC}", "no Python with bcc", "apt install python3-bpfcc"),
    "a broken bcc": (
        "mkdir bcc && echo \"raise AttributeError('libbcc.so.0: undefined symbol: made_up')\" > bcc/__init__.py && "
        f"mount --bind bcc {_BCC}",
        "undefined symbol: made_up",
        "with /usr/bin/python3",
    ),
    "a broken Python": (
        "echo broken > broken && chmod +x broken && mount --bind broken $(readlink -f /usr/bin/python3)",
        "Exec format error",
        "with /usr/bin/python3",
    ),
}


@pytest.mark.parametrize("missing", _HIDDEN)
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_what_is_missing_is_one_line_with_the_remedy(missing: str, arguments: list[str], tmp_path: Path) -> None:
    hide, problem, remedy = _HIDDEN[missing]
    shell = f'{hide} && exec "$0" "$@"'
    with copied_python() as python:  # the one that is broken may be this one
        compiles = ["env", "OTEL_PYTHON_TCPLIFE_CACHE=none", str(python), COMMAND]
        _fails(["unshare", "--mount", "sh", "-c", shell, *compiles, *arguments], problem, remedy, tmp_path)


_REFUSED = {
    "a user namespace": (["unshare", "--user", "--map-root-user"], "uid 0 in a user namespace", "outside of the user"),
    "a seccomp filter": (
        [sys.executable, seccomp_main.__file__],
        "Operation not permitted",
        "seccomp filter let bpf(2)",
    ),
    "8 open files": (["prlimit", "--nofile=8"], "Too many open files", "ulimit -n"),
    "12 open files": (["prlimit", "--nofile=12"], "Too many open files", "ulimit -n"),
    "18 open files": (["prlimit", "--nofile=18"], "Too many open files", "ulimit -n"),
    "19 open files": (["prlimit", "--nofile=19"], "Too many open files", "ulimit -n"),
    "22 open files": (["prlimit", "--nofile=22"], "Too many open files", "ulimit -n"),
    "files of no size": (["prlimit", "--fsize=0"], "File too large", "ulimit -f"),
}


@pytest.mark.parametrize("start", ["that compiles", "from the cache"])
@pytest.mark.parametrize("refusal", _REFUSED)
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_what_is_refused_is_one_line_with_the_remedy(
    refusal: str, arguments: list[str], start: str, tmp_path: Path
) -> None:
    """Only loading the program tells it, so that --check does that, too."""
    run, problem, remedy = _REFUSED[refusal]
    if start == "that compiles" or refusal == "files of no size":  # the other start writes none
        run = ["env", "OTEL_PYTHON_TCPLIFE_CACHE=none", *run]
    else:
        subprocess.run([COMMAND, "--check"], capture_output=True, check=True, cwd=tmp_path)
    _fails([*run, COMMAND, *arguments], problem, remedy, tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_missing_privilege_is_one_line_with_the_remedy(arguments: list[str], tmp_path: Path) -> None:
    # root, but for all that makes it so
    drop = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-bpf,-perfmon,-sys_admin"]
    _fails([*drop, COMMAND, *arguments], "without CAP_BPF and CAP_PERFMON", "CapabilityBoundingSet=", tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_an_old_kernel_is_one_line_with_the_remedy(arguments: list[str], tmp_path: Path) -> None:
    _fails(["setarch", "--uname-2.6", COMMAND, *arguments], "Linux 2.6", "run Linux 5.8 or newer", tmp_path)


def _fails(command: list[str], problem: str, remedy: str, directory: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    assert done.returncode == 1
    if "--check" in command:
        missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
        assert not done.stderr
    else:
        missing = done.stderr.splitlines()
        assert missing[0].startswith("otel-tcplife: cannot trace: ")
    assert len(missing) == 1
    assert problem in missing[0]
    assert remedy in missing[0]


def test_check_says_that_all_is_there(tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, "--check"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0
    names = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("ok")]
    assert names == ["kernel", "proc", "BTF", "bcc", "privileges", "program", "cache", "collector", "collector"]


def test_check_says_that_the_collector_is_away(tmp_path: Path) -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [COMMAND, "--check"], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 1
    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert [line.split()[2] for line in missing] == ["http://127.0.0.1:9/v1/logs:", "http://127.0.0.1:9/v1/metrics:"]
    assert all("start the collector" in line for line in missing)
