"""HTTP answers that have to be there as a whole in time: urllib3's timeout is for each piece that comes."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

from requests.adapters import HTTPAdapter


class WholeTimeoutAdapter(HTTPAdapter):
    """Ends the reading of an answer when the time for it is over, however little has come of it."""

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """The pool of a request, for requests 2.32 and newer."""
        return _with_whole_timeout(super().get_connection_with_tls_context(*arguments, **options))

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """The pool of a request, for older ones."""
        pool = super().get_connection(*arguments, **options)  # pyright: ignore[reportDeprecated]
        return _with_whole_timeout(pool)


def _with_whole_timeout(pool: Any) -> Any:
    """The pool, whose connections read answers as WholeTimeoutResponse does, whatever their kind."""
    if pool.ConnectionCls.response_class is not WholeTimeoutResponse:
        name = pool.ConnectionCls.__name__
        pool.ConnectionCls = type(name, (pool.ConnectionCls,), {"response_class": WholeTimeoutResponse})
    return pool


class WholeTimeoutResponse(http.client.HTTPResponse):
    """Takes the timeout that its socket has when the answer is asked for as that of the whole answer."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        timeout = sock.gettimeout()
        if timeout is not None:
            assert isinstance(self.fp, io.BufferedReader)
            self.fp = io.BufferedReader(_Until(time.monotonic() + timeout, sock, self.fp.detach()))


class _Until(io.RawIOBase):
    """Reads from a socket as long as there is time."""

    def __init__(self, end: float, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._end = end
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
