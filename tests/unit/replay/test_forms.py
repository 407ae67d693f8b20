"""The forms in which people keep and paste what tcplife prints: each of its sessions is read, and nothing else."""

from __future__ import annotations

import os
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from otel_tcplife.cli import main
from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.source import Summary
from otel_tcplife.session import LARGEST_INTEGER, SessionBatch
from tests.support.received import read_otlp_json_lines
from tests.unit.replay.reading import Replayed, opened, read_all
from tests.unit.replay.tables import ROW, TABLE, narrow

RECORDINGS = Path(__file__).with_name("recordings")
"""Addresses are those of documentation (RFC 5737, RFC 3849)."""


def read(path: Path) -> tuple[SessionBatch, Summary]:
    source = opened(path)
    return read_all(source), source.summary


COUNTS = {
    "table-after-warnings.txt": (9, 7),
    "table-swapper-mapped.txt": (16, 1),
    "table.txt": (8, 2),
    "table-wide.txt": (6, 1),
    "table-timestamp.txt": (6, 1),
    "table-time.txt": (2, 1),
    "table-article.txt": (4, 1),
    "bpftrace.txt": (6, 1),
    "times.csv": (8, 1),
    "huge-sizes.csv": (9, 0),
    "swapper-mapped.csv": (16, 0),
    "nohup.csv": (94, 11),
    "bytes-repr.csv": (3, 0),
    "bom-crlf.csv": (8, 0),
    "not-ascii.csv": (3, 0),
    "kubectl-timestamps.csv": (8, 0),
}
"""Sessions, and lines that are none: shell prompts, warnings, `[...]`, rows that were cut or broken."""


@pytest.mark.parametrize("name", [path.name for path in sorted(RECORDINGS.iterdir())])
def test_a_file(name: str) -> None:
    batch, summary = read(RECORDINGS / name)
    assert (len(batch), summary.unreadable) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_a_stream_has_the_same(name: str) -> None:
    """Through a pipe, where a line is read before anybody knows whether a header comes."""
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    try:
        os.write(writing, (RECORDINGS / name).read_bytes())
        os.close(writing)
        source = opened("-")
        batch = read_all(source)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert (len(batch), source.summary.unreadable) == COUNTS[name]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "start", ["", "\ufeff", "\x1b[?2004l\r", "Script started on 2026-03-01\n$ tcplife\n\x1b[?2004l\r"]
)
@pytest.mark.parametrize("name", ["table.txt", "table-wide.txt", "times.csv", "kubectl-timestamps.csv"])
def test_ends_of_lines_and_what_a_terminal_writes_before_a_header(
    replayed: Replayed, name: str, start: str, ends: str
) -> None:
    lines = (RECORDINGS / name).read_text().splitlines()
    while "RPORT" not in lines[0]:
        del lines[0]
    batch, _ = replayed(start + "".join(f"{line}{ends}" for line in lines))
    assert len(batch) == COUNTS[name][0]


def _hosts(batch: SessionBatch, column: str) -> list[str]:
    addresses = [IPv6Address(row.tobytes()) for row in batch[column]]
    return [str(address.ipv4_mapped or address) for address in addresses]


def test_what_a_narrow_table_says() -> None:
    batch, _ = read(RECORDINGS / "table-swapper-mapped.txt")
    assert batch["pid"].tolist()[8:] == [0, 0, 1218429, 1218429, 1219486, 1219486, 1218429, 1218429]
    assert batch["comm"].tolist()[8:12] == [b"swapper/6", b"swapper/20", b"coredns", b"coredns"]
    assert batch["ip_version"].tolist() == [4] * 16
    assert _hosts(batch, "local_address")[9:12] == ["192.0.2.113", "127.0.0.1", "127.0.0.1"]
    assert _hosts(batch, "peer_address")[9:12] == ["192.0.2.45", "127.0.0.1", "127.0.0.1"]
    assert batch["local_port"].tolist()[9:12] == [8081, 58340, 8080]
    assert batch["peer_port"].tolist()[9:12] == [36360, 8080, 58340]
    assert batch["bytes_sent"].tolist()[9:12] == [5913968640 * 1024, 274873712640 * 1024, 274873712640 * 1024]
    assert batch["bytes_received"].tolist()[9:12] == [0, 0, 155648 * 1024]
    assert batch["duration"].tolist()[9:12] == [340_000, 550_000, 550_000]


def test_what_a_wide_table_says() -> None:
    batch, _ = read(RECORDINGS / "table-wide.txt")
    assert batch["comm"].tolist()[:3] == [b"recordProgramSt", b"redis-server", b"ssh"]
    assert batch["ip_version"].tolist() == [4, 4, 6, 6, 4, 4]
    assert _hosts(batch, "peer_address")[2] == "fe80::8a3:9dff:fed5:6b19"
    assert (batch["bytes_sent"][2], batch["duration"][2]) == (1024, 457_520_000)


