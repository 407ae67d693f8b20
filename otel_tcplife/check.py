"""The --check option: each prerequisite, whether it is there, and what mends it if not, in a line each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from otel_tcplife.errors import CannotTrace
from otel_tcplife.export.otlp.config import OtlpConfig, Signal
from otel_tcplife.export.otlp.reply import Reply, Retryable, Success
from otel_tcplife.export.otlp.transport import open_transport
from otel_tcplife.options import PIN, Options
from otel_tcplife.pipeline.destinations import Destinations
from otel_tcplife.privileges import User, become
from otel_tcplife.probe.live import open_live_source
from otel_tcplife.probe.loader import cache_of_command
from otel_tcplife.probe.requirements import Check, check_all
from otel_tcplife.probe.unpin import check_pins

_PATIENCE = 5.0


def check(options: Options, destinations: Destinations, user: User | None, show: Callable[[str], None]) -> bool:
    """Show the state of everything that tracing and exporting need; return whether all of it is there.

    The receivers are asked as `user`, where there is one.
    """
    is_complete = True
    for each in _checks(options, destinations, user):
        is_complete = is_complete and each.ok
        remedy = f"; {each.remedy}" if each.remedy and not each.ok else ""
        show(f"{'ok     ' if each.ok else 'missing'}  {each.name}: {each.found}{remedy}")
    return is_complete


def _checks(options: Options, destinations: Destinations, user: User | None) -> Iterator[Check]:
    cache = cache_of_command(options)
    needed = check_all(cache)
    yield from needed
    if all(each.ok for each in needed):
        yield _program(options)
        yield _cache(cache, cache_of_command(options))
    if directory := PIN.read(os.environ):
        yield check_pins(Path(directory))
    become(user, uses_maps=False)
    signals: tuple[Signal, ...] = ("logs", "metrics")
    for signal in signals:
        if config := destinations.receivers.get(signal):
            yield _receiver(signal, config)
        else:
            yield Check("collector", True, f"no OTLP endpoint is configured for {signal}, none is needed")


def _program(options: Options) -> Check:
    """Whether the kernel takes the very program, which only loading it can tell."""
    try:
        open_live_source(options).close()
    except CannotTrace as error:
        return Check("program", False, error.problem, error.remedy)
    return Check("program", True, "loaded, verified, attached and detached again")


def _cache(before: str, after: str) -> Check:
    """Where the compiled program was before it was loaded, and where it is now. Nothing is missing without any."""
    if before:
        return Check("cache", True, f"the compiled program was in {before}: a start compiles nothing")
    if after:
        return Check("cache", True, f"the compiled program is in {after} now: the next start compiles nothing")
    return Check("cache", True, "there is none, each start compiles; OTEL_LOG_LEVEL=debug says why")


def _receiver(signal: Signal, config: OtlpConfig) -> Check:
    """Whether the collector takes this signal, asked by a request without any data."""
    reply = _reply_within(min(config.timeout, _PATIENCE), signal, config)
    if isinstance(reply, Success):
        return Check("collector", True, f"{config.shown} takes {signal}")
    remedy = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it listens"
    return Check("collector", False, f"{config.shown}: {reply.reason}", remedy)


def _reply_within(seconds: float, signal: Signal, config: OtlpConfig) -> Reply:
    """What the collector answers, in a thread: an answer that comes byte by byte may take any time."""
    transport = open_transport(config, signal)
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(transport.send(b"", seconds)), daemon=True)
    asking.start()
    asking.join(seconds + 1)
    if not replies:
        return Retryable(f"no whole answer within {seconds:g} s")
    transport.close()
    return replies[0]
