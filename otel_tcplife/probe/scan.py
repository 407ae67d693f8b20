"""The scan of open sessions: who has a socket open, and what its session has done since the last scan.

The program notes in each flow what it has counted here, and says that of a session that ends. Of one that ends on
another CPU while the scan looks at it, nobody knows whether the end has seen that: such a row is `doubtful`. Nothing
is counted of it, and what the end of the session says was counted is put right.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.probe import iterator
from otel_tcplife.session import SESSION, SessionBatch, empty

_ROWS_AT_ONCE = 2048
_COUNTED = ("bytes_sent", "bytes_received", "retransmits")
_SHARE = 0.02
"""How much of the time may go into scans."""
_MOST_DOUBTFUL = 1024
"""What is remembered of sessions whose end does not come, as it found the ring full."""


class Scan:
    """One thread scans."""

    def __init__(self, link: int) -> None:
        """`link` is that of the iterator. It stays the caller's."""
        self._link = link
        self._doubtful: dict[int, tuple[int, ...]] = {}
        """What was counted of sessions before the scan that met their end, by id."""
        self._not_before = 0.0
        self._failures = FailureLog("look at the open sessions")

    def begin(self) -> None:
        """Have the sessions that are open already followed: the first scan, which says nothing. Raise OSError."""
        iterator.run_iterator(self._link)

    @property
    def is_too_soon(self) -> bool:
        """Whether scans have taken so much time that the next one has to wait."""
        return time.monotonic() < self._not_before

    def run(self) -> Iterator[SessionBatch]:
        """Scan; all rows have to be taken. The last batch may be empty. No batch at all where that cannot be."""
        began = time.monotonic()
        try:
            yield from self._batches()
            self._failures.recovered()
        except PermissionError:  # an application may have given up its privileges since it began
            pass
        except OSError as error:  # such as where no descriptor is left
            self._failures.failed(error.strerror or str(error), "what they do is counted later")
        ended = time.monotonic()
        self._not_before = ended + (ended - began) / _SHARE

    def _batches(self) -> Iterator[SessionBatch]:
        rows = bytearray()
        for output in iterator.written_by_iterator(self._link):
            rows += output
            if len(rows) >= _ROWS_AT_ONCE * SESSION.itemsize:
                yield self._batch(rows)
                rows = bytearray()
        yield self._batch(rows)

    def settle(self, batch: SessionBatch) -> None:
        """Put right what sessions that have ended say was counted of them."""
        if not self._doubtful:
            return
        for at in np.flatnonzero(np.isin(batch["id"], [*self._doubtful])).tolist():
            before = self._doubtful.pop(int(batch["id"][at]), None)
            for column, count in zip(_COUNTED, before or ()):
                batch[f"counted_{column}"][at] = count

    def _batch(self, rows: bytearray) -> SessionBatch:
        """The rows; what is doubtful has nothing that is to be counted."""
        batch = np.frombuffer(rows, SESSION) if rows else empty(0)
        for at in np.flatnonzero(batch["doubtful"]).tolist():
            self._doubtful[int(batch["id"][at])] = tuple(int(batch[f"counted_{column}"][at]) for column in _COUNTED)
            for column in _COUNTED:
                batch[f"counted_{column}"][at] = batch[column][at]
        while len(self._doubtful) > _MOST_DOUBTFUL:
            del self._doubtful[next(iter(self._doubtful))]
        return batch
