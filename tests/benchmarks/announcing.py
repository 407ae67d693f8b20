"""What announcing its span adds to a connect: python -m tests.benchmarks.announcing [ROUNDS], as root.

Without announcements, and with them in a span and outside of any, one after the other in each round. The sockets are
of UDP: their connect sends nothing, and is short beside what is measured. Python connects them in the same way.
"""

from __future__ import annotations

import _socket
import socket
import sys
import time
from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider

from otel_tcplife.connecting import Announcements
from otel_tcplife.probe.kernel_objects import MapDefinition, make_map
from tests.benchmarks.report import row, spread

_CONNECTS = 20_000
_DEFINITION = MapDefinition(type=9, key_size=8, value_size=32, max_entries=4096, flags=0)
"""That of the map in bpf/connecting.h, a BPF_MAP_TYPE_LRU_HASH."""


def main(rounds: int = 5) -> None:
    """Measure all of them."""
    tracer = TracerProvider().get_tracer(__name__)
    alone: list[float] = []
    in_span: list[float] = []
    outside: list[float] = []
    for _ in range(rounds):
        without = _seconds_of(_socket.socket.connect)  # which is never wrapped
        announcements = Announcements(make_map("connecting", _DEFINITION), spans=True, exporters=False)
        outside.append(_seconds_of(socket.socket.connect) - without)
        with tracer.start_as_current_span("connects"):
            in_span.append(_seconds_of(socket.socket.connect) - without)
        announcements.end()
        alone.append(without)
    print("microseconds of a connect")
    row("without announcements", spread([1e6 * each for each in alone]))
    row("more in a span", spread([1e6 * each for each in in_span]))
    row("more outside of any", spread([1e6 * each for each in outside]))


def _seconds_of(connect: Callable[[socket.socket, tuple[str, int]], None]) -> float:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connecting:
        began = time.perf_counter()
        for _ in range(_CONNECTS):
            connect(connecting, ("127.0.0.1", 9))
        return (time.perf_counter() - began) / _CONNECTS


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
