"""All ways in which an HTTP receiver may answer, and what is to become of the records then."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from collections.abc import Callable
from email.utils import formatdate

from tests.faults.receiving import Answering, Fate, HttpAct
from tests.support.otlp_receiver import PROTOBUF, Answer, HttpHandler, partial_success

TIMEOUT = 1.0
"""Seconds that the sender waits for an answer (OTEL_EXPORTER_OTLP_TIMEOUT)."""

BOMB = 256 << 20
"""Bytes that become of an answer of a quarter of a megabyte."""


def _say(status: int, body: bytes = b"", **headers: str) -> HttpAct:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status, {**PROTOBUF, **named}, body)
    return lambda handler: handler.give(answer)


def away(handler: HttpHandler) -> None:
    """The receiver is busy for as long as this is what it says."""
    handler.give(Answer(503))


def _ask_for_date(handler: HttpHandler) -> None:
    """To come again between two and three seconds from now: dates have whole seconds."""
    handler.give(Answer(503, {"Retry-After": formatdate(time.time() + 3, usegmt=True)}))


def _reset(handler: HttpHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _hang_up(handler: HttpHandler) -> None:
    handler.close_connection = True


def _write(*pieces: bytes) -> HttpAct:
    def act(handler: HttpHandler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
        handler.close_connection = True

    return act


def _hang(handler: HttpHandler) -> None:
    """Until the sender has given up."""
    handler.connection.recv(1)
    handler.close_connection = True


def _drip(beginning: bytes) -> HttpAct:
    """A byte ten times a second until the sender has given up."""

    def act(handler: HttpHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(beginning)
        handler.connection.settimeout(0.1)
        while True:
            handler.wfile.write(b"x")
            try:
                if not handler.connection.recv(1):
                    return
            except TimeoutError:
                pass

    return act


def _endless(handler: HttpHandler) -> None:
    """A body without an end, as fast as the sender reads it."""
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        handler.wfile.write(b"x" * 65536)


def _bombs() -> list[tuple[str, bytes, str]]:
    plain = gzip.compress(bytes(BOMB))
    return [("a gzip bomb", plain, "gzip"), ("a gzip bomb in gzip", gzip.compress(plain), "gzip, gzip")]


_SIMPLE: dict[str, tuple[HttpAct, Fate]] = {
    "200 that rejects some": (_say(200, partial_success(3)), Fate.TAKEN_IN_PART),
    "202 without a body": (_say(202), Fate.TAKEN),
    "200 with garbage": (_say(200, b"\xff\x00garbage"), Fate.TAKEN),
    "200 whose body drips": (_drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"), Fate.TAKEN),
    "200 cut off": (_write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{"), Fate.TAKEN),
    "301": (_say(301, Location="http://192.0.2.1/"), Fate.REJECTED),
    "307 to itself": (_say(307, Location="/v1/logs"), Fate.REJECTED),
    "400": (_say(400), Fate.REJECTED),
    "401": (_say(401), Fate.REJECTED),
    "404": (_say(404, b"<html>"), Fate.REJECTED),
    "500": (_say(500), Fate.REJECTED),
    "400 without an end": (_endless, Fate.REJECTED),
    "413": (_say(413), Fate.IN_PARTS),
    "429": (_say(429), Fate.LATER),
    "502": (_say(502, b"<html>bad gateway</html>"), Fate.LATER),
    "503 with garbage in Retry-After": (_say(503, Retry_After="soon\t-1"), Fate.LATER),
    "504": (_say(504), Fate.LATER),
    "a hang": (_hang, Fate.LATER),
    "a status that drips": (_drip(b"HTTP/1.1 20"), Fate.LATER),
    "headers that drip": (_drip(b"HTTP/1.1 200 OK\r\nX: "), Fate.LATER),
    "a reset": (_reset, Fate.LATER),
    "no answer": (_hang_up, Fate.LATER),
    "garbage": (_write(b"\x00\xff\r\n\r\n"), Fate.LATER),
    "another protocol": (_write(b"SSH-2.0-OpenSSH_9.2\r\n"), Fate.LATER),
}
"""Each way by its name, and what becomes of the records."""


def http_answers() -> list[Answering[HttpAct]]:
    """The table of OTLP/HTTP, and what is no HTTP."""
    simple = dict(_SIMPLE)
    for name, body, encoding in _bombs():
        simple[name] = _say(200, body, Content_Encoding=encoding), Fate.TAKEN
        simple[f"400 with {name}"] = (
            _say(400, body, Content_Encoding=encoding, Content_Type="text/plain"),
            Fate.REJECTED,
        )
    asking: list[tuple[str, Callable[[HttpHandler], None], float]] = [
        ("429 with Retry-After in seconds", _say(429, Retry_After="2"), 2.0),
        ("503 with Retry-After as a date", _ask_for_date, 1.9),
    ]
    return [
        *(Answering(name, act, fate) for name, (act, fate) in simple.items()),
        *(Answering(name, act, Fate.LATER, asked) for name, act, asked in asking),
    ]
