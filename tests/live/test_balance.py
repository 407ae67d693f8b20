"""Sessions seen to end = exported + each counted loss, whatever is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.background_process import refusing_port
from tests.support.host_agent import HostAgent
from tests.support.other_sessions import others
from tests.support.otlp_receiver import PROTOBUF, Answer, HttpReceiver, Request, partial_success
from tests.support.received import last_points, read_otlp_json_lines, read_requests
from tests.support.traffic import Traffic


def _told(agent: HostAgent, what: str) -> dict[str, int]:
    """The numbers of the line of the balance about this."""
    [told] = [found[1] for line in agent.said if (found := re.fullmatch(rf"otel-tcplife: {what}: (.*)", line))]
    return {outcome: int(count) for count, outcome in re.findall(r"(\d+) (\w+)", told)}


def _seen(agent: HostAgent) -> int:
    [count] = [int(found[1]) for line in agent.said if (found := re.search(r"(\d+) sessions ended", line))]
    return count


@pytest.mark.parametrize(
    ("variable", "loss"),
    [("OTEL_PYTHON_TCPLIFE_RING_BYTES", "ring_full"), ("OTEL_PYTHON_TCPLIFE_MAX_SESSIONS", "map_full")],
)
def test_what_the_kernel_loses_is_counted(variable: str, loss: str, tmp_path: Path) -> None:
    """Though others may have sessions open all the time, there is room for some of these, but not for all."""
    traffic = Traffic()
    room = len(others(own=0).sessions) + 8
    size = 4096 if loss == "ring_full" else room
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {variable: str(size)}) as agent:
        open_at_once = [traffic.open() for _ in range(max(50, room))]
        for pair in open_at_once:
            for end in pair:
                end.close()
        made = 2 * len(open_at_once) + traffic.sessions(100)
        agent.stop()
    traffic.close()
    kernel, file = _told(agent, r"\d+ sessions ended"), _told(agent, "file")
    assert kernel[loss] > 0
    assert kernel["submitted"] > 0
    assert sum(kernel.values()) == _seen(agent) >= made
    assert file == {"exported": kernel["submitted"]}
    received = read_otlp_json_lines(tmp_path / "logs.jsonl")
    assert len(received.logs) == kernel["submitted"]
    points = last_points(read_otlp_json_lines(tmp_path / "metrics.jsonl").points, "tcplife.probe.sessions")
    probe = {point.attributes["tcplife.outcome"]: point.value for point in points}
    assert {outcome: value for outcome, value in probe.items() if value} == kernel


def test_a_session_that_nobody_had_accepted_when_tracing_began_is_counted_as_not_followed(tmp_path: Path) -> None:
    """No process has its descriptor, so that nobody can be found to own it."""
    traffic = Traffic()
    client = traffic.connect()
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]) as agent:
        traffic.accept().close()
        client.close()
        made = traffic.sessions(3)
        agent.stop()
    traffic.close()
    kernel = _told(agent, r"\d+ sessions ended")
    assert kernel["not_followed"] >= 1
    assert kernel["submitted"] > made  # the client's end was adopted
    assert sum(kernel.values()) == _seen(agent)


_ANSWERS: dict[str, Callable[[int, int], Answer]] = {
    "rejects some of each request": lambda _, records: Answer(200, PROTOBUF, partial_success(min(records, 3))),
    "refuses each request": lambda _, records: Answer(400),
    "is busy at first": lambda number, _: Answer(503 if number < 1 else 200, PROTOBUF),
}
"""From the number of a request of logs, from 0, and that of its records."""


class _Receiver(HttpReceiver):
    """Answers requests of logs like this, and takes all metrics."""

    def __init__(self, answer: Callable[[int, int], Answer]) -> None:
        super().__init__()
        self._answer, self._count = answer, 0
        self.records = 0
        """Records in requests that were answered with 200, rejected ones included."""
        self.seen = 0
        """Records in all requests, those of a request that comes again counted again."""

    def answer_to(self, request: Request) -> Answer:
        if request.signal != "logs":
            return self.answer
        records = len(read_requests([request.as_json()]).logs)
        answer = self._answer(self._count, records)
        self._count += 1
        self.seen += records
        if answer.status == 200:
            self.records += records
        return answer


@pytest.mark.parametrize("name", _ANSWERS)
def test_what_a_receiver_rejects_is_counted(name: str) -> None:
    traffic = Traffic()
    with _Receiver(_ANSWERS[name]) as receiver:
        with HostAgent(["--no-table"], {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}) as agent:
            made = traffic.sessions(20)
            while (receiver.seen if name == "refuses each request" else receiver.records) < made:
                time.sleep(0.01)  # a machine that is busy may need longer than the stop waits for
            assert agent.stop() == 0
        traffic.close()
        kernel, otlp = _told(agent, r"\d+ sessions ended"), _told(agent, "otlp")
        assert made <= kernel["submitted"] == sum(otlp.values())
        if name == "refuses each request":
            assert otlp == {"rejected": kernel["submitted"]}
            assert receiver.records == 0
        else:
            assert otlp["exported"] + otlp.get("rejected", 0) == receiver.records
            assert (otlp.get("rejected", 0) >= 3) == name.startswith("rejects")


def test_a_receiver_that_is_away_is_told_once_and_holds_up_no_stop() -> None:
    traffic = Traffic()
    with (
        refusing_port() as port,
        HostAgent(["--no-table"], {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}) as agent,
    ):
        made = traffic.sessions(5)
        assert agent.stop() == 0
    traffic.close()
    assert _told(agent, "otlp") == {"unsent": _told(agent, r"\d+ sessions ended")["submitted"]}
    assert _told(agent, "otlp")["unsent"] >= made
    troubles = [line for line in agent.said if "cannot" in line]
    assert [line.partition(": cannot ")[2].split(" to ")[0] for line in sorted(troubles)] == [
        "export logs", "export metrics",
    ]  # fmt: skip
    assert not any("Traceback" in line for line in agent.said)
