"""python -m otel_tcplife.probe on the real kernel, and what is shown of the compiler and the verifier for debugging."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Scope
from otel_tcplife.probe.compiler import compile_text, text_of_kernel
from otel_tcplife.probe.loader import attached, refusals_explained
from otel_tcplife.session import SESSION
from tests.live import seccomp_main

PROBE = [sys.executable, "-m", "otel_tcplife.probe"]
COMMAND = [sys.executable, "-m", "otel_tcplife"]
UNPRIVILEGED = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-bpf,-perfmon,-sys_admin"]
WITHOUT_BPF = [sys.executable, seccomp_main.__file__]


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}, **variables}


def _run(command: Sequence[str], **variables: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(variables))
    return done.returncode, done.stdout, done.stderr.splitlines()


def _program(*arguments: str, **variables: str) -> str:
    code, text, said = _run([*PROBE, "program", *arguments], **variables)
    assert (code, said) == (0, [])
    return text


def _load(text: str) -> None:
    """Have it compiled and attached, and give it up. Raise CannotTrace."""
    scan = text.replace("\n#define TYPED_POINTERS 1\n", "\n#define TYPED_POINTERS 0\n")
    with refusals_explained():
        attached(compile_text(text_of_kernel(text)._replace(hooks=text, scan=scan))).close()


def _session() -> tuple[int, int]:
    """Make a session on loopback, of 1000 bytes from its client, which closes first; return the ports of its ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        accepted, (_, port) = listener.accept()
        with accepted:
            client.sendall(bytes(1000))
            assert len(accepted.recv(1000, socket.MSG_WAITALL)) == 1000
            client.close()
            assert accepted.recv(1) == b""
        return port, listener.getsockname()[1]


