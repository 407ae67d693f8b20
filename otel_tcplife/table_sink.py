"""The table on standard output, as a sink: a terminal that stands still holds up nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.session import SessionBatch, ended
from otel_tcplife.table import Table, TableOptions
from otel_tcplife.terminal import give_up_output


class TableSink:
    """Prints a line for each session that has ended."""

    name = "table"
    task = "print the table"
    max_export_batch_size = 4096

    def __init__(self, options: TableOptions, deadline: Deadline) -> None:
        """Print the header. When nobody reads any more, the deadline is set, as in `otel-tcplife | head`."""
        self._deadline = deadline
        self._failures = FailureLog(self.task)
        self._table = Table(options, self._write)
        self._table.header()

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Print the sessions."""
        self._table.rows(ended(batch))
        return {Outcome.EXPORTED: len(batch)}

    def shutdown(self, deadline: Deadline) -> None:
        """Every line is printed already."""

    def _write(self, text: str) -> None:
        encoding = str(sys.stdout.encoding) if sys.stdout else "utf-8"  # None where standard output is closed
        try:
            # A process chooses its comm, which must not end the table where the terminal lacks a letter of it
            print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
        except BrokenPipeError:
            give_up_output()
            self._deadline.set()
        except OSError as error:
            self._failures.failed(error.strerror or str(error), "the export goes on")
        else:
            self._failures.recovered()
