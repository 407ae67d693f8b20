"""Which sessions become log records, before anything is spent on them. The metrics count all."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from otel_tcplife.columns import DictionaryColumn, Flags
from otel_tcplife.flow_id import flow_hashes
from otel_tcplife.host import Host
from otel_tcplife.log_options import (
    EXECUTABLES,
    LOG_ERRORS_ONLY,
    LOG_MIN_BYTES,
    LOG_MIN_DURATION,
    LOG_SAMPLE,
    PEER_NETWORKS,
    LogOptions,
)
from otel_tcplife.session import LARGEST_INTEGER, SessionBatch, rows_at
from otel_tcplife.session_columns import SessionColumns

Select = Callable[[SessionBatch], SessionBatch]
"""The sessions of a batch that are selected, in their order."""

_CONDITIONS = (LOG_MIN_DURATION, LOG_MIN_BYTES, LOG_ERRORS_ONLY, LOG_SAMPLE, PEER_NETWORKS, EXECUTABLES)
_HASH_BITS = 53
"""Those of a hash that decide: as many as a double holds exactly."""


def selector(options: LogOptions, host: Host) -> Select | None:
    """What selects the sessions of which all conditions hold that are given; None where none is.

    The durations, the bytes and the sample are no conditions for a session with an error. What is not known of a
    session does not leave it out; but a name that is not known is on no list.
    """
    if not any(map(options.has, _CONDITIONS)):
        return None

    def select(batch: SessionBatch) -> SessionBatch:
        columns = SessionColumns(batch, host)
        kept = columns.error_number != 0
        if not options.log_errors_only:
            kept = kept | _is_large_enough(columns, options) & _is_in_sample(columns, options)
        if options.peer_networks:
            kept = kept & _is_one_of(columns.peer_network, options.peer_networks)
        if options.executables:
            kept = kept & _is_one_of(columns.executable, options.executables)
        return batch if kept.all() else rows_at(batch, np.flatnonzero(kept))

    return select


def _is_large_enough(columns: SessionColumns, options: LogOptions) -> Flags:
    """Whether duration and bytes are. Those that are unknown have the largest values that there are."""
    batch = columns.batch
    large_enough = columns.everywhere
    if options.log_min_duration:
        large_enough = batch["duration"] >= np.uint64(round(options.log_min_duration * 1e9))
    if options.log_min_bytes:
        sent, received = batch["bytes_sent"], batch["bytes_received"]
        unknown = np.maximum(sent, received) > LARGEST_INTEGER
        large_enough = large_enough & (unknown | (sent + received >= np.uint64(options.log_min_bytes)))
    return large_enough


def _is_in_sample(columns: SessionColumns, options: LogOptions) -> Flags:
    if options.log_sample == 1:
        return columns.everywhere
    hashes = flow_hashes(columns.batch) >> np.uint64(64 - _HASH_BITS)
    return hashes < np.uint64(round(options.log_sample * (1 << _HASH_BITS)))


def _is_one_of(column: DictionaryColumn, names: Collection[str]) -> Flags:
    wanted = np.array([*(text in names for text in column.texts), False])  # which is where a code of -1 leads
    return wanted[column.codes]
