"""Encoded log requests to an OTLP receiver over HTTP."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import math
import socket
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import Timeout

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp_config import OtlpConfig
from otel_tcplife.export.reply import Refused, Reply, Retry, accepted, one_line, reason

_PROTOBUF = "application/x-protobuf"

# OTLP specification, "Retryable Response Codes".
_RETRYABLE = frozenset({429, 502, 503, 504})

# No answer of OTLP needs more, and what is no OTLP receiver may send without an end.
_LONGEST_ANSWER = 1 << 16

# urllib3 has no limit of 0 seconds.
_SHORTEST_TIMEOUT = 0.001

_HANGING_UP = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)

# Of session records, level 6 saves another fifth of the bytes for two and a half times the CPU.
_GZIP_LEVEL = 1


class HttpTransport:
    """OTLP/HTTP with binary protobuf, over one connection that is kept alive.

    Proxies, and the authorities to trust where the configuration names none, are those of the environment, as requests
    has them. Raises BadUsage for an endpoint that requests cannot take.
    """

    def __init__(self, config: OtlpConfig, user_agent: str) -> None:
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        headers = {"user-agent": user_agent, **config.headers, "content-type": _PROTOBUF, **encoding}
        try:
            self._request = requests.Request("POST", config.endpoint, headers=headers).prepare()
        except requests.RequestException as error:
            raise BadUsage(f"the OTLP endpoint cannot be used: {one_line(str(error))}", "mend its URL") from error
        self._compression = config.compression
        self._peer = _host_and_port(config.endpoint)
        client = (
            (config.client_certificate, config.client_key) if config.client_certificate and config.client_key else None
        )
        # Once, where a session would look into the environment at each request.
        self._route: Mapping[str, Any] = requests.Session().merge_environment_settings(
            config.endpoint, {}, True, config.certificate or True, client
        )
        self._proxy = _host_and_port(select_proxy(config.endpoint, self._route["proxies"]) or "")
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)

    def send(self, body: bytes, timeout: float) -> Reply:
        """Post one encoded ExportLogsServiceRequest; never raises.

        `timeout` is in seconds, for the whole. Not in it are the resolving of a name, the addresses of a receiver that
        leave connecting unanswered before one does not, and an answer that comes in drops.
        """
        deadline = time.monotonic() + timeout
        try:
            # Documented for send(), but missing from its types.
            limit: Any = Timeout(total=max(timeout, _SHORTEST_TIMEOUT))
            request = self._request.copy()
            request.prepare_body(self._compressed(body), None)
            with self._adapter.send(request, timeout=limit, **self._route) as response:
                return _reply(response, self._peer, deadline)
        except requests.exceptions.ProxyError as error:
            return Retry(_trouble(error, f"the proxy {self._proxy}", timeout))
        except (requests.ConnectionError, requests.Timeout) as error:
            return Retry(_trouble(error, self._peer, timeout))
        except Exception as error:  # noqa: BLE001 send() promises never to raise
            return Refused(one_line(f"cannot send to {self._peer}: {error}"))

    def close(self) -> None:
        """Close the connection; a send() under way in another thread still goes on to its end."""
        self._adapter.close()

    def _compressed(self, body: bytes) -> bytes:
        if self._compression == "gzip":
            return gzip.compress(body, _GZIP_LEVEL)
        # HTTP means the zlib format by deflate (RFC 9110, section 8.4.1.2).
        return zlib.compress(body) if self._compression == "deflate" else body


def _reply(response: requests.Response, peer: str, deadline: float) -> Reply:
    """The answer by its status (OTLP specification, "OTLP/HTTP Response")."""
    status = response.status_code
    if 200 <= status < 300:
        return accepted(_content(response, deadline))
    what = f"{status} {response.reason} from {peer}"
    if status in _RETRYABLE:
        after = _seconds(response.headers.get("retry-after", ""))
        return Retry(reason(what, _message(response, deadline)), after)
    if 300 <= status < 400 and "location" in response.headers:
        return Refused(one_line(f"{what}, which points to {urljoin(response.url, response.headers['location'])}"))
    return Refused(reason(what, _message(response, deadline)))


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


def _trouble(error: requests.RequestException, peer: str, timeout: float) -> str:
    """One line of why there is no answer, from what lies under the errors of requests and urllib3."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {peer} is not trusted: {cause.verify_message}"
        if isinstance(cause, _HANGING_UP):
            return f"{peer} closed the connection without an answer"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {peer}: {str(cause.reason or cause).replace('_', ' ').lower()}"
        if isinstance(cause, socket.gaierror):
            return f"cannot resolve {peer}: {cause.strerror}"
        if isinstance(cause, ConnectionRefusedError):
            return f"connection refused by {peer}"
        if isinstance(cause, TimeoutError | requests.Timeout):
            return f"no answer from {peer} within {timeout:g} s"
        if isinstance(cause, http.client.HTTPException):
            return f"{peer} does not speak HTTP/1.1; gRPC may be what it speaks"
    deepest = causes[-1]
    return one_line(f"cannot reach {peer}: {getattr(deepest, 'strerror', None) or deepest}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        # urllib3 has the errors of TLS as an argument only.
        inner = next((argument for argument in error.args if isinstance(argument, BaseException)), None)
        error = error.__cause__ or error.__context__ or inner


def _host_and_port(url: str) -> str:
    """What an address is called in a message: without a user name and password."""
    return urlsplit(url).netloc.rpartition("@")[2]
