"""The command otel-tcplife: tcplife's options and columns, and telemetry besides."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from otel_tcplife.agent import balance, run
from otel_tcplife.destinations import destinations
from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.export.endpoint import hidden
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.options import Filters, Options, Scope, read_options
from otel_tcplife.printable import one_line
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.say import Trouble
from otel_tcplife.session import SessionBatch, ended
from otel_tcplife.source import Source
from otel_tcplife.standard_error import say
from otel_tcplife.standard_variables import forget_empty_variables
from otel_tcplife.table import Table, TableOptions
from otel_tcplife.terminal import flush_output, give_up_output, has_terminal, open_standard_streams, show
from otel_tcplife.version import __version__
from otel_tcplife.wiring import describe, read_settings, wire
from otel_tcplife.worker import Stop, Worker

if TYPE_CHECKING:
    from otel_tcplife.export.otlp_file import OtlpFiles

STOPPED, CANNOT_TRACE, BAD_USAGE = 0, 1, 2
"""Exit codes."""

_EXAMPLES = """examples:
    otel-tcplife           # trace all TCP connect()s
    otel-tcplife -T        # include time column (HH:MM:SS)
    otel-tcplife -w        # wider columns (fit IPv6)
    otel-tcplife -stT      # csv output, with times & timestamps
    otel-tcplife -p 181    # only trace PID 181
    otel-tcplife -L 80     # only trace local port 80
    otel-tcplife -L 80,81  # only trace local ports 80 and 81
    otel-tcplife -D 80     # only trace remote port 80
    otel-tcplife -4        # only trace IPv4 family
    otel-tcplife -6        # only trace IPv6 family

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 otel-tcplife --no-table
    PYTHONUNBUFFERED=1 tcplife -s | otel-tcplife --replay -
"""


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong."""

    def error(self, message: str) -> NoReturn:
        raise BadUsage(message, f"see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    open_standard_streams()
    try:
        return _command(_parser().parse_args(arguments))
    except BadUsage as error:
        say(str(error))
        return BAD_USAGE
    except CannotTrace as error:
        say(f"cannot trace: {error}")
        return CANNOT_TRACE
    except Exception as error:  # noqa: BLE001 a library's, for which nobody was prepared: one line for the user, too
        problem = hidden(f"{type(error).__name__}: {error}", ())
        say(f"cannot trace: {problem}; {remedy_of(problem) or 'please report this'}")
        return CANNOT_TRACE
    finally:
        flush_output()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="otel-tcplife",
        description="Trace the lifespan of TCP sessions, summarize, and export them as OpenTelemetry logs and metrics",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    parser.add_argument("-T", "--time", action="store_true", help="include time column on output (HH:MM:SS)")
    parser.add_argument("-t", "--timestamp", action="store_true", help="include timestamp on output (seconds)")
    parser.add_argument("-w", "--wide", action="store_true", help="wide column output (fits IPv6 addresses)")
    parser.add_argument("-s", "--csv", action="store_true", help="comma separated values output")
    parser.add_argument("-p", "--pid", help="trace this PID only")
    parser.add_argument("-L", "--localport", help="comma-separated list of local ports to trace.")
    parser.add_argument("-D", "--remoteport", help="comma-separated list of remote ports to trace.")
    family = parser.add_mutually_exclusive_group()
    family.add_argument("-4", "--ipv4", action="store_true", help="trace IPv4 family only")
    family.add_argument("-6", "--ipv6", action="store_true", help="trace IPv6 family only")
    parser.add_argument(
        "--otlp-file",
        type=_path,
        metavar="DIR",
        help="write OTLP JSON Lines to DIR/logs.jsonl and DIR/metrics.jsonl",
    )
    parser.add_argument(
        "--replay",
        type=_path,
        metavar="FILE",
        help="take sessions from what tcplife printed, its table or CSV (- is standard input), instead of the kernel",
    )
    parser.add_argument("--no-table", action="store_true", help="print no sessions, only export them")
    parser.add_argument("--check", action="store_true", help="say what is there of what is needed, and what is missing")
    parser.add_argument("--version", action="version", version=f"otel-tcplife {__version__}")
    return parser


def _command(arguments: argparse.Namespace) -> int:
    forget_empty_variables()
    options = _options(arguments)
    chosen = destinations(arguments.otlp_file)
    settings = read_settings(chosen)
    if arguments.check:
        from otel_tcplife.check import check

        return STOPPED if check(options, settings, lambda line: show(one_line(line, None))) else CANNOT_TRACE
    if arguments.replay and options.filters != Filters():
        raise BadUsage("--replay takes all sessions of a recording", "leave out -p, -L, -D, -4 and -6")
    stop, ledger, shown = Stop(), Ledger(), Ledger()
    source = _replayed(arguments.replay) if arguments.replay else _live(options)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: stop.ask())
        files = None
        if chosen.directory:
            from otel_tcplife.export.otlp_file import OtlpFiles

            files = OtlpFiles(chosen.directory, settings.encoder, ledger, say)
        _heed_hangups(stop, files)
        consumers = wire(settings, files, chosen, source=source, ledger=ledger, stop=stop, say=say)
        say(f"{'replaying' if arguments.replay else 'tracing'}; {describe(settings, chosen)}")
        if not arguments.no_table:
            consumers.workers.append(_table(arguments, shown, stop))
        run(source, consumers, stop, ledger, say)
        for line in balance(source, ledger):
            say(line)
    finally:
        source.close()
    return STOPPED


