"""VictoriaMetrics and VictoriaLogs, which take OTLP, run by a test."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import Self

from tests.support.background_process import BackgroundProcess, free_ports
from tests.support.go_program import go_program
from tests.support.promql import PromqlStore


def victoria_metrics(program: str = "victoria-metrics") -> Path | None:
    """The binary of this program of it; None without Go."""
    return go_program(f"github.com/VictoriaMetrics/VictoriaMetrics/app/{program}", "v1.151.0")


def victoria_logs() -> Path | None:
    """Its binary; None without Go."""
    return go_program("github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs", "v1.52.1")


class _Victoria:
    """A store of its own on a free loopback port, running inside its `with` block."""

    def __init__(self, binary: Path, directory: Path, options: Sequence[str] = ()) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._command = [
            binary,
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={directory / 'data'}",
            *options,
        ]

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "victoria.log"
        self._process = BackgroundProcess(self._command, log=log, env={}, ports=[self.port])
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stop()

    def flush(self) -> None:
        """Have queries see all that it has taken."""
        urllib.request.urlopen(f"{self.url}/internal/force_flush").close()


class VictoriaMetrics(_Victoria):
    """A store of metrics, with names as Prometheus has them."""

    def __init__(self, binary: Path, directory: Path) -> None:
        # By default, queries leave the last half minute out.
        super().__init__(binary, directory, ["-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s"])
        self.environ = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{self.url}/opentelemetry/v1/metrics"}
        """What has otel-tcplife send its metrics there."""
        self.store = PromqlStore(self.url)


class VictoriaLogs(_Victoria):
    """A store of logs."""

    @property
    def environ(self) -> dict[str, str]:
        """What has otel-tcplife send its logs there."""
        return {
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{self.url}/insert/opentelemetry/v1/logs",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "VL-Stream-Fields=host.name%2Cprocess.executable.name%2Ctcplife.role",
        }

    def query(self, expression: str) -> list[dict[str, str]]:
        """The records or the rows that LogsQL finds."""
        parameters = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/select/logsql/query?{parameters}") as answer:
            return [json.loads(line) for line in answer]
