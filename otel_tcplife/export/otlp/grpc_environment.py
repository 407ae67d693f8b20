"""The variables that gRPC reads by itself (grpc/doc/environment_variables.md), checked before it does.

With some that it cannot use it aborts the process, others it leaves out in silence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.endpoint import is_host, misplaced_at
from otel_tcplife.export.otlp.setting import Setting
from otel_tcplife.export.otlp.tls_files import authorities

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPT = ("no_grpc_proxy", "no_proxy")
_POLL_STRATEGY = "GRPC_POLL_STRATEGY"
_POLL_STRATEGIES = ("all", "epoll1", "poll")
_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


def check_grpc_environment(config: OtlpConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadUsage for a variable that gRPC cannot use for what is configured."""
    strategy = Setting(_POLL_STRATEGY, environ.get(_POLL_STRATEGY, "all"))
    if not set(strategy.value.split(",")) & {*_POLL_STRATEGIES}:
        raise strategy.bad("is not known to gRPC", f"use one of {', '.join(_POLL_STRATEGIES)}, or unset it")
    if not (config.insecure or config.certificate or config.credential_provider) and environ.get(_ROOTS):
        authorities(_ROOTS, environ[_ROOTS])
    _check_proxy(config.endpoint, environ)


def _check_proxy(target: str, environ: Mapping[str, str]) -> None:
    """Raise BadUsage where gRPC would silently leave the proxy out that is set."""
    variable = next((name for name in _PROXIES if name in environ), "")
    proxy = environ.get(variable, "")
    if not proxy or target.startswith(("unix", "vsock:")) or _is_exempt(target, environ):
        return
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme == "http" and is_host(parts.hostname) and parts.port != 0 and not misplaced_at(proxy)
    except ValueError:
        usable = False
    if not usable:
        raise BadUsage(
            f"{variable} is no proxy that gRPC can use",
            "set grpc_proxy to one such as http://proxy:3128, or to nothing for none",
        )


def _is_exempt(target: str, environ: Mapping[str, str]) -> bool:
    """Whether the target is among the suffixes and networks that need no proxy."""
    entries = environ.get(next((name for name in _EXEMPT if name in environ), ""), "").split(",")
    address = target.partition(":///")[2] if ":///" in target else target
    host = (urlsplit(f"//{address}").hostname or "").lower()
    return any(_matches(host, entry.strip().lower()) for entry in entries if entry.strip())


def _matches(host: str, entry: str) -> bool:
    if "/" in entry:
        try:
            return ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            return False
    return entry == "*" or host.endswith(entry.lstrip("*."))
