"""Log records of connections have the trace and the span in which the application connected, and no others have any."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.plugin.traced import Receiver, Traced, wait_until
from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.received import ReceivedLog

_PROGRAM = ("-m", "tests.plugin.spans_main")
_NOWHERE = ("", "", 0)
_SAMPLED = 1
"""The bit of the flags of W3C Trace Context; the SDK may set others."""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


def _connected_in(receiver: Receiver, export: str, **environ: str) -> tuple[dict[int, list[str]], list[ReceivedLog]]:
    """Trace and span of each connection by its port, and the records that came.

    Where the kernel did not run the BPF program for the whole end of a connection, there is no record of it. The tracer
    then counts it as lost, or as still open; such connections are left out of both.
    """
    environ["OTEL_METRIC_EXPORT_INTERVAL"] = "1000"
    with Traced(*_PROGRAM, receiver=receiver, export=export, environ=environ) as app:
        app.wait_for("done")
        made = {port: where for port, *where in app.all_told("connected")}
        wait_until(
            lambda: len(_missing(made, receiver)) <= _without_end(receiver),
            lambda: f"not reported: {_missing(made, receiver)} of {made}",
        )
        assert app.end() == 0
        assert not app.said
    for helper in helpers_of(app.pid):
        wait_until_ended(helper)
    missing = _missing(made, receiver)
    assert len(missing) <= _without_end(receiver)
    return {port: where for port, where in made.items() if port not in missing}, receiver.logs()


def _missing(ports: Collection[int], receiver: Receiver) -> set[int]:
    """Those that no record is of."""
    return set(ports) - {log.ports[0] for log in receiver.logs()}


def _without_end(receiver: Receiver) -> int:
    """How many sessions the tracer says to be lost or open, when it last said so."""
    points = [
        point for point in receiver.points() if point.name in ("tcplife.session.active", "tcplife.probe.sessions")
    ]
    latest = {(point.name, point.attributes.get("tcplife.outcome")): int(point.value or 0) for point in points}
    return latest.get(("tcplife.session.active", None), 0) + latest.get(("tcplife.probe.sessions", "not_followed"), 0)


@pytest.mark.parametrize("export", ["providers", "helper"])
@pytest.mark.parametrize("protocol", ["http/protobuf"])
def test_each_record_has_the_span_in_which_it_was_connected(export: str, protocol: str, receiver: Receiver) -> None:
    made, logs = _connected_in(receiver, export, OTEL_PYTHON_TCPLIFE_TRACE_CONTEXT="true")
    of_clients = [log for log in logs if log.attributes["tcplife.role"] == "client"]
    assert sorted(log.ports[0] for log in of_clients) == sorted(made)
    for log in of_clients:
        assert [log.trace_id, log.span_id] == made[log.ports[0]], log.body
        assert log.flags & _SAMPLED == bool(log.trace_id)
    assert len({log.span_id for log in of_clients}) > 10
    of_servers = [log for log in logs if log not in of_clients]
    assert len(of_servers) > len(made) / 2
    assert {(log.trace_id, log.span_id, log.flags) for log in of_servers} == {_NOWHERE}


@pytest.mark.parametrize("export", ["providers", "helper"])
def test_no_record_has_any_where_that_is_not_asked_for(export: str, receiver: Receiver) -> None:
    _, logs = _connected_in(receiver, export)
    assert {(log.trace_id, log.span_id, log.flags) for log in logs} == {_NOWHERE}
