"""All that is sent through Kafka comes out once, in messages that it takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fleet.kafka import kafka
from tests.support.collector import FLEET, Collector
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.patience import eventually
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.traffic import Traffic


def test_each_record_and_the_metrics_come_through(fleet_collector: Path, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    traffic = Traffic()

    def logs() -> list[ReceivedLog]:
        return traffic.of(read_otlp_json_lines(upstream / "logs.jsonl", growing=True).logs)

    with kafka(tmp_path / "kafka") as brokers, FileReceiver(upstream) as receiver:
        environ = {
            "OTEL_TCPLIFE_COLLECTOR_BROKERS": brokers,
            "OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": receiver.endpoint,
        }
        with Collector(
            tmp_path / "producer", config=FLEET / "kafka-producer.yaml", binary=fleet_collector, env=environ
        ) as producer:
            with HostAgent(["--no-table"], {"OTEL_EXPORTER_OTLP_ENDPOINT": producer.http_endpoint}) as agent:
                made = traffic.sessions(3000)
                assert agent.stop() == 0
            with Collector(
                tmp_path / "consumer",
                config=FLEET / "kafka-consumer.yaml",
                binary=fleet_collector,
                env=environ,
                listens=False,
            ):
                eventually(lambda: len(logs()) >= made)
                eventually(lambda: read_otlp_json_lines(upstream / "metrics.jsonl", growing=True).points)
    assert {*Counter(log.ports for log in logs()).values()} == {1}
    assert len(logs()) == made
    assert {log.event_name for log in logs()} == {"tcplife.session.closed"}
    counted = [
        point
        for point in read_otlp_json_lines(upstream / "metrics.jsonl").points
        if point.name == "tcplife.session.duration"
    ]
    assert sum(point.count or 0 for point in counted) >= made
    traffic.close()
