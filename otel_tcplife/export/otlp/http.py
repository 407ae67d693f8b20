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
from urllib.parse import urljoin

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from requests.utils import select_proxy
from urllib3 import Timeout
from urllib3.exceptions import HTTPError, InvalidHeader, LocationValueError
from urllib3.exceptions import ProxyError as UrllibProxyError

from otel_tcplife.export.otlp.compression import gzip_of, zlib_of
from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.endpoint import hidden, host_and_port, secrets_of, shown
from otel_tcplife.export.otlp.http_answer import Answer, DirectWay, SessionWay
from otel_tcplife.export.otlp.http_session import open_session
from otel_tcplife.export.otlp.reply import Hide, Permanent, Reply, Retryable, TooLarge, accepted, reason, refused
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.printable import one_line

_PROTOBUF = "application/x-protobuf"

# OTLP specification, "Retryable Response Codes".
_RETRYABLE = frozenset({429, 502, 503, 504})

_CONTENT_TOO_LARGE = 413

# No answer of OTLP needs more, and what is no OTLP receiver may send without an end.
_LONGEST_ANSWER = 1 << 16

# urllib3 has no limit of 0 seconds.
_SHORTEST_TIMEOUT = 0.001

_OF_THE_PROXY = (requests.exceptions.ProxyError, UrllibProxyError)
_OF_THE_URL = (LocationValueError, InvalidHeader)
_OF_THE_CONNECTION = (requests.ConnectionError, requests.Timeout, HTTPError)
_HANGING_UP = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class HttpTransport:
    """OTLP/HTTP with binary protobuf, over one connection that is kept alive.

    Proxies, and the authorities to trust where the configuration names none, are those of the environment, as requests
    has them. Raises BadUsage for an endpoint, a proxy or a credential provider that cannot be used.
    """

    def __init__(self, config: OtlpConfig, user_agent: str) -> None:
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        headers = {"user-agent": user_agent, **config.headers, "content-type": _PROTOBUF, **encoding}
        self._provided = config.credential_provider is not None
        session = open_session(config)
        self._way = (SessionWay if self._provided else DirectWay)(session, config.endpoint, headers)
        self._compression = config.compression
        self._receiver = host_and_port(config.endpoint)
        proxy = select_proxy(config.endpoint, session.proxies) or ""
        self._proxy = host_and_port(proxy) if "://" in proxy else proxy.rpartition("@")[2]
        secrets = config.secrets | secrets_of(proxy, {})
        self._hide: Hide = lambda text: hidden(text, secrets)

    def send(self, body: Body, timeout: float) -> Reply:
        """Post one encoded request; never raises.

        `timeout` is in seconds, for the whole. Not in it are the resolving of a name, the addresses of a receiver that
        leave connecting unanswered before one does not, and an answer that comes in drops to a credential provider.
        """
        deadline = time.monotonic() + timeout
        try:
            with self._way.answer(self._compressed(body), Timeout(total=max(timeout, _SHORTEST_TIMEOUT))) as answer:
                return _reply(answer, self._receiver, deadline, self._hide)
        except _OF_THE_PROXY as error:
            return Retryable(self._failures(error, f"the proxy {self._proxy}", timeout))
        except _OF_THE_URL as error:
            return self._unsent(error)
        except _OF_THE_CONNECTION as error:
            return Retryable(self._failures(error, self._receiver, timeout))
        except Exception as error:  # noqa: BLE001 send() promises never to raise
            return self._unsent(error)

    def close(self) -> None:
        """Close the connection; a send() under way in another thread still goes on to its end."""
        self._way.close()

    def _unsent(self, error: Exception) -> Reply:
        why = reason(f"cannot send to {self._receiver}", str(error), self._hide)
        # What a credential provider cannot get now it may get later
        return Retryable(why) if self._provided else Permanent(why)

    def _failures(self, error: Exception, receiver: str, timeout: float) -> str:
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

    def _compressed(self, body: Body) -> Body:
        if self._compression == "gzip":
            return gzip_of(body)
        return zlib_of(body) if self._compression == "deflate" else body


def _reply(answer: Answer, receiver: str, deadline: float, hide: Hide) -> Reply:
    """What the answer says, by its status (OTLP specification, "OTLP/HTTP Response")."""
    status = answer.status
    if 200 <= status < 300:
        return accepted(_content(answer, deadline), hide)
    what = f"{status} {hide(answer.reason)} from {receiver}"
    if status in _RETRYABLE:
        after = _seconds(answer.headers.get("retry-after", ""))
        return Retryable(reason(what, _message(answer, deadline), hide), after)
    if 300 <= status < 400 and "location" in answer.headers:
        return Permanent(one_line(f"{what}, which points to {_location(answer)}"))
    why = reason(what, _message(answer, deadline), hide)
    return TooLarge(why) if status == _CONTENT_TOO_LARGE else refused(why)


def _location(answer: Answer) -> str:
    """Where a redirect leads, as far as that can be shown."""
    try:
        return shown(urljoin(answer.url, answer.headers["location"]))
    except ValueError:
        return "what is no URL"


def _message(answer: Answer, deadline: float) -> str:
    """What the receiver said about a failure, where that is text or a Status; else nothing."""
    content = _content(answer, deadline)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _PROTOBUF:
        with contextlib.suppress(DecodeError):
            return Status.FromString(content).message
    return content.decode(errors="replace") if kind in ("text/plain", "application/json") else ""


def _content(answer: Answer, deadline: float) -> bytes:
    """The body, or what came of it: the status has told already what is to be done."""
    content = bytearray()
    with contextlib.suppress(requests.RequestException, HTTPError):
        for piece in answer.pieces:
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
