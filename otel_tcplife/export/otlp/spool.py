"""Requests that wait on disk, compressed, in the order in which they came: in SQLite, as it is whole after kill -9."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from otel_tcplife.environment_variables import OTEL_PYTHON_TCPLIFE_SPOOL
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp import own_files, spool_file
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.reserve import Reserve
from otel_tcplife.log import logger

_FILE = "spool.db"
_SHRINK_FROM = 1 << 18
"""Bytes of a file that is given back to the disk when nothing waits in it any more."""
_NAME = f"have {OTEL_PYTHON_TCPLIFE_SPOOL} name"
_NAME_ANOTHER = f"{_NAME} a directory that this user can write to, and no other agent uses"

Result = TypeVar("Result")


class CannotSpool(Exception):
    """The spool cannot keep or give a request at present, such as where it, or its disk, is full."""


@dataclass(frozen=True)
class Waiting:
    """A request of the spool."""

    id: int
    stream: str
    request: Request
    size: int
    """Bytes that it takes there."""


@dataclass
class _Total:
    """Of all requests of a stream."""

    items: int = 0
    bytes: int = 0


class Spool:
    """Requests of several streams, such as one of logs and one of metrics. Threads may use it at once.

    No other process uses the file at the same time. A file that is damaged, or has gone from its place, is replaced by
    one with all of it that can still be read.
    """

    def __init__(self, directory: str, most_bytes: int) -> None:
        """Open the spool, which is made if need be. Raise BadUsage where that cannot be."""
        self.directory = directory
        self._path = Path(directory) / _FILE
        self._most_bytes = most_bytes
        self._lock = threading.RLock()
        self._is_closed = False
        self._newest = 0
        """The id that was given last; none is given twice."""
        self._totals: dict[str, _Total] = {}
        self._lost: Counter[str] = Counter()
        try:
            self._reserve = Reserve(self._path.parent)
            self._connection = self._with_reserve(self._connect)
            self._within(self._learn)
            self._within(spool_file.check)
        except (OSError, sqlite3.Error, CannotSpool) as error:
            remedy = error.remedy(_NAME) if isinstance(error, own_files.Unsafe) else _NAME_ANOTHER
            raise BadUsage(f"cannot use the spool {directory}: {_reason(error)}", remedy) from error

    @property
    def is_half_full(self) -> bool:
        """Whether there will soon be no room for what comes."""
        return self.bytes > self._most_bytes // 2

    @property
    def bytes(self) -> int:
        """Bytes of all requests that wait."""
        with self._lock:
            return sum(total.bytes for total in self._totals.values())

    def age(self) -> float | None:
        """Seconds since the oldest request has begun to wait, 0 where none does; None where that is not known."""
        query = "SELECT at FROM requests ORDER BY id LIMIT 1"
        try:
            oldest = self._within(lambda connection: connection.execute(query).fetchone())
        except CannotSpool:
            return None
        return max(time.time() - oldest[0], 0.0) if oldest else 0.0

    def items(self, stream: str) -> int:
        """How many records or data points of a stream wait."""
        total = self._totals.get(stream)
        return total.items if total else 0

    def take_lost(self, stream: str) -> int:
        """How many records or data points of a stream the disk has lost since the last call. Raise CannotSpool."""

        def look(connection: sqlite3.Connection) -> int:
            some = "SELECT 1 FROM requests WHERE stream = ?"
            if self.items(stream) and connection.execute(some, (stream,)).fetchone() is None:
                self._lost[stream] += self.items(stream)
                self._set_total(stream, _Total())
            return self._lost.pop(stream, 0)

        return self._within(look)

    def add(self, stream: str, requests: list[Request]) -> Waiting:
        """Keep requests as one, behind those that wait. Raise CannotSpool where there is no room."""
        request, body = spool_file.joined(requests)
        if self.bytes + len(body) > self._most_bytes:
            raise CannotSpool(f"the spool {self.directory} is full")
        if not self._reserve.hold():  # what is added now would take the room to take something out
            raise CannotSpool(f"the spool {self.directory}: {os.strerror(errno.ENOSPC)}")

        def insert(connection: sqlite3.Connection) -> Waiting:
            waiting = Waiting(self._newest + 1, stream, request, len(body))
            spool_file.insert(connection, [spool_file.row(waiting.id, stream, request.items, body)])
            self._add_to_total(stream, request.items, len(body))
            self._newest = waiting.id
            return waiting

        return self._within(insert)

    def oldest(self, stream: str, after: int = 0) -> Waiting | None:
        """The request of a stream that waits for longest of those behind an id. Raise CannotSpool.

        What is not as it was written is gone, and counted as lost once nothing of the stream waits any more.
        """

        def read(connection: sqlite3.Connection) -> Waiting | None:
            query = f"SELECT {spool_file.COLUMNS} FROM requests WHERE stream = ? AND id > ? ORDER BY id LIMIT 1"
            while values := connection.execute(query, (stream, after)).fetchone():
                row = spool_file.Row(*values)
                if row.is_whole:
                    return Waiting(row.id, stream, Request(zlib.decompress(row.body), row.items), len(row.body))
                spool_file.delete(connection, row.id)
            return None

        return self._within(read)

    def settle(self, waiting: Waiting, left: list[Request]) -> Waiting | None:
        """Have this wait in the place of a request, of which it is left, and return that; None where nothing is.

        Raise CannotSpool; the request is still there then.
        """
        request, body = spool_file.joined(left) if left else (Request(b"", 0), b"")

        def update(connection: sqlite3.Connection) -> None:
            spool_file.delete(connection, waiting.id)
            if left:
                spool_file.insert(connection, [spool_file.row(waiting.id, waiting.stream, request.items, body)])
            self._add_to_total(waiting.stream, request.items - waiting.request.items, len(body) - waiting.size)

        self._with_reserve(lambda: self._within(update))
        with suppress(CannotSpool, OSError):
            if not self.bytes and self._path.stat().st_size > _SHRINK_FROM:
                self._within(spool_file.shrink, is_transaction=False)
        self._reserve.hold()
        return replace(waiting, request=request, size=len(body)) if left else None

    def close(self) -> None:
        """Leave all that waits to the next start."""
        with self._lock, suppress(sqlite3.Error):
            self._is_closed = True
            self._connection.close()

    def _within(self, act: Callable[[sqlite3.Connection], Result], *, is_transaction: bool = True) -> Result:
        """Do something with the file. Where it turns out to be damaged, do it with what can be read of it."""
        with self._lock:
            if self._is_closed:
                raise CannotSpool(f"the spool {self.directory} is closed")
            try:
                if spool_file.identify(self._path) != self._identity:
                    self._rescue("gone")
                try:
                    return self._act(act) if is_transaction else act(self._connection)
                except spool_file.DAMAGE as error:
                    if spool_file.is_passing(error):
                        raise
                    self._rescue("damaged")
                    return self._act(act)
            except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
                raise CannotSpool(f"the spool {self.directory}: {_reason(error)}") from error

    def _with_reserve(self, act: Callable[[], Result]) -> Result:
        """Do something that has to be done on a full disk, too."""
        try:
            return act()
        except (sqlite3.OperationalError, CannotSpool) as error:
            if not spool_file.may_be_full(error) or not self._reserve.give():
                raise
            return act()

    def _act(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do all of it or nothing."""
        totals = {stream: replace(total) for stream, total in self._totals.items()}
        try:
            self._connection.execute("BEGIN")
            result = act(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            self._totals = totals
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> sqlite3.Connection:
        """The open file; one that another version has written, or that is damaged, is set aside."""
        os.close(own_files.open_file_of(self._path.parent, _FILE))
        try:
            connection = spool_file.open_file(self._path, self._most_bytes)
        except spool_file.DAMAGE as error:
            if spool_file.is_passing(error):
                raise
            self._connection = spool_file.open_damaged(self._path)
            self._rescue("damaged")
            return self._connection
        except spool_file.OtherVersion as other:
            return self._connect_anew(f"version-{other.version}")
        self._identity = spool_file.identify(self._path)
        return connection

    def _connect_anew(self, why: str) -> sqlite3.Connection:
        """Rename the file, so that nothing in it is lost, and begin another one."""
        aside = f"{self._path}.{why}-{time.time_ns()}"
        for suffix in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
        logger.warning("the spool %s is %s; it is now %s, and a new one is begun", self._path, why, aside)
        return self._connect()

    def _rescue(self, why: str) -> None:
        """Begin a file with all requests that can be read of the one that is damaged, or has gone from its place."""
        damaged = self._connection
        known, rows = spool_file.salvage(damaged)
        known |= {stream: total.items for stream, total in self._totals.items()}
        self._connection = self._connect_anew(why)
        damaged.close()
        self._totals = {}

        def copy(connection: sqlite3.Connection) -> None:
            spool_file.insert(connection, rows)
            for row in rows:
                self._add_to_total(row.stream, row.items, len(row.body))

        self._act(copy)
        for stream, items in known.items():
            self._lost[stream] += max(items - self.items(stream), 0)
        if known or rows:
            logger.warning("%d requests of the spool that is %s are in the new one", len(rows), why)

    def _learn(self, connection: sqlite3.Connection) -> None:
        """Learn what waits."""
        totals = connection.execute("SELECT stream, items, bytes FROM totals").fetchall()
        self._totals = {stream: _Total(items, size) for stream, items, size in totals}
        [newest] = connection.execute("SELECT max(id) FROM requests").fetchone()
        self._newest = max(newest or 0, self._newest)

    def _add_to_total(self, stream: str, items: int, size: int) -> None:
        total = self._totals.get(stream, _Total())
        self._set_total(stream, _Total(total.items + items, total.bytes + size))

    def _set_total(self, stream: str, total: _Total) -> None:
        self._totals[stream] = total
        self._connection.execute("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", (stream, total.items, total.bytes))


def _reason(error: Exception) -> str:
    """What SQLite says, which names a lock where another process has the file open."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return "another process uses it" if "locked" in said else said
