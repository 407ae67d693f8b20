"""Sessions that are left out, in the kernel or before they are encoded: what is left of them is a count."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.elsewhere import ADDRESS, CLOSED_PORT, NETWORK, PORT, Elsewhere
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.received import ReceivedLog, ReceivedPoint, last_points, read_otlp_json_lines
from tests.support.traffic import Traffic

_PREFIX = "OTEL_PYTHON_TCPLIFE_"


@dataclass
class Told:
    """What came of a run: the records, the last data points, and the balance that was printed."""

    logs: list[ReceivedLog]
    points: list[ReceivedPoint]
    agent: HostAgent

    def balance(self, what: str) -> dict[str, int]:
        """The numbers of its line about this."""
        [told] = [found[1] for line in self.agent.said if (found := re.fullmatch(rf"otel-tcplife: {what}: (.*)", line))]
        return {outcome: int(count) for count, outcome in re.findall(r"(\d+) (\w+)", told)}

    @property
    def seen(self) -> dict[str, int]:
        """The outcomes in the kernel, which are those of all that it has seen to end."""
        outcomes = self.balance(r"\d+ sessions ended")
        [seen] = [int(found[1]) for line in self.agent.said if (found := re.search(r"(\d+) sessions ended", line))]
        outcomes.pop("state", None)  # of changes that were missed, which are no outcome
        assert sum(outcomes.values()) == seen
        return outcomes

    def counted(self, metric: str, network: str, **others: str) -> int:
        """How many sessions whose peer is in this network the last export of a histogram has."""
        wanted = {"tcplife.peer.network": network, **{name.replace("_", "."): value for name, value in others.items()}}
        points = [point for point in last_points(self.points, metric) if wanted.items() <= point.attributes.items()]
        return sum(point.count or 0 for point in points)

    def outcomes(self, exporter: str) -> dict[str, int]:
        """Those of an exporter's records, by the metrics."""
        return {
            str(point.attributes["tcplife.outcome"]): int(point.value or 0)
            for point in last_points(self.points, "tcplife.export.records")
            if point.attributes["tcplife.exporter"] == exporter
        }


class _Run:
    """An agent that exports by OTLP and into files, in the `with` block; what came of it, after that."""

    told: dict[str, Told]


@contextmanager
def _running(directory: Path, environ: Mapping[str, str], *arguments: str) -> Generator[_Run]:
    run, files, received = _Run(), directory / "files", directory / "received"
    received.mkdir()
    variables = {f"{_PREFIX}{name}": value for name, value in environ.items()}
    with FileReceiver(received) as receiver:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        with HostAgent(["--otlp-file", str(files), *arguments], variables) as agent:
            yield run
            assert agent.stop() == 0
    paths = {"file": files, "otlp": received}
    run.told = {
        name: Told(
            read_otlp_json_lines(path / "logs.jsonl").logs, read_otlp_json_lines(path / "metrics.jsonl").points, agent
        )
        for name, path in paths.items()
    }


def test_sessions_with_a_loopback_peer_are_filtered_in_both_signals(elsewhere: Elsewhere, tmp_path: Path) -> None:
    lab = f"lab-{uuid.uuid4().hex}"
    made = 0
    with _running(tmp_path, {"LOOPBACK": "false", "NETWORKS": f"{NETWORK}={lab}"}) as run:
        for address in ("127.0.0.1", "127.99.1.2", "::1"):
            made += 2 * len(elsewhere.sessions(2, address=address))
        for host in ("127.0.0.1", "::1"):
            traffic = Traffic(host)
            made += traffic.sessions(3)
            traffic.close()
        kept = elsewhere.sessions(4)
    for told in run.told.values():
        assert not [log for log in told.logs if log.attributes["tcplife.peer.network"] == "loopback"]
        assert told.counted("tcplife.session.duration", "loopback") == 0
        assert told.counted("tcplife.session.duration", lab) == 2 * len(kept)
        mine = [log for log in told.logs if log.attributes.get("tcplife.netns") == elsewhere.inode]
        assert len(mine) == 2 * len(kept)
        assert {port for log in mine for port in log.ports} == {*kept, PORT}
        assert told.seen["filtered"] >= made
        assert told.seen["submitted"] == sum(told.balance("otlp").values()) == sum(told.balance("file").values())


