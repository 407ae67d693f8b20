"""Interim reports of sessions that go on."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, last_points, read_otlp_json_lines

_PROGRESS, _CLOSED = "tcplife.session.progress", "tcplife.session.closed"


def _logs(directory: Path, session: Session, event: str) -> list[ReceivedLog]:
    """What was reported of the client's end."""
    path = directory / "logs.jsonl"
    logs = read_otlp_json_lines(path, growing=True).logs if path.exists() else []
    ports = session.client_port, session.server_port
    return [log for log in logs if log.ports == ports and not log.is_elsewhere and log.event_name == event]


def _wait_for(directory: Path, session: Session, reports: int) -> None:
    while len(_logs(directory, session, _PROGRESS)) < reports:
        time.sleep(0.05)


def test_a_session_is_reported_while_it_goes_on_and_counted_once(tmp_path: Path) -> None:
    environment = {"OTEL_PYTHON_TCPLIFE_INTERIM": "0.4"}
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        with HostAgent(["--otlp-file", str(tmp_path)], environment) as agent:
            session.open()
            session.exchange(1000, 10)
            _wait_for(tmp_path, session, 2)
            session.exchange(500, 0)
            client.tell("close", "c")
            assert server.tell("receive", "s", 1) == 0
            server.tell("close", "s")
            agent.stop()
    reports, [closed] = _logs(tmp_path, session, _PROGRESS), _logs(tmp_path, session, _CLOSED)
    durations = [float(log.attributes["tcplife.session.duration"]) for log in [*reports, closed]]
    assert durations == sorted(set(durations))
    assert durations[0] >= 0.4
    for report in reports:
        wanted = {"process.pid": client.pid, "tcplife.comm": CLIENT, "tcplife.role": "client"}
        assert {key: report.attributes.get(key) for key in wanted} == wanted
        assert not {"tcplife.close.reason", "error.type"} & report.attributes.keys()
        assert " still open after " in report.body
    [number] = {str(log.attributes["tcplife.session.id"]) for log in [*reports, closed]}
    assert re.fullmatch("[0-9a-f]{16}", number)
    first = reports[0].attributes
    assert (first["tcplife.bytes.sent"], first["tcplife.bytes.received"]) == (1000, 10)
    assert (closed.attributes["tcplife.bytes.sent"], closed.attributes["tcplife.bytes.received"]) == (1500, 10)
    _counted_once(tmp_path, agent)


def _counted_once(directory: Path, agent: HostAgent) -> None:
    """The histograms have the ends alone, as the table does; the balance has the reports apart."""
    logs = read_otlp_json_lines(directory / "logs.jsonl").logs
    ends = [log for log in logs if log.event_name == _CLOSED]
    points = read_otlp_json_lines(directory / "metrics.jsonl").points
    io = last_points(points, "tcplife.session.io")
    for direction, attribute in (("transmit", "tcplife.bytes.sent"), ("receive", "tcplife.bytes.received")):
        mine = [point for point in io if point.attributes["network.io.direction"] == direction]
        sizes = [int(log.attributes[attribute]) for log in ends if attribute in log.attributes]
        assert sum(point.count or 0 for point in mine) == len(sizes)
        assert sum(point.sum or 0 for point in mine) == sum(sizes)
    failed = [log for log in logs if log.event_name == "tcplife.connect.failed"]
    assert len(agent.printed) - 1 == len(ends) + len(failed)
    reports = len(logs) - len(ends) - len(failed)
    assert any(f"and {reports} interim reports" in line for line in agent.said)
    assert f"otel-tcplife: file: {len(logs)} exported" in agent.said


def test_without_the_option_there_are_none(tmp_path: Path) -> None:
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        with HostAgent(["--otlp-file", str(tmp_path)]):
            session.open()
            client.tell("close", "c")
            server.tell("close", "s")
    assert len(_logs(tmp_path, session, _CLOSED)) == 1
    assert not [log for log in read_otlp_json_lines(tmp_path / "logs.jsonl").logs if log.event_name == _PROGRESS]
