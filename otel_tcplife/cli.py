"""The command otel-tcplife: tcplife's options and columns, and telemetry besides."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence

from otel_tcplife.command_line import CANNOT_TRACE, STOPPED, Parser, exit_code_of
from otel_tcplife.errors import BadUsage
from otel_tcplife.networks import Networks
from otel_tcplife.options import OPTIONS, PIN, Filters, Option, Options, Scope, read_options
from otel_tcplife.pipeline.source import Source
from otel_tcplife.printable import printable
from otel_tcplife.standard_variables import forget_empty_variables
from otel_tcplife.terminal import show
from otel_tcplife.unknown_variables import warn_of_unknown_variables
from otel_tcplife.version import __version__

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(lambda: _command(parser().parse_args(arguments)))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = Parser(
        prog="otel-tcplife",
        description="Trace the lifespan of TCP sessions, summarize, and export them as OpenTelemetry logs and metrics",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES,
    )
    options.add_argument("-T", "--time", action="store_true", help="include time column on output (HH:MM:SS)")
    options.add_argument("-t", "--timestamp", action="store_true", help="include timestamp on output (seconds)")
    options.add_argument("-w", "--wide", action="store_true", help="wide column output (fits IPv6 addresses)")
    options.add_argument("-s", "--csv", action="store_true", help="comma separated values output")
    for option in OPTIONS:
        if option.flags:
            _add_flags(options, option)
    _add_own_options(options)
    options.add_argument("--version", action="version", version=f"otel-tcplife {__version__}")
    return options


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    """Those that tcplife does not have."""
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
    parser.add_argument(
        "--user",
        type=_path,
        metavar="NAME",
        help="become this user (a name or a uid) when tracing has begun, and give all privileges up",
    )
    parser.add_argument("--no-table", action="store_true", help="print no sessions, only export them")
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the prerequisites (kernel, BTF, bcc, privileges, collector) and exit",
    )
    parser.add_argument(
        "--unpin",
        action="store_true",
        help="remove the BPF program that stays in the directory OTEL_PYTHON_TCPLIFE_PIN, and exit",
    )


def _add_flags(parser: argparse.ArgumentParser, option: Option[object]) -> None:
    """Those of an option, of which the user may give one only."""
    group = parser.add_mutually_exclusive_group()
    for flag in option.flags:
        text = flag.help or option.help
        if flag.value is None:
            metavar = flag.spellings[-1].lstrip("-").upper()
            group.add_argument(*flag.spellings, dest=option.name, metavar=metavar, help=text)
        else:
            group.add_argument(*flag.spellings, dest=option.name, action="store_const", const=flag.value, help=text)


def _command(arguments: argparse.Namespace) -> int:
    forget_empty_variables()
    warn_of_unknown_variables()
    if arguments.unpin:
        from otel_tcplife.probe.unpin import unpin

        show(printable(unpin(PIN.read(os.environ))))
        return STOPPED
    options = _options(arguments)
    if arguments.check or arguments.replay or arguments.user or PIN.read(os.environ):
        return _checked_and_run(arguments, options, lambda: _source(arguments, options))
    # The import of what exports takes as long as this. Not where the user is to be another one: ids are those of all
    # threads. Nor where a program stays: bad usage must not replace that
    from otel_tcplife.probe.live import open_live_source
    from otel_tcplife.probe.opening import OpeningSource

    with OpeningSource(lambda: open_live_source(options)) as opening:
        return _checked_and_run(arguments, options, opening.take)


def _checked_and_run(arguments: argparse.Namespace, options: Options, open_source: Callable[[], Source]) -> int:
    """Find out all that can be wrong before the source is used, and do what is asked for."""
    from otel_tcplife.alive import Alive
    from otel_tcplife.delivery_options import ALIVE_FILE
    from otel_tcplife.host_agent import limits_of_command, run
    from otel_tcplife.pipeline.destinations import read_destinations
    from otel_tcplife.privileges import acting_as, become, find_user

    user = find_user(arguments.user) if arguments.user else None
    with acting_as(user):
        destinations = read_destinations(arguments.otlp_file)
    limits = limits_of_command()
    if arguments.check:
        from otel_tcplife.check import check

        return STOPPED if check(options, destinations, user, lambda line: show(printable(line))) else CANNOT_TRACE
    if arguments.replay and options.filters != Filters():
        raise BadUsage("--replay takes all sessions of a recording", f"leave out {' and '.join(_filters(options))}")
    with acting_as(user):
        alive = Alive(ALIVE_FILE.read(os.environ))
    source = open_source()
    try:
        become(user, uses_maps=not arguments.replay)
        run(arguments, source, destinations, limits, options.logs, alive)
    finally:
        source.close()
    return STOPPED


def _filters(options: Options) -> Iterator[str]:
    """The filters that are chosen, as the user may have chosen them."""
    for option in OPTIONS:
        if getattr(options.filters, option.name, None) != getattr(Filters, option.name, None):
            yield " or ".join([*(flag.spellings[0] for flag in option.flags), *filter(None, [option.variable])])


def _source(arguments: argparse.Namespace, options: Options) -> Source:
    """Imported where it is needed only."""
    if arguments.replay:
        from otel_tcplife.replay.source import ReplaySource

        return ReplaySource(arguments.replay, Networks(options.networks))
    from otel_tcplife.probe.live import open_live_source, open_pinned_source

    directory = PIN.read(os.environ)
    return open_pinned_source(directory, options) if directory else open_live_source(options)


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name")
    return text


def _options(arguments: argparse.Namespace) -> Options:
    flags = {option.name: option.flags[0].spellings[0] for option in OPTIONS if option.flags}
    chosen: dict[str, object] = {name: getattr(arguments, name) for name in flags}
    return read_options({"scope": Scope.HOST, **chosen}, names=flags)
