"""What log records cost on their way into ClickHouse: python -m tests.fleet.measure_clickhouse [HOSTS].

The recordings are those of measure.py. The engine is chDB, whose size on disk is that of ClickHouse; its time is not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.fleet.clickhouse import ClickHouse
from tests.fleet.measure import SESSIONS, cpu, processes, recording_of, send
from tests.support.collector import FLEET, Collector, otelcol

_ROWS = "SELECT count() AS rows FROM otel_logs"
_SIZE = "SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE table = 'otel_logs' AND active"


def main(hosts: int) -> None:
    """Measure, and print a row for each figure."""
    binary = otelcol(FLEET / "manifest.yaml")
    records = hosts * SESSIONS
    with tempfile.TemporaryDirectory() as directory, ClickHouse(Path(directory) / "store") as store:
        place = Path(directory)
        for number in range(hosts):
            (place / f"host-{number}").write_text(recording_of(number))
        before = {*processes()}
        config = FLEET / "clickhouse.yaml"
        with Collector(place / "collector", config=config, binary=binary, env=store.environ) as collector:
            [process] = (each for each in processes() if each not in before)
            began = cpu(process)
            send(place, hosts, collector.http_endpoint)
            while store.query(_ROWS)[0]["rows"] < records:
                time.sleep(0.5)
            print(f"{(cpu(process) - began) / records * 1e6:6.1f} us of CPU a record: the Collector")
        assert store.query(_ROWS) == [{"rows": records}]
        store.run("OPTIMIZE TABLE otel_logs FINAL")
        print(f"{store.query(_SIZE)[0]['size'] / records:6.1f} bytes a record in otel_logs")


if __name__ == "__main__":
    main(int(next(iter(sys.argv[1:]), 40)))
