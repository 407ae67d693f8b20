"""Bad usage ends the command with exit code 2 and one line, which says what was wrong and how to mend it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

import pytest

from otel_tcplife.cli import main
from otel_tcplife.version import __version__

RECORDING = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26\n"

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept")


@pytest.fixture(autouse=True)
def _in_a_directory_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recording.csv").write_text(RECORDING)
    (tmp_path / "other.csv").write_text("name,value\n")


def _said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of bad usage."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert captured.err == f"{line}\n"
    assert captured.out == ""
    return line.removeprefix("otel-tcplife: ")


HELP = "; see otel-tcplife --help"
USER = "; name one that is there, or give its number"
PORT = "; give a number from 1 to 65535"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nope"], f"unrecognized arguments: --nope{HELP}"),
        (["--no\npe"], f"unrecognized arguments: --no pe{HELP}"),
        (["80"], f"unrecognized arguments: 80{HELP}"),
        (["-p"], f"argument -p/--pid: expected one argument{HELP}"),
        (["-p", "0"], "-p: '0' is not a process id; give a number from 1 to 4194304"),
        (["-p", "curl"], "-p: 'curl' is not a process id; give a number from 1 to 4194304"),
        (["-L", "x"], f"-L: 'x' is not a port{PORT}"),
        (["-L", "70000"], f"-L: '70000' is not a port{PORT}"),
        (["-L", "80,,81"], f"-L: '' is not a port{PORT}"),
        (["-D", ""], f"-D: '' is not a port{PORT}"),
        (["-D", "http"], f"-D: 'http' is not a port{PORT}"),
        (["-4", "-6"], f"argument -6/--ipv6: not allowed with argument -4/--ipv4{HELP}"),
        (["--replay"], f"argument --replay: expected one argument{HELP}"),
        (["--replay", ""], f"argument --replay: an empty name{HELP}"),
        (["--otlp-file", ""], f"argument --otlp-file: an empty name{HELP}"),
        (["--user", ""], f"argument --user: an empty name{HELP}"),
        (["--user", "no-such-user"], f"--user: there is no user 'no-such-user'{USER}"),
        (["--user", "4294967295"], f"--user: there is no user '4294967295'{USER}"),
        (["--user", "-1"], f"argument --user: expected one argument{HELP}"),
        (["--user=-1"], f"--user: there is no user '-1'{USER}"),
        (["--user", "root"], "--user root: root's own files stay open to it; name another user, or leave --user out"),
        (["--user", "0"], "--user 0: root's own files stay open to it; name another user, or leave --user out"),
        (
            ["--replay", "missing.csv"],
            "cannot read missing.csv: No such file or directory; "
            "give --replay a file that tcplife has written, or - for standard input",
        ),
        (
            ["--replay", "."],
            "cannot read .: Is a directory; give --replay a file that tcplife has written, or - for standard input",
        ),
        (
            ["--replay", "other.csv"],
            "other.csv is no output of tcplife: no line names its columns, the first line is 'name,value'; "
            "record with `tcplife -s`, and -T to have the times",
        ),
        (
            ["--replay", "recording.csv", "--otlp-file", "recording.csv/below"],
            "cannot write to the directory recording.csv/below: Not a directory; give --otlp-file a directory of yours",
        ),
        (
            ["--replay", "recording.csv", "--otlp-file", "recording.csv"],
            "cannot write to the directory recording.csv: Not a directory; give --otlp-file a directory of yours",
        ),
    ],
)
def test_bad_options(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(arguments, capsys) == line


_PORTS, _FAMILY = "-L or OTEL_PYTHON_TCPLIFE_LOCAL_PORTS", "-4 or -6 or OTEL_PYTHON_TCPLIFE_IP_VERSION"


@pytest.mark.parametrize(("chosen", "named"), [("-p 1", "-p"), ("-6 -L 80", f"{_PORTS} and {_FAMILY}")])
def test_a_recording_is_not_filtered(chosen: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = _said(["--replay", "recording.csv", *chosen.split()], capsys)
    assert line == f"--replay takes all sessions of a recording; leave out {named}"


ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
USABLE = {ENDPOINT: "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environ", "problem", "remedy"),
    [
        (
            {ENDPOINT: "collector:4318"},
            f"{ENDPOINT}='collector:4318' is no http:// or https:// URL",
            "write it such as http://collector:4318",
        ),
        (
            {**USABLE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not supported",
            "use one of http/protobuf, grpc",
        ),
        (
            {**USABLE, "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "soon"},
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT='soon' is no time",
            "give a number of seconds from 0.001 to 86400, such as 10",
        ),
        (
            {ENDPOINT: "http://*.example:4318"},
            f"{ENDPOINT} is no http:// or https:// URL",
            "write it such as http://localhost:4318",
        ),
        (
            {ENDPOINT: "http://..example:4318"},
            "the OTLP endpoint cannot be used: URL has an invalid label.",
            "mend its URL",
        ),
        (
            {"OTEL_METRIC_EXPORT_INTERVAL": "1m"},
            "OTEL_METRIC_EXPORT_INTERVAL='1m' is no interval",
            "give a number of milliseconds, such as 60000",
        ),
        (
            {"OTEL_LOGS_EXPORTER": "nope"},
            "OTEL_LOGS_EXPORTER: there is no exporter 'nope'",
            "use one of ",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "otlp,nope"},
            "OTEL_METRICS_EXPORTER: there is no exporter 'nope'",
            "use one of ",
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "sometimes"},
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE='sometimes' is not known",
            "use one of cumulative, delta, lowmemory",
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "round"},
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION='round' is not known",
            "use one of explicit_bucket_histogram, base2_exponential_bucket_histogram",
        ),
        (
            {"OTEL_PYTHON_TCPLIFE_RING_BYTES": "5000000"},
            "OTEL_PYTHON_TCPLIFE_RING_BYTES: 5000000 is not a power of two",
            "give such as 8388608",
        ),
        (
            {"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": "many"},
            "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS: 'many' is not a size",
            "give a number from 1 to 16777216",
        ),
        (
            {"OTEL_PYTHON_TCPLIFE_INTERIM": "1m"},
            "OTEL_PYTHON_TCPLIFE_INTERIM: '1m' is not a time",
            "give a number of seconds, such as 60",
        ),
    ],
)
def test_bad_variables(
    environ: dict[str, str],
    problem: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert _said(["--replay", "recording.csv"], capsys).startswith(f"{problem}; {remedy}")


def test_bad_usage_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.iterdir())
    _said(["--replay", "missing.csv"], capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_good_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", "recording.csv", "-s"]) == 0
    captured = capsys.readouterr()
    assert captured.out == RECORDING
    assert captured.err.splitlines() == [
        "otel-tcplife: replaying; OTLP JSON Lines to ./otel-tcplife-data",
        "otel-tcplife: 1 sessions ended: 1 submitted",
        "otel-tcplife: file: 1 exported",
    ]
    assert sorted(path.name for path in (tmp_path / "otel-tcplife-data").iterdir()) == ["logs.jsonl", "metrics.jsonl"]


@pytest.mark.parametrize("arguments", [[], ["--otlp-file", "there"]])
def test_a_disabled_sdk_exports_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    before = sorted(tmp_path.iterdir())
    assert main(["--replay", "recording.csv", "-s", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out == RECORDING
    assert captured.err.splitlines() == [
        "otel-tcplife: replaying; no telemetry is exported, as OTEL_SDK_DISABLED is true",
        "otel-tcplife: 1 sessions ended: 1 submitted",
    ]
    assert sorted(tmp_path.iterdir()) == before


@contextlib.contextmanager
def _unwritable(file: TextIO) -> Generator[TextIO, None, None]:
    """A file that cannot even be closed in peace, as that would write what is left."""
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _replay_to(stdout: TextIO | None, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is said where the table goes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        assert main(["--replay", "recording.csv"]) == 0
    return [line.removeprefix("otel-tcplife: ") for line in capsys.readouterr().err.splitlines()]


REPLAYED = [
    "replaying; OTLP JSON Lines to ./otel-tcplife-data",
    "1 sessions ended: 1 submitted",
    "file: 1 exported",
]


def test_a_table_that_cannot_be_printed_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with _unwritable(open("/dev/full", "w")) as full:
        failures = "cannot print the table: No space left on device; the export goes on"
        assert _replay_to(full, capsys) == [REPLAYED[0], failures, *REPLAYED[1:]]


def test_a_closed_standard_output_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    assert _replay_to(None, capsys) == REPLAYED


def test_a_reader_that_has_seen_enough_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with _unwritable(open(writing, "w")) as pipe:
        assert _replay_to(pipe, capsys) == [REPLAYED[0], "0 sessions ended"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"otel-tcplife {__version__}\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_mentions_every_option(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    words = shown.replace(",", " ").replace("[", " ").replace("]", " ").split()
    short = {"-T", "-t", "-w", "-s", "-p", "-L", "-D", "-4", "-6", "-h"}
    long = {"--otlp-file", "--replay", "--user", "--no-table", "--check", "--version", "--help"}
    as_in_tcplife = {
        "--time",
        "--timestamp",
        "--wide",
        "--csv",
        "--pid",
        "--localport",
        "--remoteport",
        "--ipv4",
        "--ipv6",
    }
    assert short | long | as_in_tcplife <= {*words}
    assert "PYTHONUNBUFFERED=1 tcplife -s | otel-tcplife --replay -" in shown
