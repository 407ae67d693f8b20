"""What is no option's value is refused in one line that names it and says what would be one."""

from __future__ import annotations

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.options import Sizes, parse_pid, parse_ports, read_interim, read_sizes

RING, SESSIONS, INTERIM = (f"OTEL_PYTHON_TCPLIFE_{name}" for name in ("RING_BYTES", "MAX_SESSIONS", "INTERIM"))

NO_NUMBERS = ["", " ", "x", "80x", "-1", "+1", "1.5", "1e3", "0x50", "1_0", "\u0665", "\u00b2", "9" * 5000]
"""In no decimal digits, or in too many for int()."""


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", (80,)),
        ("1,65535", (1, 65535)),
        (" 80 , 81\n", (80, 81)),
        ("81,80,81", (81, 80)),
        ("00080", (80,)),
    ],
)
def test_ports(text: str, ports: tuple[int, ...]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("bad", [*NO_NUMBERS, "0", "65536"])
@pytest.mark.parametrize("others", ["{}", "80,{}", "{},80"])
def test_no_ports(bad: str, others: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_ports(others.format(bad))
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
        ({RING: str(1 << 30), SESSIONS: " 1 "}, Sizes(ring_bytes=1 << 30, flows=1)),
        ({SESSIONS: str(1 << 24)}, Sizes(flows=1 << 24)),
    ],
)
def test_sizes(environ: dict[str, str], sizes: Sizes) -> None:
    assert read_sizes(environ) == sizes


def test_the_smallest_ring_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 16384}.__getitem__)
    assert read_sizes({RING: "16384"}).ring_bytes == 16384
    with pytest.raises(BadUsage, match=f"^{RING}: '8192' is not a size; give a number from 16384 to 1073741824$"):
        read_sizes({RING: "8192"})


@pytest.mark.parametrize("bad", [number for number in NO_NUMBERS if number.strip()])
@pytest.mark.parametrize("variable", [RING, SESSIONS])
def test_no_sizes(variable: str, bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_sizes({variable: bad})
    assert str(raised.value).startswith(f"{variable}: {bad!r} is not a size; give a number from ")


@pytest.mark.parametrize(
    ("variable", "bad", "told"),
    [
        (RING, "8388609", f"{RING}=8388609 is no power of two; give such as 8388608"),
        (RING, str(1 << 31), f"{RING}: '2147483648' is not a size; give a number from "),
        (SESSIONS, "0", f"{SESSIONS}: '0' is not a size; give a number from 1 to 16777216"),
        (SESSIONS, "16777217", f"{SESSIONS}: '16777217' is not a size; give a number from 1 to 16777216"),
    ],
)
def test_sizes_that_cannot_be(variable: str, bad: str, told: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_sizes({variable: bad})
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 0), ("", 0), ("0", 0), (" 60 ", 60), ("0.25", 0.25), ("0.01", 0.01), ("1e9", 1e9)]
)
def test_interim(text: str | None, seconds: float) -> None:
    assert read_interim({} if text is None else {INTERIM: text}) == seconds


@pytest.mark.parametrize("bad", ["x", "60s", "-1", "nan", "inf", "-inf", "1e300", "1e-9"])
def test_no_interim(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        read_interim({INTERIM: bad})
    assert str(raised.value) == f"{INTERIM}={bad!r} is no time; give a number of seconds, such as 60"
