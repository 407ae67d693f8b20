"""A POST and its answer: by urllib3, or by a requests.Session where it may have its own part in that.

What requests does for each POST, cookies and all, takes as much CPU time as all else that sending 1 MB does. What it
knows of proxies and of TLS is needed once only.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, Timeout

from otel_tcplife.export.otlp.request import Body

_PIECE = 4096


@dataclass(frozen=True)
class Answer:
    """What a receiver has answered."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    """By names of any case."""
    pieces: Iterable[bytes]
    """Of the body, which is read with them. Raises what urllib3 and requests raise."""


class SessionWay:
    """Posts to one URL by a session, all of whose methods may be those of a credential provider."""

    def __init__(self, session: requests.Session, url: str, headers: Mapping[str, str]) -> None:
        self._session = session
        self._url = url
        self._headers = headers

    @contextmanager
    def answer(self, body: Body, limit: Timeout) -> Generator[Answer]:
        """Post, and have no more of the answer read than is asked for. May raise anything."""
        timeout: Any = limit  # documented for post(), but missing from its types
        with self._session.post(
            self._url, bytes(body), headers=self._headers, timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            pieces = response.iter_content(_PIECE)
            yield Answer(response.url, response.status_code, response.reason or "", response.headers, pieces)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


class DirectWay:
    """Posts to one URL, by the route of a session and over one connection that is kept alive."""

    def __init__(self, session: requests.Session, url: str, headers: Mapping[str, str]) -> None:
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=1)
        self._session = session
        self._request = requests.Request("POST", url, headers=dict(headers)).prepare()
        self._headers = {name: value for name, value in self._request.headers.items() if name != "Content-Length"}
        self._route: _Route | None = None

    @contextmanager
    def answer(self, body: Body, limit: Timeout) -> Generator[Answer]:
        """Post, and have no more of the answer read than is asked for. Raise what urllib3 raises, and OSError."""
        route = self._route = self._route or self._adapter.route_of(self._request, self._session)
        content: Any = body  # any buffer, which is missing from its types
        response = route.pool.urlopen(
            "POST",
            route.target,
            content,
            self._headers,
            retries=False,
            redirect=False,
            assert_same_host=False,  # that of a proxy is another one
            timeout=limit,
            preload_content=False,
        )
        try:
            url = self._request.url or ""
            pieces = () if response.closed else response.stream(_PIECE)  # there is nothing of most answers
            yield Answer(url, response.status, response.reason or "", response.headers, pieces)
        finally:
            if not response.closed:  # what has not been read would be taken for the next answer
                response.close()
            response.release_conn()

    def close(self) -> None:
        """Close the connection; an answer() under way in another thread still goes on to its end."""
        self._route = None
        self._adapter.close()
        self._session.close()


class _Route(NamedTuple):
    pool: HTTPConnectionPool
    target: str
    """Of the request line: the whole URL where a proxy is to fetch it."""


class _Adapter(HTTPAdapter):
    """Has answers end when the time for them is over, however little has come of them."""

    def route_of(self, request: requests.PreparedRequest, session: requests.Session) -> _Route:
        """How send() sends such requests of this session. Raise OSError for files of certificates that are missing."""
        verify, cert = session.verify, session.cert
        if hasattr(HTTPAdapter, "get_connection_with_tls_context"):  # requests 2.32 and newer
            pool: Any = self.get_connection_with_tls_context(request, verify, session.proxies, cert)
        else:
            pool = self.get_connection(request.url or "", session.proxies)  # pyright: ignore[reportDeprecated]
        self.cert_verify(pool, request.url or "", verify, cert)
        pool.ConnectionCls = _with_whole_timeout(pool.ConnectionCls)
        return _Route(pool, self.request_url(request, session.proxies))


def _with_whole_timeout(connection: Any) -> Any:
    """The same kind of connection, which reads answers as _WholeTimeoutResponse does."""
    return type(connection.__name__, (connection,), {"response_class": _WholeTimeoutResponse})


class _WholeTimeoutResponse(http.client.HTTPResponse):
    """Takes the timeout that its socket has when the answer is asked for as that of the whole answer.

    urllib3's is for each piece that comes.
    """

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
