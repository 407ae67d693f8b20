"""Where the gRPC exporters of an application connect to. gRPC does so in C, and announces nothing (see connecting.py).

So their connections are left out by the address and port of the receiver. These are resolved once, when tracing begins.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from otel_tcplife.probe import bpf

_EXPORTERS = ("otlp", "otlp_proto_grpc")
_SIGNALS = ("LOGS", "METRICS", "TRACES")
_DEFAULT = "http://localhost:4317"
_RECEIVER = struct.Struct("=16s2sxx")
"""struct receiver of bpf/connecting.h: address, an IPv4 one in its mapped form, and port in network byte order."""


def hide_grpc_receivers(map_fd: int, environ: Mapping[str, str] = os.environ) -> None:
    """Have connections to them left out. What cannot be resolved is left alone."""
    for address, port in _addresses(grpc_receivers(environ)):
        bpf.put(map_fd, _RECEIVER.pack(socket.inet_pton(socket.AF_INET6, address), port.to_bytes(2, "big")), b"\1")


def grpc_receivers(environ: Mapping[str, str]) -> set[tuple[str, int]]:
    """Host and port of each, by the standard variables, as the SDK's exporters take them."""
    found: set[tuple[str, int]] = set()
    for signal in _SIGNALS:
        exporters = [name.strip() for name in environ.get(f"OTEL_{signal}_EXPORTER", "").split(",")]
        if not {*exporters} & {*_EXPORTERS} or (
            "otlp" in exporters and _setting(environ, signal, "PROTOCOL", "grpc") != "grpc"
        ):
            continue
        endpoint = _setting(environ, signal, "ENDPOINT", _DEFAULT)
        try:
            target = endpoint.removeprefix("dns:").removeprefix("///")
            url = urlsplit(target if "://" in target else f"//{target}")
            if url.hostname and not target.startswith("unix"):
                found.add((url.hostname, url.port or 443))
        except ValueError:  # the exporter says what is wrong with it
            continue
    return found


def _setting(environ: Mapping[str, str], signal: str, name: str, default: str) -> str:
    of_signal, of_all = (environ.get(f"OTEL_EXPORTER_OTLP_{prefix}{name}", "").strip() for prefix in (f"{signal}_", ""))
    return of_signal or of_all or default


def _addresses(receivers: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    for host, port in receivers:
        if host == "localhost":
            yield "::1", port  # gRPC tries that as well, whatever the name leads to here (RFC 6761, section 6.3)
        try:
            found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except OSError:
            continue
        for family, _, _, _, address in found:
            text = str(address[0]).partition("%")[0]
            yield (text if family == socket.AF_INET6 else f"::ffff:{text}"), port
