"""The layout of the spool's file, and how it is opened."""

from __future__ import annotations

import os
import resource
import sqlite3
import time
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.export.otlp.compression import zlib_of
from otel_tcplife.export.otlp.request import Request

VERSION = 1
"""Of the layout, kept as user_version."""

_PAGE = 4096
_SLACK_PAGES = 1024

_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # before there is a table
    "locking_mode = EXCLUSIVE",  # so that no second agent sends the same requests
    "journal_mode = WAL",
    "synchronous = NORMAL",  # what was written survives kill -9, though not always a power cut
    "wal_autocheckpoint = 256",  # pages: less than the reserve has, so that they have room on a full disk
    "journal_size_limit = 1048576",
)

# SQLite does not notice each damage of its pages: of a row it is known by `crc`, and what is lost with it by `totals`
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS requests (
        id INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        at REAL NOT NULL, -- Unix time
        items INTEGER NOT NULL,
        body BLOB NOT NULL, -- zlib's format
        crc INTEGER NOT NULL -- of all others
    );
    CREATE TABLE IF NOT EXISTS totals (
        stream TEXT PRIMARY KEY, items INTEGER NOT NULL, bytes INTEGER NOT NULL -- of all requests of the stream
    );
"""

# Of SQLITE_FULL, IOERR, READONLY, CANTOPEN, BUSY and LOCKED, NOMEM; before Python 3.11 errors have no code
_PASSING = ("is full", "disk I/O error", "readonly", "unable to open", "locked", "out of memory")

COLUMNS = "id, stream, at, items, body, crc"


class Row(NamedTuple):
    """A request as it is stored."""

    id: int
    stream: str
    at: float
    items: int
    body: bytes
    crc: int

    @property
    def is_whole(self) -> bool:
        """Whether it is what was written."""
        return [*map(type, self)] == [int, str, float, int, bytes, int] and self.id > 0 and self.crc == _crc(*self[:5])


def row(number: int, stream: str, items: int, body: bytes) -> Row:
    """A row to be written now."""
    at = time.time()
    return Row(number, stream, at, items, body, _crc(number, stream, at, items, body))


def insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Add rows, all of them or none within a transaction."""
    connection.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?)", rows)


def delete(connection: sqlite3.Connection, number: int) -> None:
    """Take a row out."""
    connection.execute("DELETE FROM requests WHERE id = ?", (number,))


def _crc(number: int, stream: str, at: float, items: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{number} {stream} {at!r} {items}".encode()))


def open_file(path: Path, most_bytes: int) -> sqlite3.Connection:
    """Open the file, and lay it out where it is empty. Raise what sqlite3 raises, and OtherVersion."""
    # Each statement is a transaction of its own
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA max_page_count = {_most_pages(most_bytes)}")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise OtherVersion(version)
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        if _layout(connection) != _right_layout():
            raise sqlite3.DatabaseError("its layout is damaged")
    except BaseException:
        connection.close()
        raise
    return connection


def identify(path: Path) -> list[tuple[int, int] | None]:
    """Which file is in its place, and which write-ahead log: what was written last is in that alone.

    Both change where somebody renames or deletes one of them, or what they are in.
    """
    return [_identify(f"{path}{suffix}") for suffix in ("", "-wal")]


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _most_pages(most_bytes: int) -> int:
    """Pages for so many bytes of requests, or as many as the process may write (setrlimit(2))."""
    pages = 2 * most_bytes // _PAGE + _SLACK_PAGES
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return pages if limit == resource.RLIM_INFINITY else max(min(pages, limit // _PAGE), 1)


def _layout(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """All tables with their columns, as they were made; SQLite takes a text that is damaged for another table."""
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def _right_layout() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return _layout(connection)


class OtherVersion(Exception):
    """Another version of this package has written the file."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What is raised about a file that is damaged, unless is_passing() says otherwise; the other where it is no text."""


def is_passing(error: Exception) -> bool:
    """Whether it says that the file cannot be read or written to at present; all others are said of a damaged one."""
    return isinstance(error, sqlite3.OperationalError) and any(reason in str(error) for reason in _PASSING)


def may_be_full(error: Exception) -> bool:
    """Whether it may be said because a disk has no room."""
    return any(reason in str(error) for reason in ("is full", "disk I/O error"))


def check(connection: sqlite3.Connection) -> None:
    """Raise DatabaseError where SQLite finds a fault in the file. It reads all of it."""
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("it is damaged")


def joined(requests: list[Request]) -> tuple[Request, bytes]:
    """Requests as one, and compressed: protocol buffers that follow one another are one with the items of all."""
    whole = b"".join(request.body for request in requests)
    return Request(whole, sum(request.items for request in requests)), zlib_of(whole)


def open_damaged(path: Path) -> sqlite3.Connection:
    """Open a file of which open_file() said that it is damaged, to salvage what can be read of it."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # it leaves no file of shared memory beside it
    return connection


def salvage(damaged: sqlite3.Connection) -> tuple[dict[str, int], list[Row]]:
    """How many items each stream had, as far as that can be read, and the rows that are whole.

    These are all from either end up to the first damage that SQLite stops at.
    """
    totals: dict[str, int] = {}
    rows: dict[int, Row] = {}
    with suppress(*DAMAGE):  # or SQLite reads nothing of a file that is shorter than it says
        damaged.execute("PRAGMA writable_schema = ON")
    with suppress(*DAMAGE):
        for stream, items, size in damaged.execute("SELECT stream, items, bytes FROM totals"):
            if [type(stream), type(items), type(size)] == [str, int, int] and 0 <= items <= size:
                totals[stream] = items
    for order in ("ASC", "DESC"):
        with suppress(*DAMAGE):
            for values in damaged.execute(f"SELECT {COLUMNS} FROM requests ORDER BY id {order}"):
                if (found := Row(*values)).is_whole:
                    rows[found.id] = found
    return totals, [*rows.values()]


def shrink(connection: sqlite3.Connection) -> None:
    """Give the room of what has gone back to the disk."""
    # Not by execute(), which takes one step: a page
    connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
