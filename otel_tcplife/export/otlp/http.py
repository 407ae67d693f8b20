"""Encoded requests to an OTLP receiver over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from requests.utils import select_proxy
from urllib3 import Timeout

from otel_tcplife.export.otlp.compression import gzip_of, zlib_of
from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.endpoint import hidden, host_and_port, secrets_of, shown
from otel_tcplife.export.otlp.http_session import open_session
from otel_tcplife.export.otlp.reply import Hide, Permanent, Reply, Retryable, TooLarge, accepted, reason, refused
from otel_tcplife.export.otlp.whole_timeout import WholeTimeoutAdapter
from otel_tcplife.printable import one_line

_PROTOBUF = "application/x-protobuf"

# OTLP specification, "Retryable Response Codes".
_RETRYABLE = frozenset({429, 502, 503, 504})

_CONTENT_TOO_LARGE = 413

# No answer of OTLP needs more, and what is no OTLP receiver may send without an end.
_LONGEST_ANSWER = 1 << 16

# urllib3 has no limit of 0 seconds.
_SHORTEST_TIMEOUT = 0.001

_HANGING_UP = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class HttpTransport:
    """OTLP/HTTP with binary protobuf, over one connection that is kept alive.

    Proxies, and the authorities to trust where the configuration names none, are those of the environment, as requests
    has them. Raises BadUsage for an endpoint, a proxy or a credential provider that cannot be used.
    """

    def __init__(self, config: OtlpConfig, user_agent: str) -> None:
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        self._headers = {"user-agent": user_agent, **config.headers, "content-type": _PROTOBUF, **encoding}
        self._url = config.endpoint
        self._session = open_session(config)
        self._provided = config.credential_provider is not None
        self._request = requests.Request("POST", self._url, headers=self._headers).prepare()
        self._route: dict[str, Any] = {
            "stream": True,
            "verify": self._session.verify,
            "cert": self._session.cert,
            "proxies": self._session.proxies,
        }
        self._adapter = WholeTimeoutAdapter(pool_connections=1, pool_maxsize=1)
        self._compression = config.compression
        self._receiver = host_and_port(self._url)
        proxy = select_proxy(self._url, self._session.proxies) or ""
        self._proxy = host_and_port(proxy) if "://" in proxy else proxy.rpartition("@")[2]
        secrets = config.secrets | secrets_of(proxy, {})
        self._hide: Hide = lambda text: hidden(text, secrets)

    def send(self, body: bytes, timeout: float) -> Reply:
        """Post one encoded request; never raises.

        `timeout` is in seconds, for the whole. Not in it are the resolving of a name, the addresses of a receiver that
        leave connecting unanswered before one does not, and an answer that comes in drops to a credential provider.
        """
        deadline = time.monotonic() + timeout
        try:
            with self._post(self._compressed(body), timeout) as response:
                return _reply(response, self._receiver, deadline, self._hide)
        except requests.exceptions.ProxyError as error:
            return Retryable(self._failures(error, f"the proxy {self._proxy}", timeout))
        except (requests.ConnectionError, requests.Timeout) as error:
            return Retryable(self._failures(error, self._receiver, timeout))
        except Exception as error:  # noqa: BLE001 send() promises never to raise
            why = reason(f"cannot send to {self._receiver}", str(error), self._hide)
            # What a credential provider cannot get now it may get later
            return Retryable(why) if self._provided else Permanent(why)

    def _post(self, body: bytes, timeout: float) -> requests.Response:
        # Documented for send(), but missing from its types.
        limit: Any = Timeout(total=max(timeout, _SHORTEST_TIMEOUT))
        if self._provided:  # which may do its part in any method of the session
            return self._session.post(
                self._url, body, headers=self._headers, timeout=limit, allow_redirects=False, stream=True
            )
        request = self._request.copy()
        request.prepare_body(body, None)
        return self._adapter.send(request, timeout=limit, **self._route)

    def close(self) -> None:
        """Close the connection; a send() under way in another thread still goes on to its end."""
        self._adapter.close()
        self._session.close()

    def _failures(self, error: requests.RequestException, receiver: str, timeout: float) -> str:
        """One line of why there is no answer, from what lies under the errors of requests and urllib3."""
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return one_line(f"the certificate of {receiver} is not trusted: {cause.verify_message}")
            if isinstance(cause, _HANGING_UP):
                return f"{receiver} closed the connection without an answer"
            if isinstance(cause, ssl.SSLError):
                return one_line(f"no TLS with {receiver}: {str(cause.reason or cause).replace('_', ' ').lower()}")
            if isinstance(cause, socket.gaierror):
                return f"cannot resolve {receiver}: {cause.strerror}"
            if isinstance(cause, ConnectionRefusedError):
                return f"connection refused by {receiver}"
            if isinstance(cause, TimeoutError | requests.Timeout):
                return f"no answer from {receiver} within {timeout:g} s"
            if isinstance(cause, http.client.HTTPException):
                return f"{receiver} does not speak HTTP/1.1; gRPC may be what it speaks"
        deepest = causes[-1]
        return reason(f"cannot reach {receiver}", str(getattr(deepest, "strerror", None) or deepest), self._hide)

    def _compressed(self, body: bytes) -> bytes:
        if self._compression == "gzip":
            return gzip_of(body)
        return zlib_of(body) if self._compression == "deflate" else body


def _reply(response: requests.Response, receiver: str, deadline: float, hide: Hide) -> Reply:
    """The answer by its status (OTLP specification, "OTLP/HTTP Response")."""
    status = response.status_code
    if 200 <= status < 300:
        return accepted(_content(response, deadline), hide)
    what = f"{status} {hide(response.reason or '')} from {receiver}"
    if status in _RETRYABLE:
        after = _seconds(response.headers.get("retry-after", ""))
        return Retryable(reason(what, _message(response, deadline), hide), after)
    if 300 <= status < 400 and "location" in response.headers:
        return Permanent(one_line(f"{what}, which points to {_location(response)}"))
    why = reason(what, _message(response, deadline), hide)
    return TooLarge(why) if status == _CONTENT_TOO_LARGE else refused(why)


def _location(response: requests.Response) -> str:
    """Where a redirect leads, as far as that can be shown."""
    try:
        return shown(urljoin(response.url, response.headers["location"]))
    except ValueError:
        return "what is no URL"


def _message(response: requests.Response, deadline: float) -> str:
    """What the receiver said about a failure, where that is text or a Status; else nothing."""
    content = _content(response, deadline)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _PROTOBUF:
        with contextlib.suppress(DecodeError):
            return Status.FromString(content).message
    return content.decode(errors="replace") if kind in ("text/plain", "application/json") else ""


def _content(response: requests.Response, deadline: float) -> bytes:
    """The body, or what came of it: the status has told already what is to be done."""
    content = bytearray()
    with contextlib.suppress(requests.RequestException):
        for piece in response.iter_content(4096):
            content += piece
            if len(content) >= _LONGEST_ANSWER or time.monotonic() > deadline:
                break
    return bytes(content)


def _seconds(retry_after: str) -> float | None:
    """The wait of a Retry-After header, which is a number of seconds or a date (RFC 9110, section 10.2.3)."""
    try:
        if retry_after.strip().isdecimal():
            seconds = float(retry_after)
        else:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < math.inf else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        # urllib3 has the errors of TLS as an argument only.
        inner = next((argument for argument in error.args if isinstance(argument, BaseException)), None)
        error = error.__cause__ or error.__context__ or inner
