"""Lines to rows: each is read under the header that it follows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.header import Header, cells_of, header_of
from otel_tcplife.replay.lines import LONGEST_LINE
from otel_tcplife.replay.row import Row, Unreadable, row, shown

# tcplife ends each line with two decimals: a last line without its newline may have lost some of them
_ENDS_WHOLE = re.compile(rb"\.[0-9]{2}$|[,\s]-$")
# A byte order mark, and what a shell has a terminal do before a command prints (seen in recordings of script(1))
_NO_TEXT = re.compile(rb"(?:\xef\xbb\xbf|\x1b\[[0-?]*[ -/]*[@-~]|\s)+")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_REMEDY = "record with `tcplife -s`, and -T to have the times"


Line: TypeAlias = Row | Header | Unreadable | None
"""What a line is; None if it is blank."""


def parse(chunks: Iterable[list[bytes]], name: str) -> Iterator[list[Line]]:
    """What each line is, with its newline, for some lines at a time. `name` is that of the input, for messages.

    Raise BadUsage at the end if there was no header.
    """
    header: Header | None = None
    first = b""
    for lines in chunks:
        parsed: list[Line] = []
        for line in lines:
            found = _parse(line, header)
            if isinstance(found, Header):
                header = found
            elif found and not first:
                first = line
            parsed.append(found)
        yield parsed
    if not header:
        raise _no_recording(name, first)


def _no_recording(name: str, first: bytes) -> BadUsage:
    if not first:
        return BadUsage(f"{name} is empty", _REMEDY)
    if first.startswith(_UTF_16):
        return BadUsage(f"{name} is in UTF-16", "convert it with `iconv -f UTF-16 -t UTF-8`")
    told = f"no line names its columns, the first line is {shown(first.strip())}"
    return BadUsage(f"{name} is no output of tcplife: {told}", _REMEDY)


def _parse(line: bytes, header: Header | None) -> Line:
    if len(line.rstrip(b"\r\n")) > LONGEST_LINE:
        return Unreadable(f"longer than {LONGEST_LINE} bytes")
    text = line.strip()
    if no_text := _NO_TEXT.match(text):
        text = text[no_text.end() :]
    if not text:
        return None
    if found := header_of(text):
        return found
    if not header:
        return Unreadable(f"it stands before the line that names the columns: {shown(text)}")
    if not line[-1:].isspace() and not _ENDS_WHOLE.search(text):
        return Unreadable("cut off: it has no end of line")
    try:
        return row(cells_of(text, header), header.comm_width)
    except Unreadable as error:
        return error
