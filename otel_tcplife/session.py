"""SessionBatch: what is known of TCP sessions that have ended, one row for each end of a session.

The layout is `struct session` of bpf/tcplife.bpf.c, byte for byte: the loader makes the compiler assert it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

SessionBatch: TypeAlias = npt.NDArray[np.void]
"""One-dimensional array of dtype SESSION, or SESSION_IN_SPAN."""

UNKNOWN = 0xFFFF_FFFF
"""In the columns uid, effective_uid, real_uid, rtt_smoothed and rtt_min: not known."""

UNKNOWN_TIME = 0xFFFF_FFFF_FFFF_FFFF
"""In the columns duration and handshake: not known."""

UNKNOWN_BYTES = 0xFFFF_FFFF_FFFF_FFFF
"""In the columns bytes_sent and bytes_received: not known, as is all that is above LARGEST_INTEGER."""

LARGEST_INTEGER = (1 << 63) - 1
"""OTLP's integers are signed (opentelemetry/proto/common/v1/common.proto): it cannot say a larger number."""


class Event(IntEnum):
    """How a socket's life ended."""

    SESSION_CLOSED = 1
    CONNECT_FAILED = 2
    SESSION_PROGRESS = 3
    """It goes on: an interim report."""


class Role(IntEnum):
    """Which side of the session this socket is; 0 is unknown."""

    CLIENT = 1
    SERVER = 2


class OwnerSource(IntEnum):
    """How the owning process is known; 0 is unknown."""

    CONNECT = 1
    CLOSE = 2
    ADOPTED = 3


class CloseReason(IntEnum):
    """What ended the session; 0 is unknown."""

    LOCAL_CLOSE = 1
    PEER_CLOSE = 2
    LOCAL_RESET = 3
    PEER_RESET = 4
    TIMEOUT = 5
    OTHER = 6


COMM_SIZE = 16
"""TASK_COMM_LEN of the kernel, its terminating NUL included."""

EXECUTABLE_SIZE = 64
"""Room for the base name of an executable and its NUL; one that is longer is not recorded."""

SESSION = np.dtype(
    [
        # a random number; it joins the interim reports of a session and its end
        ("id", np.uint64),
        # the close, or the interim report: Unix ns; CLOCK_MONOTONIC ns in a record that has not passed clock.py yet
        ("closed_at", np.uint64),
        ("observed_at", np.uint64),
        # ns from ESTABLISHED to CLOSE
        ("duration", np.uint64),
        # ns from the first SYN (client) or its SYN-ACK (server) to ESTABLISHED, or to the failure of the connect
        ("handshake", np.uint64),
        # payload bytes, acknowledged by the peer and received from it; see UNKNOWN_BYTES
        ("bytes_sent", np.uint64),
        ("bytes_received", np.uint64),
        # id of the socket's cgroup (v2), 0 where unknown
        ("cgroup", np.uint64),
        # what scans of open sessions have counted of these, and of retransmits, until now
        ("counted_bytes_sent", np.uint64),
        ("counted_bytes_received", np.uint64),
        ("counted_retransmits", np.uint32),
        # inode of the socket's network namespace, 0 where unknown
        ("netns", np.uint32),
        # user of the socket, whoever has it
        ("uid", np.uint32),
        # us
        ("rtt_smoothed", np.uint32),
        ("rtt_min", np.uint32),
        # segments sent again, and segments received out of order; 0 where unknown, too
        ("retransmits", np.uint32),
        ("out_of_order", np.uint32),
        # IPv6, network byte order; an IPv4 address in its mapped form
        ("local_address", np.uint8, 16),
        ("peer_address", np.uint8, 16),
        ("local_port", np.uint16),
        ("peer_port", np.uint16),
        # errno, 0 for none
        ("error", np.uint16),
        # retransmission timeouts; 0 where the kernel does not count them
        ("timeouts", np.uint16),
        # 4 or 6
        ("ip_version", np.uint8),
        ("event", np.uint8),
        ("role", np.uint8),
        ("owner_source", np.uint8),
        ("close_reason", np.uint8),
        # 1 for a session that was open before tracing began
        ("adopted", np.uint8),
        # those of retransmits that came before ESTABLISHED
        ("handshake_retransmits", np.uint8),
        # 1 where there were interim reports
        ("reported", np.uint8),
        # of a scan, 1 for a session that ended meanwhile; see probe/scan.py
        ("doubtful", np.uint8),
        # of the span, see SESSION_IN_SPAN
        ("trace_flags", np.uint8),
        ("reserved", np.uint8, 6),
        # the owning process (thread group); 0 and empty where unknown. Created: Unix ns; CLOCK_BOOTTIME ns in a record
        # that has not passed clock.py yet
        ("created_at", np.uint64),
        ("pid", np.uint32),
        ("parent_pid", np.uint32),
        # in the PID namespace that is its own; 0 in the host's
        ("vpid", np.uint32),
        ("effective_uid", np.uint32),
        ("real_uid", np.uint32),
        ("comm", f"S{COMM_SIZE}"),
        ("executable", f"S{EXECUTABLE_SIZE}"),
    ]
)


SESSION_IN_SPAN = np.dtype(
    [
        *SESSION.descr,
        # of the span in which the application connected, as W3C Trace Context has them; all zero where unknown
        ("trace_id", np.uint8, 16),
        ("span_id", np.uint8, 8),
    ]
)
"""A row of the ring where the trace context is asked for, too."""


def ended(batch: SessionBatch) -> SessionBatch:
    """The batch without its interim reports."""
    ends = batch["event"] != Event.SESSION_PROGRESS
    return batch if ends.all() else rows_at(batch, np.flatnonzero(ends))


def concatenated(batches: Sequence[SessionBatch]) -> SessionBatch:
    """A copy of all sessions of the batches, in their order; there may be none.

    Those that have some are of the same rows; empty ones may be of others, which have fewer columns.
    """
    wanted = [batch for batch in batches if len(batch)]
    if not wanted:
        return batches[0] if batches else np.zeros(0, SESSION)
    # Row by row; NumPy would copy field by field, which takes fifteen times as long
    return np.concatenate([batch.view(_whole(batch)) for batch in wanted]).view(wanted[0].dtype)


def as_rows_of(row: np.dtype[np.void], batch: SessionBatch) -> SessionBatch:
    """The batch as rows that may have further columns at their end, of which nothing is known."""
    if batch.dtype == row:
        return batch
    rows: SessionBatch = np.zeros(len(batch), row)
    for name in batch.dtype.names or ():
        rows[name] = batch[name]
    return rows


def rows_at(batch: SessionBatch, positions: npt.NDArray[np.intp]) -> SessionBatch:
    """The sessions at these positions, in this order."""
    return batch.view(_whole(batch))[positions].view(batch.dtype)


def _whole(batch: SessionBatch) -> np.dtype[np.void]:
    """A row as so many bytes."""
    return np.dtype((np.void, batch.dtype.itemsize))


def offset_of(column: str, row: np.dtype[np.void] = SESSION) -> int:
    """Where a column begins in a row, in bytes."""
    dtype: Any = row
    return int(dtype.fields[column][1])


def empty(count: int) -> SessionBatch:
    """A batch of `count` sessions of which nothing is known."""
    batch = np.zeros(count, SESSION)
    for column in ("uid", "effective_uid", "real_uid", "rtt_smoothed", "rtt_min"):
        batch[column] = UNKNOWN
    for column in ("duration", "handshake"):
        batch[column] = UNKNOWN_TIME
    for column in ("bytes_sent", "bytes_received"):
        batch[column] = UNKNOWN_BYTES
    return batch
