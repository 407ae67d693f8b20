"""The readable line of a log record."""

from __future__ import annotations

import numpy as np

from otel_tcplife.addresses import hosts
from otel_tcplife.columns import Column, DictionaryColumn, NumericColumn, constant, lookup
from otel_tcplife.session import UNKNOWN_TIME, Role
from otel_tcplife.session_columns import SessionColumns


def body_columns(columns: SessionColumns) -> list[Column]:
    """The readable line of each record, as the columns that follow one another in it; what is absent is left out."""
    everywhere, sessions, owned = columns.everywhere, columns.sessions, columns.owned
    server = columns.batch["role"] == Role.SERVER
    elapsed = np.where(sessions, columns.batch["duration"], columns.batch["handshake"])
    timed = elapsed != UNKNOWN_TIME
    microseconds = (elapsed + np.uint64(500)) // np.uint64(1000)
    # A name without a pid must not run into the address either
    named = np.where(owned, 1, np.where(columns.comm.present, 2, 0))
    return [
        columns.comm,
        constant("[", owned),
        columns.number("pid", owned),
        lookup(named, ["] ", " "]),
        hosts(columns.local_address),
        constant(":", everywhere),
        columns.number("local_port"),
        DictionaryColumn(server.astype(np.intp), [" -> ", " <- "]),
        hosts(columns.peer_address),
        constant(":", everywhere),
        columns.number("peer_port"),
        lookup(columns.batch["event"], [" closed", " connect failed", " still open"]),
        constant(" with ", columns.error.present),
        columns.error,
        constant(" after ", timed),
        NumericColumn(microseconds // np.uint64(1000), timed),
        constant(".", timed),
        NumericColumn(microseconds % np.uint64(1000), timed, digits=3),
        constant(" ms", timed),
        *_payload(columns),
    ]


def _payload(columns: SessionColumns) -> list[Column]:
    """The bytes of each session, as far as they are known: `, 83 bytes sent, 35352 bytes received`."""
    sent = columns.number("bytes_sent", columns.sessions)
    received = columns.number("bytes_received", columns.sessions)
    known = sent.present + 2 * received.present
    return [
        lookup(known, [", ", ", ", ", "]),
        sent,
        lookup(known, [" bytes sent", "", " bytes sent, "]),
        received,
        constant(" bytes received", received.present),
    ]
