"""Lines of a file as far as it went when it was opened, or of a stream as they come."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

LONGEST_LINE = 1024

_CHUNK = 1 << 18


def file_lines(descriptor: int, start: int, end: int) -> Iterator[list[bytes]]:
    """The lines between two offsets, some thousands at a time."""
    return _lines(_file_chunks(descriptor, start, end))


def stream_lines(descriptor: int) -> Iterator[list[bytes]]:
    """The lines that are there each time they are asked for, which may be none, until the end."""
    return _lines(_stream_chunks(descriptor))


def _file_chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end and (chunk := os.pread(descriptor, min(_CHUNK, end - start), start)):
        start += len(chunk)
        yield chunk


def _stream_chunks(descriptor: int) -> Iterator[bytes]:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(0):
            yield b""
        elif chunk := os.read(descriptor, _CHUNK):
            yield chunk
        else:
            return


def _lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The lines that each chunk ends, each with its newline; then the last one, if that has none."""
    rest = b""
    for chunk in chunks:
        # of a line without end, enough is kept to tell that it is too long
        *whole, rest = (rest[: LONGEST_LINE + 1] + chunk).split(b"\n")
        yield [line + b"\n" for line in whole]
    if rest:
        yield [rest]
