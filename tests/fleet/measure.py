"""What many hosts cost on their way through gateways and Kafka into a store: python -m tests.fleet.measure [HOSTS].

Each host is a recording of 5,000 sessions that the command replays; so many run at the same time as keep this machine
busy. The CPU is the user and system time of each program, for each record that has come through. The bytes of a request
are those of sessions that were traced, whose records have more attributes.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from tests.fleet.kafka import kafka
from tests.support.collector import FLEET, Collector, otelcol
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.otlp_receiver import HttpReceiver
from tests.support.received import read_requests
from tests.support.traffic import Traffic
from tests.support.victoria import VictoriaLogs, victoria_logs

SESSIONS = 5000
"""Of each host."""
_TRACED = 2000
_AT_ONCE = 8
_TICKS = os.sysconf("SC_CLK_TCK")
_PROGRAMS = ("nginx", "postgres", "redis-server", "python3.11", "envoy", "curl", "java", "sshd")


def main(hosts: int) -> None:
    """Measure, and print a row for each program."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        place = Path(directory)
        _request_sizes(place)
        for number in range(hosts):
            (place / f"host-{number}").write_text(recording_of(number))
        binary, store_binary = otelcol(FLEET / "manifest.yaml"), victoria_logs()
        assert binary
        assert store_binary
        before = {*processes()}
        brokers = running.enter_context(kafka(place / "kafka"))
        store = running.enter_context(VictoriaLogs(store_binary, place / "store"))
        environ = {
            "OTEL_TCPLIFE_COLLECTOR_BROKERS": brokers,
            "OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": f"{store.url}/insert/opentelemetry",
        }

        def collector(name: str, **more: str) -> Collector:
            listens = name != "kafka-consumer"
            config = FLEET / f"{name}.yaml"
            made = Collector(place / name, config=config, binary=binary, env={**environ, **more}, listens=listens)
            return running.enter_context(made)

        producer = collector("kafka-producer")
        backends = f"[{producer.grpc_endpoint.removeprefix('http://')}]"
        gateway = collector("gateway", OTEL_TCPLIFE_COLLECTOR_BACKENDS=backends)
        collector("kafka-consumer")
        programs = [process for process in processes() if process not in before]
        with _replays() as by_hosts:
            began = time.monotonic()
            send(place, hosts, gateway.http_endpoint)
            records = hosts * SESSIONS
            while (stored := _stored(store)) < records:
                time.sleep(0.2)
            elapsed = time.monotonic() - began
        assert stored == records
        print(f"{records} records of {hosts} hosts in {elapsed:.0f} s, {records / elapsed:.0f} a second")
        print(f"  {by_hosts[0] / records * 1e6:6.1f} us of CPU a record: the hosts, with their start")
        _report(programs, place, records)


def _request_sizes(place: Path) -> None:
    """What a record takes in requests: of sessions that were traced, and of a host's recording."""
    recording = place / "recording"
    recording.write_text(recording_of(0))
    for compression in ("none", "gzip"):
        for what in ("traced", "replayed"):
            with HttpReceiver() as receiver:
                environ = {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                    "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
                    "OTEL_METRICS_EXPORTER": "none",
                }
                if what == "traced":
                    _trace(environ)
                else:
                    _replay(recording, environ)
                requests = [request for request in receiver.requests if request.signal == "logs"]
            records = len(read_requests(request.as_json() for request in requests).logs)
            size = sum(len(request.body) for request in requests) / records
            print(f"{size:6.0f} bytes a record, {what}, compression {compression}")


def _trace(environ: dict[str, str]) -> None:
    """Sessions of this process with itself, of many sizes."""
    chance = random.Random(0)
    traffic = Traffic()
    with HostAgent(["--no-table"], environ):
        for _ in range(_TRACED):
            client, server = traffic.open()
            for here, there in ((client, server), (server, client)):
                size = chance.randrange(1, 50000)
                here.sendall(bytes(size))
                there.recv(size, socket.MSG_WAITALL)
            client.close()
            server.close()
    traffic.close()


def _replay(recording: Path, environ: dict[str, str]) -> None:
    command = [COMMAND, "--no-table", "--replay", str(recording)]
    subprocess.run(command, env={**os.environ, **environ}, check=True, capture_output=True)


def _report(programs: list[int], place: Path, records: int) -> None:
    for process in programs:
        print(f"  {cpu(process) / records * 1e6:6.1f} us: {_name(process)}")
    for what, path in (("Kafka", place / "kafka" / "data"), ("the store", place / "store")):
        print(f"  {_size(path) / records:6.1f} bytes a record in {what}")


def recording_of(number: int) -> str:
    """That of the host with this number."""
    chance = random.Random(number)
    lines = ["PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"]
    for _ in range(SESSIONS):
        peer = f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        here = f"10.9.{number // 256}.{number % 256}"
        ports = chance.randrange(32768, 60999), chance.choice((80, 443, 5432, 6379, 9092))
        sizes = chance.randrange(100), chance.randrange(1000)
        who = chance.randrange(1, 40000), chance.choice(_PROGRAMS)
        row = (*who, 4, here, ports[0], peer, ports[1], *sizes, f"{chance.random() * 1e3:.3f}")
        lines.append(",".join(map(str, row)))
    return "\n".join(lines) + "\n"


def send(place: Path, hosts: int, endpoint: str) -> None:
    """Replay the recording of each host, whose files are in this place."""

    def replay(number: int) -> None:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_RESOURCE_ATTRIBUTES": f"host.name=host-{number}",
        }
        _replay(place / f"host-{number}", environ)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(replay, range(hosts)))


@contextmanager
def _replays() -> Generator[list[float]]:
    """The CPU time of what has been started and has ended within the block, once that has."""
    used = [0.0]
    before = getrusage(RUSAGE_CHILDREN)
    yield used
    after = getrusage(RUSAGE_CHILDREN)
    used[0] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _stored(store: VictoriaLogs) -> int:
    store.flush()
    [row] = store.query("* | stats count() as records")
    return int(row["records"])


def processes() -> list[int]:
    """The children of this process that run."""
    own = Path("/proc/self/task")
    return [int(child) for task in own.iterdir() for child in (task / "children").read_text().split()]


def cpu(process: int) -> float:
    """Seconds of user and system time that it has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _name(process: int) -> str:
    words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    return next((Path(word).stem for word in words if word.endswith(".yaml")), Path(words[0]).name)


def _size(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(int(next(iter(sys.argv[1:]), 200)))