def test_a_sample_has_whole_connections_and_all_errors(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """The chance that it has none of them or all, and this fails, is 1 in 2 ** 59."""
    lab = f"lab-{uuid.uuid4().hex}"
    options = {"NETWORKS": f"{NETWORK}={lab}", "PEER_NETWORKS": lab, "LOG_SAMPLE": "0.5", "COMMUNITY_ID": "true"}
    with _running(tmp_path, options) as run:
        made, refused = elsewhere.sessions(60), elsewhere.refused(3)
    for name, told in run.told.items():
        failed = [log for log in told.logs if log.event_name == "tcplife.connect.failed"]
        assert {log.ports for log in failed} == {(port, CLOSED_PORT) for port in refused}
        assert not [log for log in failed if "tcplife.sampling.ratio" in log.attributes]
        kept = [log for log in told.logs if log.event_name == "tcplife.session.closed"]
        assert {log.attributes["tcplife.sampling.ratio"] for log in kept} == {0.5}
        ends = Counter(frozenset(log.ports) for log in kept)
        assert {*ends} < {frozenset((port, PORT)) for port in made}
        assert {*ends.values()} == {2}
        assert len({log.attributes["network.community_id"] for log in kept}) == len(ends)
        assert told.counted("tcplife.session.duration", lab) == 2 * len(made)
        assert told.counted("tcplife.handshake.duration", lab, error_type="ECONNREFUSED") == len(refused)
        balance = told.balance(name)
        assert balance == {"exported": len(told.logs), "unselected": told.seen["submitted"] - len(told.logs)}
        assert told.outcomes(name) == balance
        assert balance["unselected"] >= 2 * (len(made) - len(ends))
    by_file, by_otlp = ({log.ports for log in told.logs} for told in run.told.values())
    assert by_file == by_otlp


def test_size_and_errors_decide_and_the_table_shows_all(elsewhere: Elsewhere, tmp_path: Path) -> None:
    lab = f"lab-{uuid.uuid4().hex}"
    options = {"NETWORKS": f"{NETWORK}={lab}", "PEER_NETWORKS": lab, "LOG_MIN_BYTES": "1000"}
    with _running(tmp_path, options) as run:
        small, large = elsewhere.sessions(5, sent=999), elsewhere.sessions(4, sent=1000)
        refused = elsewhere.refused(2)
    for told in run.told.values():
        ends = Counter(log.ports for log in told.logs)
        wanted = [(port, PORT) for port in large] + [(PORT, port) for port in large]
        assert ends == Counter([*wanted, *((port, CLOSED_PORT) for port in refused)])
        assert told.counted("tcplife.session.io", lab, network_io_direction="transmit") == 2 * len(small | large)
        rows = Counter(tuple(row[-7:-3]) for row in told.agent.rows() if ADDRESS in row)
        assert sum(rows.values()) == 2 * len(small | large) + len(refused)


def test_errors_of_an_executable_alone_by_their_names(elsewhere: Elsewhere, tmp_path: Path) -> None:
    options = {
        "LOG_ERRORS_ONLY": "true",
        "EXECUTABLES": f"no-such-program,{elsewhere.client.executable}",
        "EVENT_NAME_ATTRIBUTE": "true",
    }
    with _running(tmp_path, options, "--no-table") as run:
        elsewhere.sessions(3)
        refused = elsewhere.refused(2)
    for told in run.told.values():
        assert {log.attributes["process.executable.name"] for log in told.logs} == {elsewhere.client.executable}
        assert all("error.type" in log.attributes for log in told.logs)
        assert all(log.attributes["otel.event.name"] == log.event_name for log in told.logs)
        mine = [log for log in told.logs if log.attributes.get("tcplife.netns") == elsewhere.inode]
        assert Counter(log.ports for log in mine) == Counter((port, CLOSED_PORT) for port in refused)
