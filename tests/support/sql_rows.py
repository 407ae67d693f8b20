"""Rows of the views in docs/sql/, against the log records that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_tcplife.conventions import ATTRIBUTES
from tests.support.received import ReceivedLog


def check_rows(rows: Sequence[dict[str, Any]], written: Sequence[ReceivedLog]) -> None:
    """Each record is one row, with all that it has; `ns` is the time of a row as OTLP has it."""
    logs = {(log.body, log.time_unix_nano): log for log in written}
    assert len(rows) == len(written) == len(logs)
    for row in rows:
        log = logs[row["body"], row["ns"]]
        assert (row["event"], row["severity"]) == (log.event_name, log.severity_text)
        assert row["host_name"] == log.resource["host.name"]
        known = {each.name: row[each.name.replace(".", "_")] for each in ATTRIBUTES}
        assert {name: value for name, value in known.items() if value is not None} == log.attributes
