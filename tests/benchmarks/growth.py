"""How the cost of a session end grows: python -m tests.benchmarks.growth [ROUNDS [PICTURE]].

It is measured with the rate of ends, with sessions that are open meanwhile, and with the peers, programs and containers
that they are of. The picture, an SVG, shows the first.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import Entity, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.session import SessionBatch, rows_at
from tests.benchmarks.report import row, spread
from tests.benchmarks.scan import open_sessions
from tests.benchmarks.subjects import Receiver, Running, ours
from tests.support.sessions import sessions

_RATES = (0, 10, 100, 1_000, 10_000, 40_000)
_SECONDS = 5.0
_ROUNDS = 3
_OPEN = (0, 100_000)
_ENDS = 1 << 16
_BATCH = OtlpLogExporter.max_export_batch_size
_REQUEST_BYTES = 1_000_000
_NO_OPTIONS = LogOptions()


class Cost(NamedTuple):
    """CPU of the tracer, logs and metrics, at one rate."""

    rate: float
    """Session ends a second."""
    of_a_core: list[float]
    """Percent, of each round."""

    @property
    def microseconds(self) -> float:
        """Of each end, the median."""
        return sorted(self.of_a_core)[len(self.of_a_core) // 2] / 100 / self.rate * 1e6


def main(rounds: int, picture: Path | None = None) -> None:
    """Measure all of it so many times."""
    with tempfile.TemporaryDirectory() as directory:
        load = Path(directory) / "load"
        subprocess.run(["cc", "-O2", "-pthread", "-o", load, Path(__file__).with_name("load.c")], check=True)
        print("CPU of the tracer, logs + metrics, by session ends a second")
        costs = [_cost(load, rate, rounds) for rate in _RATES]
        for cost in costs:
            each = f"{cost.microseconds:.1f} us each" if cost.rate else ""
            row(f"{cost.rate:,.0f}", f"{spread(cost.of_a_core)} % of a core", each)
        print("the same at 10,000, by session ends that are open")
        for number in _OPEN:
            with open_sessions(number):
                row(f"{number:,}", f"{spread(_cost(load, 10_000, rounds).of_a_core)} % of a core")
    print("CPU of encoding and counting an end, by what they are of")
    for number in (10, 100_000):
        row(f"{number:,} peers", f"{spread([*_counted(peers=number)])} us")
    for number in (1, 2_000):
        row(f"{number:,} programs", f"{spread([*_counted(programs=number)])} us")
    for number in (1, 500):
        row(f"{number:,} containers", f"{spread([*_counted(containers=number)])} us")
    row("10 peers, with the Community ID", f"{spread([*_counted(options=LogOptions(community_id=True))])} us")
    if picture:
        picture.write_text(_svg(costs))
        print(f"the first of these as a picture: {picture}")


def _cost(load: Path, rate: int, rounds: int) -> Cost:
    figures: list[float] = []
    for _ in range(rounds):
        with Receiver() as receiver:
            env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": "300000"}
            with Running(ours("", env)) as running:
                time.sleep(1)  # what it does once
                before = running.cpu_seconds()
                if rate:
                    subprocess.run([load, "1", str(_SECONDS), str(rate / 2)], check=True, capture_output=True)
                    time.sleep(1.2)  # the last of them are exported a second later at most
                else:
                    time.sleep(_SECONDS)
                figures.append((running.cpu_seconds() - before) / _SECONDS * 100)
    return Cost(rate, figures)


def _counted(
    peers: int = 10, programs: int = 1, containers: int = 1, options: LogOptions = _NO_OPTIONS
) -> Iterator[float]:
    batch = _of_many(peers, programs, containers)
    host = Host(lambda cgroup: Entity(f"{cgroup:064x}"))
    resources = Resources(Resource({"host.name": "h"}))
    encoder, aggregator = LogEncoder(resources, host, options), Aggregator(resources, Preference(), {}, host)
    # Each has its series at first, as it has them for long
    aggregator.add(batch)
    for _ in range(_ROUNDS):
        began = time.process_time()
        for first in range(0, _ENDS, _BATCH):
            part = rows_at(batch, np.arange(first, first + _BATCH))
            aggregator.add(part)
            for _ in encoder.requests(encoder.in_order(part), _REQUEST_BYTES):
                pass
        yield (time.process_time() - began) / _ENDS * 1e6


def _of_many(peers: int, programs: int, containers: int) -> SessionBatch:
    """Sessions with so many peers, of so many programs in so many containers, by chance."""
    chance = np.random.default_rng(0)
    batch = sessions(_ENDS)
    words = batch["peer_address"].view(">u4")
    words[:, 2] = 0xFFFF  # an IPv4-mapped address
    words[:, 3] = chance.integers(0x0A000000, 0x0A000000 + peers, _ENDS)
    names = np.array([b"program-%d" % number for number in range(programs)])
    batch["executable"] = batch["comm"] = names[chance.integers(0, programs, _ENDS)]
    batch["cgroup"] = chance.integers(1, 1 + containers, _ENDS)
    return batch


def _svg(costs: list[Cost]) -> str:
    """Microseconds of each end by the rate, both as powers of ten, and below it percent of a core."""
    measured = [cost for cost in costs if cost.rate]
    points = [(60 + 110 * math.log10(cost.rate), 220 - 60 * math.log10(cost.microseconds), cost) for cost in measured]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y, _ in points)
    texts = [
        f'<text x="{x:.0f}" y="{y - 8:.0f}">{cost.microseconds:.0f} us</text>'
        f'<text x="{x:.0f}" y="270">{cost.rate:,.0f}/s</text>'
        f'<text x="{x:.0f}" y="288">{sorted(cost.of_a_core)[len(cost.of_a_core) // 2]:.1f} %</text>'
        for x, y, cost in points
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="310" font-family="sans-serif" font-size="12">'
        '<text x="20" y="20">CPU of each session end, by session ends a second (below: of a core)</text>'
        f'<polyline points="{line}" fill="none" stroke="steelblue" stroke-width="2"/>{"".join(texts)}</svg>\n'
    )


if __name__ == "__main__":
    rounds, *pictures = sys.argv[1:] or ["3"]
    main(int(rounds), *map(Path, pictures))