def test_milliseconds_without_decimals() -> None:
    batch, _ = read(RECORDINGS / "bpftrace.txt")
    assert batch["duration"].tolist()[:4] == [3_059_000_000, 3_059_000_000, 0, 12_441_000_000]
    assert (_hosts(batch, "local_address")[3], _hosts(batch, "peer_address")[3]) == (
        "2001:db8:6:5ea7::1",
        "2001:db8:bb01::",
    )


@pytest.mark.parametrize("name", ["table-after-warnings.txt", "huge-sizes.csv"])
def test_sizes_that_otlp_cannot_hold(name: str) -> None:
    batch, summary = read(RECORDINGS / name)
    assert summary.too_large == 6
    assert (batch["bytes_received"] > LARGEST_INTEGER).sum() == 6
    assert (batch["bytes_sent"] <= LARGEST_INTEGER).all()


@pytest.mark.parametrize(
    "before",
    [
        ["2026-03-01T23:39:30.1234Z ", "2026-03-01T23:39:31.98765Z ", "2026-03-01T23:39:32Z "],
        ["2026-03-01T23:39:30.1Z stdout F ", "2026-03-01T23:39:31.2Z stdout F ", "2026-03-01T23:39:32.3Z stdout F "],
        [
            "Mar  1 23:39:30 node-a tcplife[77]: ",
            "Mar 10 00:00:01 node-a tcplife[77]: ",
            "Mar 11 01:01:01 node-a x[1]: ",
        ],
        ["[pod/tcplife-x2z/tcplife] "] * 3,
        ["tcplife-1  | "] * 3,
        ["     1\t", "     2\t", "    10\t"],
    ],
)
@pytest.mark.parametrize("form", ["table", "csv"])
def test_words_that_a_log_puts_before_each_line(replayed: Replayed, before: list[str], form: str) -> None:
    csv = ["PID,COMM,LADDR,LPORT,RADDR,RPORT,MS\n", *["7,a b,192.0.2.1,1,192.0.2.2,2,3.00\n"] * 2]
    lines = csv if form == "csv" else [TABLE, narrow("a b"), narrow("a b")]
    batch, summary = replayed("".join(start + line for start, line in zip(before, lines, strict=True)))
    assert (summary.reasons, batch["pid"].tolist(), batch["comm"].tolist()) == ([], [7, 7], [b"a b"] * 2)
    _, summary = replayed(before[0] + lines[0] + lines[1])
    assert [line for line, _ in summary.reasons] == [2]


def test_a_header_of_one_form_ends_the_rows_of_the_other(replayed: Replayed) -> None:
    csv = "PID,COMM,LADDR,LPORT,RADDR,RPORT,MS\n7,csv,192.0.2.1,1,192.0.2.2,2,3.00\n"
    batch, summary = replayed(f"# tcplife\n{TABLE}{ROW}^C\n# tcplife -s\n{csv}# tcplife\n{TABLE}{ROW}")
    assert batch["comm"].tolist() == [b"curl", b"csv", b"curl"]
    assert [line for line, _ in summary.reasons] == [1, 4, 5, 8]


def test_utf_16_is_one_line_with_the_remedy(replayed: Replayed) -> None:
    with pytest.raises(BadUsage, match=r"is in UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`$"):
        replayed((TABLE + ROW).encode("utf-16"))


@pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept")
def test_what_is_exported_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "recording"
    recording.write_text(f"warning\n{TABLE}{narrow('swapper/20', 0)}{ROW.replace('    1 ', str(1 << 53) + ' ')}[...]\n")
    assert main(["--replay", str(recording), "--no-table", "--otlp-file", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "otel-tcplife: line 1: it stands before the line that names the columns: 'warning'",
        "otel-tcplife: line 5: 1 fields where the header has 9",
        "otel-tcplife: 2 of 5 lines could not be read",
        "otel-tcplife: 1 sessions have sizes of 2^63 bytes or more, which OTLP cannot hold: these sizes are left out",
        "otel-tcplife: 4 sessions ended: 2 submitted, 2 unreadable",
        "otel-tcplife: file: 2 exported",
    ]
    nobody, huge = read_otlp_json_lines(tmp_path / "data" / "logs.jsonl").logs
    assert nobody.body == (
        "swapper/20 192.0.2.1:40000 -> 198.51.100.1:443 closed after 3.000 ms, 1024 bytes sent, 2048 bytes received"
    )
    assert "process.pid" not in nobody.attributes
    assert huge.body == "curl[7] 192.0.2.1:40000 -> 198.51.100.1:443 closed after 3.000 ms, 2048 bytes received"
    assert "tcplife.bytes.sent" not in huge.attributes
