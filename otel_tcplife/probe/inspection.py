"""For the curious: the C program as this kernel gets it, and the rows as they come out of it."""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from otel_tcplife import environment_variables
from otel_tcplife.command_line import CANNOT_TRACE, STOPPED, Parser, exit_code_of
from otel_tcplife.log import logger
from otel_tcplife.options import Options, Scope, read_options
from otel_tcplife.printable import printable
from otel_tcplife.probe.compiler import text_of_kernel
from otel_tcplife.probe.live import open_live_source
from otel_tcplife.probe.loader import possible_cpus
from otel_tcplife.probe.program import chosen_text
from otel_tcplife.session import SessionBatch
from otel_tcplife.terminal import give_up_output

_DESCRIPTION = """Show the C program as this kernel gets it, or the rows as they come out of it.

The variables OTEL_PYTHON_TCPLIFE_* choose what is traced, as for the command otel-tcplife. With OTEL_LOG_LEVEL=debug,
all that the compiler and the kernel's verifier say is shown.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what is asked for; return the exit code."""
    return exit_code_of(lambda: _inspect(_parser().parse_args(arguments)))


def _inspect(chosen: argparse.Namespace) -> int:
    try:
        if chosen.what == "program":
            print(program(read_options({"scope": chosen.scope}, names={"scope": "--scope"})), flush=True)
        else:
            _dump(read_options({"scope": Scope.HOST}))
    except BrokenPipeError:  # the reader has what it wanted, as in `... program | head`
        give_up_output()
    except OSError as error:
        give_up_output()
        logger.error("cannot print: %s", error.strerror or error)
        return CANNOT_TRACE
    return STOPPED


def program(options: Options) -> str:
    """The program that the command, or with scope `process` the plugin, would have compiled. Raise CannotTrace."""
    is_command = options.scope is Scope.HOST
    chosen = chosen_text(options, cpus=possible_cpus(), hide_tracer=is_command)
    return text_of_kernel(chosen).hooks


def json_lines(batch: SessionBatch) -> Iterator[str]:
    """Each row with all of its columns: numbers as they are, addresses and names as text."""
    columns: Mapping[str, list[Any]] = {name: batch[name].tolist() for name in batch.dtype.names or ()}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        for name in ("local_address", "peer_address"):
            packed = bytes(row[name])
            row[name] = inet_ntop(AF_INET, packed[12:]) if row["ip_version"] == 4 else inet_ntop(AF_INET6, packed)
        for name in ("comm", "executable"):
            row[name] = printable(row[name].decode("utf-8", "replace"))
        yield json.dumps(row)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m otel_tcplife.probe",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="what", metavar="program|dump", required=True)
    showing = commands.add_parser("program", help="print the C program as this kernel gets it")
    showing.add_argument(
        "--scope",
        default=Scope.HOST.value,
        help=f"host (default), as the command has it, or process, as the plugin does; "
        f"{environment_variables.OTEL_PYTHON_TCPLIFE_SCOPE} is not read",
    )
    commands.add_parser("dump", help="trace this host until Ctrl-C, and print each row as a line of JSON")
    return parser


def _dump(options: Options) -> None:
    """Print each row as it comes, until a signal or until nobody reads. Raise CannotTrace, and OSError of printing."""
    source = open_live_source(options)
    stopped: list[int] = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: stopped.append(number))
        logger.info("tracing; each row is a line of JSON")
        while not stopped:
            _print(source.read())
            if source.wants_scan:  # the reports come as the others
                for _ in source.open_sessions():
                    pass
            time.sleep(source.pause)
        _print(source.drain())
        stats = source.stats()
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in stats.outcomes.items() if count)
        logger.info("%d sessions ended%s", stats.seen, f": {outcomes}" if outcomes else "")
    finally:
        source.close()


def _print(batch: SessionBatch) -> None:
    if len(batch):
        print(*json_lines(batch), sep="\n", flush=True)
