"""What is no option's value is refused in one line that names it and says what would be one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.log_options import LogOptions
from otel_tcplife.options import (
    DEFAULT_SIZES,
    OPTIONS,
    Filters,
    Options,
    Scope,
    Sizes,
    parse_pid,
    parse_ports,
    read_options,
)

RING, SESSIONS, INTERIM = (f"OTEL_PYTHON_TCPLIFE_{name}" for name in ("RING_BYTES", "MAX_SESSIONS", "INTERIM"))
MIN_DURATION, SAMPLE = (f"OTEL_PYTHON_TCPLIFE_LOG_{name}" for name in ("MIN_DURATION", "SAMPLE"))

_HOST = {"scope": "host"}

NO_NUMBERS = ["", " ", "x", "80x", "-1", "+1", "1.5", "1e3", "0x50", "1_0", "\u0665", "\u00b2", "9" * 5000]
"""In no decimal digits, or in too many for int()."""


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ["80-80"]),
        ("1,65535", ["1-1", "65535-65535"]),
        (" 80 , 81\n", ["80-80", "81-81"]),
        ("81,80,81", ["81-81", "80-80"]),
        ("00080", ["80-80"]),
        ("8000-8999", ["8000-8999"]),
        (" 8000 - 8999 ,80, 1-65535", ["8000-8999", "80-80", "1-65535"]),
        ("80-80", ["80-80"]),
    ],
)
def test_ports(text: str, ports: list[str]) -> None:
    assert [f"{each[0]}-{each[-1]}" for each in parse_ports(text)] == ports


@pytest.mark.parametrize("bad", [*NO_NUMBERS, "0", "65536"])
@pytest.mark.parametrize("others", ["{}", "80,{}", "{},80"])
def test_no_ports(bad: str, others: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_ports(others.format(bad))
    assert str(raised.value) == f"{bad!r} is not a port; give a number from 1 to 65535"


@pytest.mark.parametrize("bad", ["81-80", "65535-1"])
def test_no_range(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_ports(f"80,{bad}")
    assert str(raised.value) == f"{bad!r} is not a range of ports; give the lower one first, such as 8000-8999"


@pytest.mark.parametrize(
    ("text", "bad"), [("1-0", "0"), ("0-5", "0"), ("1-65536", "65536"), ("1-2-3", "2-3"), ("-", "-"), ("5-", "5-")]
)
def test_no_ends_of_a_range(text: str, bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_ports(text)
    assert str(raised.value) == f"{bad!r} is not a port; give a number from 1 to 65535"


@pytest.mark.parametrize(("text", "pid"), [("1", 1), (" 181 ", 181), ("4194304", 1 << 22)])
def test_pid(text: str, pid: int) -> None:
    assert parse_pid(text) == pid


@pytest.mark.parametrize("bad", [*NO_NUMBERS, "0", "4194305", "1,2"])
def test_no_pid(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_pid(bad)
    assert str(raised.value) == f"{bad!r} is not a process id; give a number from 1 to 4194304"


@pytest.mark.parametrize(
    ("environ", "sizes"),
    [
        ({}, Sizes()),
        ({RING: "", SESSIONS: " "}, Sizes()),
        ({RING: "65536"}, Sizes(ring_bytes=65536)),
        ({RING: str(1 << 30), SESSIONS: " 1 "}, Sizes(ring_bytes=1 << 30, max_sessions=1)),
        ({SESSIONS: str(1 << 24)}, Sizes(max_sessions=1 << 24)),
    ],
)
def test_sizes(environ: dict[str, str], sizes: Sizes) -> None:
    assert read_options(_HOST, environ).sizes == sizes


def test_the_smallest_ring_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 16384}.__getitem__)
    assert read_options(_HOST, {RING: "16384"}).sizes.ring_bytes == 16384
    with pytest.raises(BadUsage, match=f"^{RING}: '8192' is not a size; give a number from 16384 to 1073741824$"):
        read_options(_HOST, {RING: "8192"})


@pytest.mark.parametrize("bad", [number for number in NO_NUMBERS if number.strip()])
@pytest.mark.parametrize("variable", [RING, SESSIONS])
def test_no_sizes(variable: str, bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(_HOST, {variable: bad})
    assert str(raised.value).startswith(f"{variable}: {bad!r} is not a size; give a number from ")


@pytest.mark.parametrize(
    ("variable", "bad", "told"),
    [
        (RING, "8388609", f"{RING}: 8388609 is not a power of two; give such as 8388608"),
        (RING, str(1 << 31), f"{RING}: '2147483648' is not a size; give a number from "),
        (SESSIONS, "0", f"{SESSIONS}: '0' is not a size; give a number from 1 to 16777216"),
        (SESSIONS, "16777217", f"{SESSIONS}: '16777217' is not a size; give a number from 1 to 16777216"),
    ],
)
def test_sizes_that_cannot_be(variable: str, bad: str, told: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(_HOST, {variable: bad})
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 0), ("", 0), ("0", 0), (" 60 ", 60), ("0.25", 0.25), ("0.01", 0.01), ("1e9", 1e9)]
)
def test_interim(text: str | None, seconds: float) -> None:
    assert read_options(_HOST, {} if text is None else {INTERIM: text}).interim == seconds


@pytest.mark.parametrize("bad", ["x", "60s", "-1", "nan", "inf", "-inf", "1e300", "1e-9"])
def test_no_interim(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(_HOST, {INTERIM: bad})
    assert str(raised.value) == f"{INTERIM}: {bad!r} is not a time; give a number of seconds, such as 60"


_NO_TIMES = ["x", "60s", "-1", "nan", "inf", "-inf", "1e300", "1 0"]


@pytest.mark.parametrize("bad", _NO_TIMES)
def test_no_least_duration(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(_HOST, {MIN_DURATION: bad})
    assert str(raised.value) == f"{MIN_DURATION}: {bad!r} is not a time; give a number of seconds, such as 0.5"


@pytest.mark.parametrize("bad", [*_NO_TIMES, "0", "1.0000001", "100", "1%", "1e-10"])
def test_no_share(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(_HOST, {SAMPLE: bad})
    assert str(raised.value) == f"{SAMPLE}: {bad!r} is not a share; give a number from 1e-09 to 1, such as 0.01"


def test_the_defaults_of_a_process() -> None:
    assert read_options({}, {}) == Options(Scope.PROCESS, Filters(), DEFAULT_SIZES[Scope.PROCESS], 0)


_OF_ALL: dict[str, tuple[object, str]] = {
    "scope": ("host", "process"),
    "export": ("helper", "providers"),
    "trace_context": (True, "false"),
    "local_ports": ([80, 81], "443"),
    "remote_ports": ((5432,), "1,2"),
    "ip_version": (6, "4"),
    "ring_bytes": (4096 << 4, "4096"),
    "max_sessions": (5, "6"),
    "interim": (0.5, "60"),
    "networks": ({"10.0.0.0/8": "lab"}, "10.0.0.0/8=lab,::/0=all"),
    "loopback": (False, "false"),
    "log_min_duration": (0.25, "60"),
    "log_min_bytes": (1000, "2000"),
    "log_errors_only": (True, " TRUE "),
    "log_sample": (0.01, "1e-3"),
    "peer_networks": (["lab", "public"], "all"),
    "executables": ("nginx", " nginx, nginx,caf\u00e9 ,"),
    "event_name_attribute": (True, "true"),
    "community_id": (True, "true"),
}


_GIVEN = ((ip_network("10.0.0.0/8"), "lab"),)
_BY_VARIABLE = (*_GIVEN, (ip_network("::/0"), "all"))


def _ports(*ports: int) -> tuple[range, ...]:
    return tuple(range(port, port + 1) for port in ports)


def test_what_is_given_comes_before_the_variable_and_that_before_the_default() -> None:
    assert {option.name for option in OPTIONS if option.is_keyword} == {*_OF_ALL, "pid"}
    environ = {f"OTEL_PYTHON_TCPLIFE_{name.upper()}": text for name, (_, text) in _OF_ALL.items()}
    by_variables = Options(
        Scope.PROCESS,
        Filters(None, _ports(443), _ports(1, 2), 4, loopback=False),
        Sizes(4096, 6, 1024),
        60,
        _BY_VARIABLE,
        LogOptions(
            60,
            2000,
            log_errors_only=True,
            log_sample=0.001,
            peer_networks=("all",),
            executables=("nginx", "caf\u00e9"),
            event_name_attribute=True,
            community_id=True,
        ),
    )
    assert read_options({}, environ) == by_variables
    assert read_options(dict.fromkeys(_OF_ALL), environ) == by_variables
    given = {name: value for name, (value, _) in _OF_ALL.items()}
    assert read_options({**given, "pid": 181}, environ) == Options(
        Scope.HOST,
        Filters(181, _ports(80, 81), _ports(5432), 6, loopback=False),
        Sizes(65536, 5, 8192),
        0.5,
        _GIVEN,
        replace(
            by_variables.logs,
            log_min_duration=0.25,
            log_min_bytes=1000,
            log_sample=0.01,
            peer_networks=("lab", "public"),
            executables=("nginx",),
        ),
        trace_context=True,
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ports": 80}, "there is no option 'ports'; use one of scope, export, trace_context, pid, local_ports, "),
        ({"scope": "all"}, "scope: unknown scope 'all'; use process or host"),
        ({"local_ports": [80, -1]}, "local_ports: '-1' is not a port; give a number from 1 to 65535"),
        ({"local_ports": ""}, "local_ports: '' is not a port; give a number from 1 to 65535"),
        ({"ip_version": 5}, "ip_version: '5' is not an IP version; give 4 or 6"),
        ({"interim": True}, "interim: 'True' is not a time; give a number of seconds, such as 60"),
        ({"ring_bytes": 1e6}, "ring_bytes: '1000000.0' is not a size; give a number from "),
        ({"loopback": 0}, "loopback: '0' is neither true nor false; give true or false"),
        ({"log_errors_only": "yes"}, "log_errors_only: 'yes' is neither true nor false; give true or false"),
        ({"community_id": ""}, "community_id: '' is neither true nor false; give true or false"),
        ({"event_name_attribute": "on"}, "event_name_attribute: 'on' is neither true nor false; give true or false"),
        ({"log_min_bytes": 0.5}, "log_min_bytes: '0.5' is not a number of bytes; give a number from 0 to "),
        ({"peer_networks": ","}, "peer_networks: ',' has no name in it; separate names with commas"),
        (
            {"peer_networks": "lab,pubic", "networks": "10.0.0.0/8=lab"},
            "peer_networks: there is no network 'pubic'; use loopback, link_local, private, public, lab, or name "
            "it in OTEL_PYTHON_TCPLIFE_NETWORKS",
        ),
        (
            {"executables": ["nginx", "/usr/sbin/nginx"]},
            "executables: '/usr/sbin/nginx' is not the base name of an executable; "
            "give what comes after the last slash",
        ),
        ({"executables": "x" * 64}, f"executables: '{'x' * 64}' is too long a name; longer than 63 bytes "),
    ],
)
def test_what_is_given_and_cannot_be(given: dict[str, object], told: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_options(given, {})
    assert str(raised.value).startswith(told)
