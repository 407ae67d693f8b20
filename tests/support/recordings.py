"""Recordings of tcplife for tests to replay, at times of one time zone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from otel_tcplife.replay.recording import Replay, Summary
from otel_tcplife.session import SessionBatch, empty

HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"
ROW = "7335,curl,4,127.0.0.1,48098,127.0.0.1,28527,3,5,0.26"
TIMED_ROW = "0.0.0.0,1,0.0.0.0,2,0.00"
ZONE = ZoneInfo("Europe/Berlin")


Replayed = Callable[..., tuple[SessionBatch, Summary]]


def ns(*moment: int, fold: int = 0) -> int:
    """Unix ns of a local year, month, day, hour, minute, second."""
    year, month, day, *of_day = moment
    return int(datetime(year, month, day, *of_day, tzinfo=ZONE, fold=fold).timestamp()) * 10**9


def hms(times: list[int]) -> list[str]:
    return [datetime.fromtimestamp(at // 10**9, ZONE).strftime("%d %H:%M:%S") for at in times]


def read_all(replay: Replay) -> SessionBatch:
    batches = [empty(0)]
    while not replay.ended:
        batches.append(replay.read())
    replay.close()
    return np.concatenate(batches)


def write(path: Path, text: str | bytes, ended_at: int = ns(2026, 3, 2, 12)) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(ended_at, ended_at))
    return str(path)