@contextmanager
def _dumping(**variables: str) -> Generator[subprocess.Popen[str]]:
    """A dump that traces."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", *PROBE, "dump"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(variables)
    ) as dump:
        assert dump.stderr
        try:
            assert dump.stderr.readline() == "otel-tcplife: tracing; each row is a line of JSON\n"
            yield dump
        finally:
            dump.kill()


@pytest.mark.parametrize("scope", Scope)
def test_the_program_that_is_printed_is_what_this_kernel_takes(scope: Scope) -> None:
    text = _program("--scope", scope.value)
    _load(text)
    is_process = int(scope is Scope.PROCESS)
    assert f"\n#define SCOPE_PROCESS {is_process}\n#define HIDE_TRACER {1 - is_process}\n" in text


def test_the_program_is_that_of_the_command_and_of_its_variables() -> None:
    assert "\n#define SCOPE_PROCESS 0\n" in _program(OTEL_PYTHON_TCPLIFE_SCOPE="process")
    text = _program(OTEL_PYTHON_TCPLIFE_LOCAL_PORTS="8080", OTEL_PYTHON_TCPLIFE_INTERIM="60")
    assert "\n#define SELECT_LOCAL_PORT(port) ((port) == 8080)\n" in text
    assert "\n#define INTERIM 60000000000ULL\n" in text


def test_the_program_is_printed_without_privileges() -> None:
    code, text, said = _run([*UNPRIVILEGED, *PROBE, "program"])
    assert (code, said) == (0, [])
    assert "RAW_TRACEPOINT_PROBE(inet_sock_set_state)" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_rows_that_are_dumped(number: signal.Signals) -> None:
    with _dumping() as dump:
        client_port, server_port = _session()
        dump.send_signal(number)
        printed, said = dump.communicate()
        assert dump.returncode == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    assert all(tuple(row) == SESSION.names for row in rows)
    ends = {
        row["local_port"]: row for row in rows if {row["local_port"], row["peer_port"]} == {client_port, server_port}
    }
    assert ends.keys() == {client_port, server_port}
    for end in ends.values():
        assert (end["local_address"], end["peer_address"], end["ip_version"]) == ("127.0.0.1", "127.0.0.1", 4)
        assert end["pid"] == os.getpid()
        assert end["comm"] == Path("/proc/self/comm").read_text().rstrip("\n")
    assert [(ends[port]["bytes_sent"], ends[port]["bytes_received"]) for port in (client_port, server_port)] == [
        (1000, 0),
        (0, 1000),
    ]
    balance = re.fullmatch(r"otel-tcplife: \d+ sessions ended: (\d+) submitted(, .*)?\n", said)
    assert balance
    assert int(balance[1]) == len(rows)


def test_a_dump_takes_the_variables_of_the_command() -> None:
    with _dumping(OTEL_PYTHON_TCPLIFE_IP_VERSION="6") as dump:
        ports = _session()
        dump.send_signal(signal.SIGINT)
        printed, said = dump.communicate()
    rows = [json.loads(line) for line in printed.splitlines()]
    assert not [row for row in rows if row["local_port"] in ports and row["peer_port"] in ports]
    assert "filtered" in said


def test_a_dump_ends_when_nobody_reads_any_more() -> None:
    with _dumping() as dump:
        assert dump.stdout
        dump.stdout.close()
        while dump.poll() is None:
            _session()
        assert dump.stderr
        assert (dump.returncode, dump.stderr.read()) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        ([], {}, "the following arguments are required: program|dump; see python -m otel_tcplife.probe --help"),
        (["program", "--scope", "all"], {}, "--scope: unknown scope 'all'; use process or host"),
        (
            ["dump", "--scope", "host"],
            {},
            "unrecognized arguments: --scope host; see python -m otel_tcplife.probe --help",
        ),
        (
            ["dump"],
            {"OTEL_PYTHON_TCPLIFE_LOCAL_PORTS": "http"},
            "OTEL_PYTHON_TCPLIFE_LOCAL_PORTS: 'http' is not a port; give a number from 1 to 65535",
        ),
    ],
)
def test_bad_usage(arguments: list[str], variables: dict[str, str], line: str) -> None:
    assert _run([*PROBE, *arguments], **variables) == (2, "", [f"otel-tcplife: {line}"])


@pytest.mark.parametrize(("run", "remedy"), [(UNPRIVILEGED, "CapabilityBoundingSet="), (WITHOUT_BPF, "seccomp filter")])
def test_a_dump_that_cannot_trace_says_so_in_one_line(run: list[str], remedy: str) -> None:
    code, printed, [line] = _run([*run, *PROBE, "dump"])
    assert (code, printed) == (1, "")
    assert line.startswith("otel-tcplife: cannot trace: ")
    assert remedy in line


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROBE, "program"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "otel-tcplife: cannot print: No space left on device\n")


@pytest.mark.parametrize("command", [[*COMMAND, "--no-table"], [*PROBE, "dump"]])
def test_at_debug_level_all_that_the_helper_says_is_shown(command: list[str], tmp_path: Path) -> None:
    run = ["env", f"--chdir={tmp_path}", *WITHOUT_BPF, *command]
    variables = {"OTEL_PYTHON_TCPLIFE_CACHE": "none"}
    code, _, [line] = _run(run, OTEL_LOG_LEVEL="info", **variables)
    debug_code, _, [*shown, last] = _run(run, OTEL_LOG_LEVEL="debug", **variables)
    assert (code, debug_code, last) == (1, 1, line)
    assert any(each.endswith("ended with 1, and said:") for each in shown)
    assert any(each.endswith("Exception: Failed to compile BPF module <text>") for each in shown)
    assert all(each.startswith("otel-tcplife: ") for each in shown)


@pytest.mark.parametrize(
    ("code", "reason", "further"),
    [
        ("int broken(void) { return nonsense; }", "use of undeclared identifier 'nonsense'", "1 error generated."),
        (
            "RAW_TRACEPOINT_PROBE(sched_switch) { u64 sk = 0; struct flow *unchecked = flows.lookup(&sk); "
            "unchecked->role = 1; return 0; }",
            "bpf: loading sched_switch: Permission denied",
            "R0 invalid mem access 'map_value_or_null'",
        ),
    ],
)
def test_at_debug_level_an_application_has_all_that_compiler_and_verifier_say(
    code: str, reason: str, further: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"{_program()}\n{code}\n"
    with pytest.raises(CannotTrace, match=reason) as refused:
        _load(text)
    assert (further in str(refused.value), caplog.text) == (False, "")
    with caplog.at_level(logging.DEBUG, "otel_tcplife"), pytest.raises(CannotTrace, match=reason):
        _load(text)
    assert reason in caplog.text
    assert further in caplog.text
