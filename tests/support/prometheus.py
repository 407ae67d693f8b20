"""Prometheus, which takes OTLP, run by a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import Self

from tests.support.background_process import BackgroundProcess, free_ports
from tests.support.go_program import go_program
from tests.support.promql import PromqlStore

_VERSION = "v0.316.0"
"""Of the Go module, for a release 3.x: its web pages are not in it, its API is."""

_CONFIG = """
global: {evaluation_interval: 1s}
otlp: {promote_resource_attributes: [host.name, container.id, k8s.pod.uid]}
"""

START_TIMES = "created-timestamp-zero-ingestion"
"""The feature that has increase() know the first value of a series."""
ANCHORED = "promql-extended-range-selectors"
"""The feature that has increase() say what was counted, and not what might have been by the ends of the range."""
DELTAS = "otlp-deltatocumulative"
"""The feature that takes deltas."""


def prometheus(program: str = "prometheus") -> Path | None:
    """The binary of this program of it; None without Go."""
    return go_program(f"github.com/prometheus/prometheus/cmd/{program}", _VERSION)


class Prometheus:
    """A Prometheus of its own on a free loopback port, running inside its `with` block."""

    def __init__(self, directory: Path, *features: str, rules: Sequence[Path] = ()) -> None:
        [self._port] = free_ports(1)
        self._directory = directory
        self._features = features
        self._rules = rules
        url = f"http://127.0.0.1:{self._port}"
        self.store = PromqlStore(url)
        self.environ = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{url}/api/v1/otlp/v1/metrics"}
        """What has otel-tcplife send its metrics there."""

    def __enter__(self) -> Self:
        binary = prometheus()
        if binary is None:
            raise RuntimeError("there is no Go to build Prometheus with")
        self._directory.mkdir(parents=True)
        config = self._directory / "prometheus.yml"
        config.write_text(f"{_CONFIG}rule_files: {[*map(str, self._rules)]}\n")
        command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-otlp-receiver",
            *(f"--enable-feature={feature}" for feature in self._features),
        ]
        log = self._directory / "prometheus.log"
        self._process = BackgroundProcess(command, log=log, env={}, ports=[self._port])
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stop()
