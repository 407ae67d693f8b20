"""Each option is one row of the table: what is written elsewhere, or is made from it, has the same names and values."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields

import pytest

from otel_tcplife import cli, environment_variables
from otel_tcplife.delivery_options import FILE_BYTES, FILE_KEEP, MAX_QUEUE_SIZE
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.line_file import file_limits
from otel_tcplife.log_options import LogOptions
from otel_tcplife.options import DEFAULT_SIZES, OPTIONS, RING_BYTES, Filters, Option, Scope, read_options
from otel_tcplife.probe.program import chosen_text
from otel_tcplife.session import SESSION

_IMPORT_OF_THE_NAMES = """
import sys
before = set(sys.modules)
import otel_tcplife.environment_variables
print(*sorted(set(sys.modules) - before))
"""


def test_the_variables_of_the_agents_flags_are_those_of_the_options() -> None:
    names = {name: value for name, value in vars(environment_variables).items() if name.startswith("OTEL_")}
    variables = [option.variable for option in OPTIONS if option.variable]
    assert names == dict(zip(variables, variables))


def test_the_names_of_the_variables_are_imported_alone() -> None:
    """`opentelemetry-instrument` imports them in each start of any application."""
    command = [sys.executable, "-c", _IMPORT_OF_THE_NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["otel_tcplife", "otel_tcplife.environment_variables"]


@pytest.mark.parametrize(
    ("option", "size"),
    [(RING_BYTES, SESSION.itemsize + 8), (MAX_QUEUE_SIZE, SESSION.itemsize)],  # the ring has a header before each
)
def test_what_a_session_takes_is_as_the_help_has_it(option: Option[int], size: int) -> None:
    """That of MAX_SESSIONS is compared with the maps of the kernel in tests/live/test_map_memory.py."""
    found = re.search(r"about (\d+) bytes", option.help)
    assert found
    assert int(found[1]) == pytest.approx(size, rel=0.02)


def test_no_name_and_no_flag_stands_twice() -> None:
    names = [option.name for option in OPTIONS]
    flags = [spelling for option in OPTIONS for flag in option.flags for spelling in flag.spellings]
    assert len({*names}) == len(names)
    assert len({*flags}) == len(flags)


def test_the_flags_of_the_command_are_those_of_tcplife(capsys: pytest.CaptureFixture[str]) -> None:
    """In its order, with its help, which says of ports what is more than tcplife takes."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    # Python 3.13 and newer show the value once, after both flags
    shown = re.sub(r"(-\w) [A-Z]+, (--\w+ [A-Z]+)", r"\1, \2", " ".join(capsys.readouterr().out.split()))
    assert (
        "-p, --pid PID trace this PID only "
        "-L, --localport LOCALPORT comma-separated list of local ports to trace, "
        "and of ranges such as 8000-8999. "
        "-D, --remoteport REMOTEPORT comma-separated list of remote ports to trace, "
        "and of ranges such as 8000-8999. "
        "-4, --ipv4 trace IPv4 family only "
        "-6, --ipv6 trace IPv6 family only "
    ) in shown


def test_the_groups_of_options_have_the_names_of_their_options() -> None:
    names = {option.name for option in OPTIONS if option.is_keyword}
    assert {each.name for each in fields(Filters)} <= names
    assert {each.name for each in fields(LogOptions)} <= names
    assert {each.name for each in fields(DEFAULT_SIZES[Scope.HOST])} - {"max_awaiting_owner"} <= names


_CHOSEN: dict[str, tuple[object, str]] = {
    "scope": ("process", "SCOPE_PROCESS 1"),
    "export": ("helper", ""),
    "pid": (181, "SELECT_PID(pid) ((pid) == 181)"),
    "local_ports": ([80, 81], "SELECT_LOCAL_PORT(port) ((port) == 80 || (port) == 81)"),
    "remote_ports": (
        "5432,8000-8999",
        "SELECT_REMOTE_PORT(port) ((port) == 5432 || ((port) >= 8000 && (port) <= 8999))",
    ),
    "ip_version": (6, "SELECT_IP_VERSION(version) ((version) == 6)"),
    "interim": (0.5, "INTERIM 500000000ULL"),
    "trace_context": (True, "TRACE_CONTEXT 1"),
    "loopback": (False, "SELECT_LOOPBACK(loopback) ((loopback) == 0)"),
    "networks": ("10.0.0.0/8=lab", ""),
    "log_min_duration": (1, ""),
    "log_min_bytes": (1, ""),
    "log_errors_only": (True, ""),
    "log_sample": (0.5, ""),
    "peer_networks": ("lab", ""),
    "executables": ("nginx", ""),
    "event_name_attribute": (True, ""),
    "community_id": (True, ""),
    "ring_bytes": (65536, "RING_BYTES 65536"),
    "max_sessions": (5, "MAX_SESSIONS 5"),
}


def test_each_option_of_what_is_traced_is_a_macro_of_its_name() -> None:
    assert {*_CHOSEN} == {option.name for option in OPTIONS if option.is_keyword}
    options = read_options({name: value for name, (value, _) in _CHOSEN.items()}, {})
    text = chosen_text(options, cpus=1, has_announcements=True)
    for _, macro in _CHOSEN.values():
        assert not macro or f"#define {macro}\n" in text


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.is_keyword])
def test_an_option_of_the_command_alone_is_no_keyword(option: Option[object]) -> None:
    with pytest.raises(BadUsage, match=f"^there is no option '{option.name}'; use one of scope, "):
        read_options({option.name: 5}, {})


@pytest.mark.parametrize("text", ["", " ", "0", "1", " 7 ", "1000", "1001", "x", str(1 << 40), str((1 << 40) + 1)])
def test_files_are_of_the_sizes_that_the_table_says(text: str) -> None:
    bytes_of, kept_of = {str(FILE_BYTES.variable): text}, {str(FILE_KEEP.variable): text}
    assert _told(lambda: file_limits(bytes_of).most_bytes) == _told(lambda: FILE_BYTES.read(bytes_of))
    assert _told(lambda: file_limits(kept_of).kept) == _told(lambda: FILE_KEEP.read(kept_of))


def _told(read: Callable[[], int]) -> int | str:
    """What comes of it: a number, or what is said of a text that is none."""
    try:
        return read()
    except BadUsage as error:
        return str(error)
