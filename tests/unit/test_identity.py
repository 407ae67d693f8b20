"""Which of the attributes of an owner a record has: what is not known, or stands there already, is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.session import UNKNOWN
from tests.support.sessions import sessions

_NAMES = {
    "process.pid", "process.creation.time", "process.parent_pid", "process.vpid", "process.user.id",
    "process.real_user.id", "tcplife.socket.user.id",
}  # fmt: skip

Row = Mapping[str, Any]


def _said(row: Row) -> dict[str, Any]:
    batch = sessions(1)
    for column, value in row.items():
        batch[column] = value
    [record] = log_records(batch)
    return {name: value for name, value in (record.attributes or {}).items() if name in _NAMES}


_OF_ROOT = {"pid": 7, "uid": 0, "effective_uid": 0, "real_uid": 0}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, {}),
        ({"pid": 7}, {"process.pid": 7}),  # of a recording, or of an earlier version of the program
        ({"uid": 5}, {"tcplife.socket.user.id": 5}),
        ({"uid": 0, "effective_uid": 0, "real_uid": 0}, {"tcplife.socket.user.id": 0}),  # without an owner
        (_OF_ROOT, {"process.pid": 7, "process.user.id": 0}),
        ({**_OF_ROOT, "uid": 5}, {"process.pid": 7, "process.user.id": 0, "tcplife.socket.user.id": 5}),
        ({**_OF_ROOT, "real_uid": 5}, {"process.pid": 7, "process.user.id": 0, "process.real_user.id": 5}),
        ({**_OF_ROOT, "real_uid": UNKNOWN}, {"process.pid": 7, "process.user.id": 0}),
        ({**_OF_ROOT, "uid": UNKNOWN}, {"process.pid": 7, "process.user.id": 0}),
        ({"pid": 7, "parent_pid": 1, "vpid": 3}, {"process.pid": 7, "process.parent_pid": 1, "process.vpid": 3}),
        ({"pid": 7, "vpid": 7}, {"process.pid": 7}),
        (
            {"pid": 7, "created_at": 1_700_558_734_853_999_999},
            {"process.pid": 7, "process.creation.time": "2023-11-21T09:25:34.853Z"},
        ),
        (
            {"pid": 7, "created_at": 951_782_400_000_000_000},
            {"process.pid": 7, "process.creation.time": "2000-02-29T00:00:00.000Z"},
        ),
    ],
)
def test_what_is_said(row: Row, said: dict[str, Any]) -> None:
    assert _said(row) == said


def test_each_process_has_its_own_time() -> None:
    batch = sessions(4)
    batch["created_at"] = [2 * 10**9, 0, 10**9, 2 * 10**9]
    times = [(record.attributes or {}).get("process.creation.time") for record in log_records(batch)]
    assert times == ["1970-01-01T00:00:02.000Z", None, "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z"]
