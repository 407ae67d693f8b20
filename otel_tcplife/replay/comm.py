"""The name of a process as bcc's tools print it."""

from __future__ import annotations

import re

from otel_tcplife.session import COMM_SIZE

# What repr() makes of bytes: https://docs.python.org/3/library/stdtypes.html#bytes-objects
_CHARACTERS = rb"((?:[^\\]|\\x[0-9a-f]{2}|\\[\\'\"tnr])*)"
_LITERAL = re.compile(rb"b(['\"])" + _CHARACTERS + rb"\1", re.DOTALL)
_CUT_LITERAL = re.compile(rb"b['\"]()" + _CHARACTERS + rb"(?:\\(?:x[0-9a-f]?)?)?", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
_CONTROLS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def comm_of(cell: bytes, width: int | None) -> bytes:
    """The name, of which `b'curl'` is the form that some versions of bcc print under Python 3.

    `width` is the number of characters to which the cell was cut, if it was: the end of that form can be missing then.
    """
    literal = _LITERAL.fullmatch(cell)
    if not literal and len(cell) == width:
        literal = _CUT_LITERAL.fullmatch(cell)
    return (_ESCAPE.sub(_unescaped, literal[2]) if literal else cell)[: COMM_SIZE - 1]


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else _CONTROLS.get(escape[2], escape[2])
