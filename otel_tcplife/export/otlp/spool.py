"""Requests that wait on disk, compressed, in the order in which they came: in SQLite, as it is whole after kill -9."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.own_files import Unsafe, open_directory, open_file
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.log import logger

_FILE = "spool.db"
_VERSION = 1
_PAGE = 4096
_SHRINK_FROM = 1 << 20
"""Bytes of a file that is given back to the disk when nothing waits in it any more."""
_GZIP_LEVEL = 1

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS requests (
        id INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        at REAL NOT NULL, -- Unix time
        items INTEGER NOT NULL,
        body BLOB NOT NULL -- zlib's format
    )
"""

Result = TypeVar("Result")


class CannotSpool(Exception):
    """The spool cannot keep or give a request at present, such as where it, or its disk, is full."""


@dataclass(frozen=True)
class Waiting:
    """A request of the spool."""

    id: int
    request: Request | None
    """None where the disk has given back what was never written."""
    items: int


class Spool:
    """Requests of several streams, such as one of logs and one of metrics. Threads may use it at once.

    No other process uses the file at the same time. A file that is damaged is replaced by one with all of it that can
    still be read.
    """

    def __init__(self, directory: str, most_bytes: int) -> None:
        """Open the spool, which is made if need be. Raise BadUsage where that cannot be."""
        self.directory = directory
        self._path = Path(directory) / _FILE
        self._most_bytes = most_bytes
        self._lock = threading.RLock()
        self._is_closed = False
        try:
            self._make_file()
            self._connection = self._connect()
        except OSError as error:
            remedy = error.remedy if isinstance(error, Unsafe) else _NAME_ANOTHER
            raise BadUsage(f"cannot use the spool {directory}: {error.strerror or error}", remedy) from error
        except sqlite3.OperationalError as error:
            raise BadUsage(f"cannot use the spool {directory}: {_reason(error)}", _NAME_ANOTHER) from error
        self._bytes = self._size()
        newest = "SELECT coalesce(max(id), 0) FROM requests"
        self._newest = int(self._within(lambda connection: connection.execute(newest).fetchone()[0]))
        """The id that was given last; none is given twice."""

    @property
    def is_half_full(self) -> bool:
        """Whether there will soon be no room for what comes."""
        return self._bytes > self._most_bytes // 2

    @property
    def bytes(self) -> int:
        """Bytes of all requests that wait."""
        return self._bytes

    def age(self) -> float:
        """Seconds since the oldest request has begun to wait; 0 where none does."""
        oldest = self._within(lambda connection: connection.execute("SELECT min(at) FROM requests").fetchone()[0])
        return max(time.time() - oldest, 0.0) if oldest is not None else 0.0

    def items(self, stream: str) -> int:
        """How many records or data points of a stream wait."""
        query = "SELECT coalesce(sum(items), 0) FROM requests WHERE stream = ?"
        return int(self._within(lambda connection: connection.execute(query, (stream,)).fetchone()[0]))

    def add(self, stream: str, requests: list[Request]) -> int:
        """Keep requests as one, behind those that wait; return its id. Raise CannotSpool where there is no room."""
        body, items = _joined(requests)
        if self._bytes + len(body) > self._most_bytes:
            raise CannotSpool(f"the spool {self.directory} is full")

        def insert(connection: sqlite3.Connection) -> int:
            values = (self._newest + 1, stream, time.time(), items, body)
            connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", values)
            self._newest += 1
            self._bytes += len(body)
            return self._newest

        return self._within(insert)

    def oldest(self, stream: str, after: int = 0) -> Waiting | None:
        """The request of a stream that waits for longest of those behind an id. Raise CannotSpool."""
        query = "SELECT id, items, body FROM requests WHERE stream = ? AND id > ? ORDER BY id LIMIT 1"
        row = self._within(lambda connection: connection.execute(query, (stream, after)).fetchone())
        if row is None:
            return None
        number, items, body = row
        with suppress(zlib.error):
            return Waiting(number, Request(zlib.decompress(body), items), items)
        return Waiting(number, None, items)

    def replace(self, number: int, left: list[Request]) -> None:
        """Have what is left of a request wait in its place; with nothing left, it is gone. Raise CannotSpool."""
        body, items = _joined(left)

        def update(connection: sqlite3.Connection) -> None:
            [old] = connection.execute("SELECT length(body) FROM requests WHERE id = ?", (number,)).fetchone() or [0]
            if left:
                connection.execute("UPDATE requests SET items = ?, body = ? WHERE id = ?", (items, body, number))
            else:
                connection.execute("DELETE FROM requests WHERE id = ?", (number,))
            self._bytes += (len(body) if left else 0) - old
            if not self._bytes and self._path.stat().st_size > _SHRINK_FROM:
                self._shrink(connection)

        self._within(update)

    def close(self) -> None:
        """Leave all that waits to the next start."""
        with self._lock, suppress(sqlite3.Error):
            self._is_closed = True
            self._connection.close()

    def _within(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do something with the file. Where it turns out to be damaged, do it with what can be read of it."""
        with self._lock:
            if self._is_closed:
                raise CannotSpool(f"the spool {self.directory} is closed")
            try:
                if not self._is_where_its_name_says():
                    self._rescue("gone")
                return act(self._connection)
            except OSError as error:
                raise CannotSpool(f"the spool {self.directory}: {error.strerror or error}") from error
            except sqlite3.OperationalError as error:  # a full disk, or one that cannot be read or written to
                raise CannotSpool(f"the spool {self.directory}: {_reason(error)}") from error
            except sqlite3.DatabaseError:
                try:
                    self._rescue("damaged")
                    return act(self._connection)
                except (sqlite3.Error, OSError) as error:
                    raise CannotSpool(f"the spool {self.directory}: {_reason(error)}") from error

    def _make_file(self) -> None:
        directory = open_directory(self._path.parent)
        try:
            os.close(open_file(directory, _FILE))
        finally:
            os.close(directory)

    def _connect(self) -> sqlite3.Connection:
        """The open file; what another version has written is set aside, and so is what is no spool at all."""
        try:
            connection = self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._set_aside("damaged")
            return self._open()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            connection.close()
            self._set_aside(f"version-{version}")
            connection = self._open()
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection

    def _open(self) -> sqlite3.Connection:
        # Each statement is a transaction of its own
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(f"PRAGMA max_page_count = {2 * self._most_bytes // _PAGE + 1024}")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version in (0, _VERSION):
                connection.execute(_SCHEMA)
            found = self._path.stat()
            self._identity = found.st_dev, found.st_ino
        except BaseException:
            connection.close()
            raise
        return connection

    def _size(self) -> int:
        query = "SELECT coalesce(sum(length(body)), 0) FROM requests"
        return int(self._within(lambda connection: connection.execute(query).fetchone()[0]))

    def _is_where_its_name_says(self) -> bool:
        """Whether nobody has renamed or deleted the file, or what it is in."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _rescue(self, why: str) -> None:
        """Begin a file with all requests that can be read of the one that is damaged, or has gone from its place."""
        rows = dict(_readable(self._connection))
        self._connection.close()
        self._set_aside(why)
        self._connection = self._open()
        with _transaction(self._connection) as connection:
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", sorted(rows.values()))
        self._bytes = self._size()
        logger.warning("%d requests of the spool that is %s are in the new one", len(rows), why)

    def _set_aside(self, why: str) -> None:
        """Rename the file, so that nothing in it is lost, and make another one."""
        aside = f"{self._path}.{why}-{time.time_ns()}"
        for suffix in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
        self._make_file()
        logger.warning("the spool %s is %s; it is now %s, and a new one is begun", self._path, why, aside)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_NAME_ANOTHER = "have OTEL_PYTHON_TCPLIFE_SPOOL name a directory that this user can write to, and no other agent uses"

_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # before there is a table
    "locking_mode = EXCLUSIVE",  # so that no second agent sends the same requests
    "journal_mode = WAL",
    "synchronous = NORMAL",  # what was written survives kill -9, though not always a power cut
    "journal_size_limit = 4194304",
)


def _joined(requests: list[Request]) -> tuple[bytes, int]:
    """Requests as one, compressed: protocol buffers that follow one another are one with the items of all."""
    whole = b"".join(request.body for request in requests)
    return zlib.compress(whole, _GZIP_LEVEL), sum(request.items for request in requests)


def _readable(connection: sqlite3.Connection) -> Iterator[tuple[int, tuple[object, ...]]]:
    """All rows up to the first damage from either end, by their id."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for row in connection.execute(f"SELECT id, stream, at, items, body FROM requests ORDER BY id {order}"):
                yield row[0], row


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    connection.execute("BEGIN")
    yield connection
    connection.execute("COMMIT")


def _reason(error: Exception) -> str:
    """What SQLite says, which names a lock where another process has the file open."""
    return "another process uses it" if "locked" in str(error) else str(error)
