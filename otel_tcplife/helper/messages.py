"""What an application and its helper say to each other, each in one message of JSON or of a word.

The application sends the request. The helper answers with the descriptor of the scan, and with that of the map in which
the application announces its connections, if it is to do so; or with what it cannot do. The
application runs the scan, which is when tracing begins, and says GO. Later it may say STOP, and the helper answers with
the balance when it has exported all.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from otel_tcplife.errors import BadUsage, CannotTrace, LacksPrivileges, TcplifeError

GO, STOP = b"go", b"stop"
MOST_BYTES = 1 << 20
"""Of a message."""

_REFUSALS: dict[str, type[TcplifeError]] = {
    "bad usage": BadUsage,
    "lacks privileges": LacksPrivileges,
    "cannot trace": CannotTrace,
}


def encoded(message: object) -> bytes:
    """As it is sent. What JSON has not is sent as text."""
    return json.dumps(message, default=str).encode()


def refusal(error: Exception) -> dict[str, list[str]]:
    """What the helper answers where it cannot trace."""
    if isinstance(error, TcplifeError):
        kind = next(kind for kind, of_kind in _REFUSALS.items() if isinstance(error, of_kind))
        return {kind: [error.problem, error.remedy]}
    return {"cannot trace": [f"{type(error).__name__}: {error}", ""]}


def raise_refusal(answer: Any) -> None:
    """Raise what the helper answers, if it is that it cannot."""
    for kind, error in _REFUSALS.items():
        if kind in answer:
            raise error(*answer[kind])


def is_open(wire: socket.socket) -> bool:
    """Whether the other end is. Does not wait."""
    try:
        return wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
