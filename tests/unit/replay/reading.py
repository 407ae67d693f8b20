"""Recordings that tests write, and what is read of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from otel_tcplife.replay.source import ReplaySource, Summary
from otel_tcplife.session import SessionBatch, empty

HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"
ROW = "7335,curl,4,127.0.0.1,48098,127.0.0.1,28527,3,5,0.26"
ZONE = ZoneInfo("Europe/Berlin")

Replayed: TypeAlias = Callable[..., tuple[SessionBatch, Summary]]
"""Writes a recording, which may be told when it ended (Unix ns), and reads all of it."""


def ns(*moment: int, fold: int = 0) -> int:
    """Unix ns of a local year, month, day, hour, minute, second."""
    year, month, day, *of_day = moment
    return int(datetime(year, month, day, *of_day, tzinfo=ZONE, fold=fold).timestamp()) * 10**9


def hms(times: list[int]) -> list[str]:
    """Local day, hour, minute and second of Unix ns."""
    return [datetime.fromtimestamp(at // 10**9, ZONE).strftime("%d %H:%M:%S") for at in times]


def write(path: Path, text: str | bytes, ended_at: int = ns(2026, 3, 2, 12)) -> str:
    """Write a recording that was last written to at this time."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(ended_at, ended_at))
    return str(path)


def opened(path: Path | str) -> ReplaySource:
    """A recording."""
    return ReplaySource(str(path))


def read_all(source: ReplaySource) -> SessionBatch:
    """All sessions that are left, to the end; then it is closed."""
    batches = [empty(0)]
    while not source.ended:
        batches.append(source.read())
    source.close()
    return np.concatenate(batches)


def addresses(batch: SessionBatch, column: str) -> list[str]:
    """A column of addresses as text, with those that are mapped marked."""
    packed = (IPv6Address(row.tobytes()) for row in batch[column])
    return [f"mapped {address.ipv4_mapped}" if address.ipv4_mapped else str(address) for address in packed]
