"""Sessions as tcplife prints them, column for column: https://github.com/iovisor/bcc/blob/master/tools/tcplife.py"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop

import numpy as np
import numpy.typing as npt

from otel_tcplife.printable import printable
from otel_tcplife.session import LARGEST_INTEGER, UNKNOWN_TIME, Event, SessionBatch

_NARROW = "%-5s %-10.10s %s%-15s %-5s %-15s %-5s %5s %5s %s"
_WIDE = "%-5s %-16.16s %-2s %-26s %-5s %-26s %-5s %6s %6s %s"
_CSV = "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s"

_UNKNOWN = "-"


@dataclass(frozen=True)
class TableOptions:
    """tcplife's -T (`time`), -t (`timestamp`), -w (`wide`) and -s (`csv`, which -w does not change)."""

    time: bool = False
    timestamp: bool = False
    wide: bool = False
    csv: bool = False


class Table:
    """Writes tcplife's header and one line for each session, the same as tcplife but for this:

    - TIME is the local time of the close, not of the printing; TIME(s) counts from the first session's close.
    - TX_KB and RX_KB count payload; tcplife's also have the SYN and the FIN, a byte each, before they are rounded down.
    - An IPv4-mapped IPv6 address is shown as the IPv4 address that it is, with 4 under IP.
    - What is unknown is `-` under TIME, TIME(s) and MS, 0 under PID, TX_KB and RX_KB, and empty under COMM.
    - A character of COMM that cannot be printed, such as a newline or an escape, is shown as U+FFFD, as tcplife shows
      bytes that are not UTF-8: a process chooses its comm, and must not write to the terminal or forge a line of CSV.

    A connect that failed is a line with its handshake under MS, as in tcplife. In CSV a comma in COMM is not quoted.
    """

    def __init__(self, options: TableOptions, write: Callable[[str], object]) -> None:
        """Write nothing yet; `write` gets whole lines, all those of a batch at once."""
        self._options = options
        self._write = write
        self._line = _line_format(options)
        self._shows_ip = options.wide or options.csv
        self._first: int | None = None

    def header(self) -> None:
        """Write the names of the columns."""
        names: list[object] = ["PID", "COMM", "IP" if self._shows_ip else ""]
        names += ["LADDR", "LPORT", "RADDR", "RPORT", "TX_KB", "RX_KB", "MS"]
        if self._options.timestamp:
            names.insert(0, "TIME(s)")
        if self._options.time:
            names.insert(0, "TIME")
        self._write(self._line % tuple(names))

    def rows(self, batch: SessionBatch) -> None:
        """Write a line for each session of the batch, in its order."""
        if not len(batch):
            return
        versions: list[int] = batch["ip_version"].tolist()
        columns: list[Iterable[object]] = [
            batch["pid"].tolist(),
            _comms(batch),
            versions if self._shows_ip else [""] * len(batch),
            map(_address, _packed(batch, "local_address"), versions),
            batch["local_port"].tolist(),
            map(_address, _packed(batch, "peer_address"), versions),
            batch["peer_port"].tolist(),
            _kilobytes(batch["bytes_sent"]),
            _kilobytes(batch["bytes_received"]),
            _milliseconds(batch),
        ]
        if self._options.timestamp:
            columns.insert(0, self._since_first(batch))
        if self._options.time:
            columns.insert(0, _times_of_day(batch))
        self._write("".join([self._line % cells for cells in zip(*columns, strict=True)]))

    def _since_first(self, batch: SessionBatch) -> list[str]:
        """TIME(s), from whole microseconds as in tcplife."""
        microseconds: list[int] = (batch["closed_at"] // np.uint64(1000)).tolist()
        if self._first is None:
            self._first = next(filter(None, microseconds), None)
        first = self._first or 0
        return [f"{(at - first) / 1e6:.6f}" if at else _UNKNOWN for at in microseconds]


def _line_format(options: TableOptions) -> str:
    """A header or session as a line; in tcplife too, the columns of both are equally wide."""
    if options.csv:
        return "%s," * options.time + "%s," * options.timestamp + _CSV + "\n"
    columns = _WIDE if options.wide else _NARROW
    return "%-8s " * options.time + "%-9s " * options.timestamp + columns + "\n"


def _times_of_day(batch: SessionBatch) -> list[str]:
    seconds: list[int] = (batch["closed_at"] // np.uint64(10**9)).tolist()
    texts = {at: time.strftime("%H:%M:%S", time.localtime(at)) if at else _UNKNOWN for at in set(seconds)}
    return [texts[at] for at in seconds]


def _comms(batch: SessionBatch) -> list[str]:
    comms: list[bytes] = batch["comm"].tolist()
    texts = {comm: printable(comm.decode("utf-8", "replace")) for comm in set(comms)}
    return [texts[comm] for comm in comms]


def _packed(batch: SessionBatch, column: str) -> list[bytes]:
    packed = batch[column].tobytes()
    return [packed[at : at + 16] for at in range(0, len(packed), 16)]


@lru_cache(maxsize=4096)
def _address(packed: bytes, version: int) -> str:
    return inet_ntop(AF_INET, packed[12:]) if version == 4 else inet_ntop(AF_INET6, packed)


def _kilobytes(sizes: npt.NDArray[np.uint64]) -> list[int]:
    return np.where(sizes <= LARGEST_INTEGER, sizes // np.uint64(1024), 0).tolist()


def _milliseconds(batch: SessionBatch) -> list[str]:
    """MS, from whole microseconds as in tcplife."""
    failed = batch["event"] == Event.CONNECT_FAILED
    lives: list[int] = np.where(failed, batch["handshake"], batch["duration"]).tolist()
    return [f"{life // 1000 / 1000:.2f}" if life != UNKNOWN_TIME else _UNKNOWN for life in lives]