def _heed_hangups(stop: Stop, files: OtlpFiles | None) -> None:
    """At SIGHUP, stop where a terminal controls the command, which has then gone; else open files anew.

    The latter is what those expect who rotate the files of services. With nohup(1) it stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return

    def stop_tracing(_number: int, _frame: FrameType | None) -> None:
        stop.ask()
        _say_within_handler("the terminal has gone; stopping")

    def reopen(_number: int, _frame: FrameType | None) -> None:
        if files:
            files.reopen()
        _say_within_handler("SIGHUP: files are opened anew" if files else "SIGHUP: there is no file to open anew")

    signal.signal(signal.SIGHUP, stop_tracing if has_terminal() else reopen)


def _say_within_handler(line: str) -> None:
    """As say(), which may be what the signal interrupts."""
    with contextlib.suppress(OSError):
        os.write(2, f"otel-tcplife: {line}\n".encode())


def _replayed(recording: str) -> Source:
    """Imported where it is needed only, as is the other source."""
    from otel_tcplife.replay.source import ReplaySource

    return ReplaySource(recording, say)


def _live(options: Options) -> Source:
    from otel_tcplife.probe.live import LiveSource

    return LiveSource(options.filters, options.sizes, options.interim)


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name")
    return text


def _options(arguments: argparse.Namespace) -> Options:
    given = {
        "scope": Scope.HOST,
        "pid": arguments.pid,
        "local_ports": arguments.localport,
        "remote_ports": arguments.remoteport,
        "ip_version": 4 if arguments.ipv4 else 6 if arguments.ipv6 else None,
    }
    return read_options(given, names={"pid": "-p", "local_ports": "-L", "remote_ports": "-D"})


def _table(arguments: argparse.Namespace, shown: Ledger, stop: Stop) -> Worker:
    """A worker that prints, so that a terminal that stands still holds up nothing else."""
    options = TableOptions(arguments.time, arguments.timestamp, arguments.wide, arguments.csv)
    trouble = Trouble(say, "print the table")

    def write(text: str) -> None:
        encoding = sys.stdout.encoding if sys.stdout else "utf-8"  # None where standard output is closed
        try:
            # A process chooses its comm, which must not end the table where the terminal lacks a letter of it
            print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
        except BrokenPipeError:  # the reader has what it wanted, as in `otel-tcplife | head`
            give_up_output()
            stop.ask()
        except OSError as error:
            trouble.began(error.strerror or str(error), "the export goes on")
        else:
            trouble.over()

    table = Table(options, write)

    def show(batch: SessionBatch) -> None:
        table.rows(ended(batch))
        shown.count("table", Outcome.EXPORTED, len(batch))

    table.header()
    return Worker("table", show, shown, stop, say, most=4096, linger=0)
