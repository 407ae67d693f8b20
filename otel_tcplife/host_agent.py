"""The host agent at work: from a source to all destinations, until it is stopped.

The command imports this when the source is being opened already, as it takes as long.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from otel_tcplife.alive import Alive
from otel_tcplife.allocator import keep_what_there_is
from otel_tcplife.delivery_options import MAX_QUEUE_SIZE, SPOOL
from otel_tcplife.export.otlp.sinks import Opening
from otel_tcplife.log import logger
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.destinations import Destinations
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.limits import COMMAND, Limits
from otel_tcplife.pipeline.run import Pipeline
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.self_telemetry import SelfTelemetry
from otel_tcplife.pipeline.sink import Sinks
from otel_tcplife.pipeline.source import Source
from otel_tcplife.standard_error import show_status
from otel_tcplife.table import TableOptions
from otel_tcplife.table_sink import TableSink
from otel_tcplife.terminal import has_terminal, write_within_handler


def limits_of_command() -> Limits:
    """Those of the environment. Raise BadUsage where they cannot be what was meant."""
    limits = replace(COMMAND, max_queue_size=MAX_QUEUE_SIZE.read(os.environ))
    # kill -9 loses what is in memory, which is less then
    return replace(limits, schedule_delay=limits.schedule_delay / 2) if SPOOL.read(os.environ) else limits


def run(
    arguments: argparse.Namespace,
    source: Source,
    destinations: Destinations,
    limits: Limits,
    logs: LogOptions,
    alive: Alive,
) -> None:
    """Trace, or replay, until a signal or the end of the recording; say how many sessions there were."""
    deadline, ledger = Deadline(limits.shutdown_within), Ledger()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: deadline.set())
    itself = SelfTelemetry()
    scans = ScanRequests()
    values = counters(source.stats, ledger)
    sinks = destinations.open(Opening(values, deadline, source.host, ledger, itself, scans, logs))
    _heed_hangups(deadline, sinks)
    logger.info("%s; %s", "replaying" if arguments.replay else "tracing", destinations.description)
    if not arguments.no_table:
        options = TableOptions(arguments.time, arguments.timestamp, arguments.wide, arguments.csv)
        sinks.table = TableSink(options, deadline)
    go_on = _going_on(arguments, source, alive, lambda: max((queue.size for queue in pipeline.queues), default=0))
    pipeline = Pipeline(source, sinks, ledger, deadline, limits, scans, go_on)
    itself.queues = pipeline.queues
    keep_what_there_is()
    with alive:
        pipeline.run()
    for line in pipeline.balance():
        logger.info("%s", line)


def _going_on(
    arguments: argparse.Namespace, source: Source, alive: Alive, waiting: Callable[[], int]
) -> Callable[[], None]:
    """What is called each time that the source was read: also the progress of a replay, where a terminal shows it.

    Not where it shows the table, whose rows tell as much. `waiting` is how many sessions were read and not delivered.
    """
    has_table = not arguments.no_table and sys.stdout.isatty()
    if not arguments.replay or has_table or not sys.stderr.isatty():
        return alive.go_on
    from otel_tcplife.replay.progress import Progress
    from otel_tcplife.replay.source import ReplaySource

    assert isinstance(source, ReplaySource)
    progress = Progress(lambda: source.summary.sessions, waiting, lambda: source.fraction, show_status)

    def go_on() -> None:
        alive.go_on()
        progress.go_on()

    return go_on


def _heed_hangups(deadline: Deadline, sinks: Sinks) -> None:
    """At SIGHUP, stop where a terminal controls the command, which has then gone; else open files anew.

    The latter is what those expect who rotate the files of services. With nohup(1) it stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        deadline.set()
        write_within_handler("the terminal has gone; stopping")

    def reopen(_number: int, _frame: FrameType | None) -> None:
        for reopen_files in sinks.reopen:
            reopen_files()
        write_within_handler(
            "SIGHUP: files are opened anew" if sinks.reopen else "SIGHUP: there is no file to open anew"
        )

    signal.signal(signal.SIGHUP, stop if has_terminal() else reopen)
