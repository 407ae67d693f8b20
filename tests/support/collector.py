"""The OpenTelemetry Collector of collector-config/, run by a test."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

from tests.support.background_process import BackgroundProcess, free_ports
from tests.support.received import Received, ReceivedLog, ReceivedPoint, read_otlp_json_lines
from tests.support.tls import Tls

_CONFIG_DIRECTORY = Path(__file__).resolve().parents[2] / "collector-config"
FLEET = _CONFIG_DIRECTORY / "fleet"
VENDORS = _CONFIG_DIRECTORY / "vendors"
AGENT_CONFIG = _CONFIG_DIRECTORY / "agent.yaml"
CONTAINERS_CONFIG = _CONFIG_DIRECTORY / "containers.yaml"
KUBERNETES_CONFIG = _CONFIG_DIRECTORY / "kubernetes" / "collector.yaml"
METRICS_FROM_LOGS_CONFIG = _CONFIG_DIRECTORY / "metrics-from-logs.yaml"
REDUCE_CONFIG = _CONFIG_DIRECTORY / "reduce.yaml"
SERVICE_GRAPH_CONFIG = _CONFIG_DIRECTORY / "service-graph.yaml"
OTLP_FILE_CONFIG = _CONFIG_DIRECTORY / "otlp-file.yaml"
VICTORIA_CONFIG = _CONFIG_DIRECTORY / "victoria.yaml"

_NO_GO = 1
# Permanent at once, so that a Collector without an upstream costs a test no time.
_NO_UPSTREAM = "http://127.0.0.1:9"


@functools.cache
def otelcol(manifest: Path = _CONFIG_DIRECTORY / "manifest.yaml") -> Path | None:
    """The Collector's binary, built where it is not there; None without a Go to do so, RuntimeError if that fails."""
    build = subprocess.run([_CONFIG_DIRECTORY / "build", manifest], check=False, capture_output=True, text=True)
    if build.returncode == _NO_GO:
        return None
    if build.returncode != 0:
        raise RuntimeError(build.stderr)
    return Path(build.stdout.strip())


class Collector:
    """A Collector with agent.yaml's interface on free loopback ports, running inside its `with` block.

    `overlays` are laid over the configuration, `binary` is another build, `listens` is false of one without
    a receiver of OTLP. `tls` has it speak TLS, `mutual_tls` ask for a client certificate too; `env` is added to its
    environment, and wins over what is set here. Entering raises RuntimeError with what the Collector said where it
    cannot start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        config: Path = AGENT_CONFIG,
        overlays: Sequence[Path] = (),
        binary: Path | None = None,
        listens: bool = True,
        tls: Tls | None = None,
        mutual_tls: bool = False,
        env: Mapping[str, str] = {},
    ) -> None:
        scheme = "https" if tls else "http"
        grpc_port, http_port = self._ports = free_ports(2)
        self.grpc_endpoint = f"{scheme}://127.0.0.1:{grpc_port}"
        self.http_endpoint = f"{scheme}://127.0.0.1:{http_port}"
        self._directory = directory
        self._binary = binary
        if not listens:
            self._ports = []
        more = [argument for overlay in overlays for argument in ("--config", str(overlay))]
        self._arguments = ["--config", str(config), *more, *(_tls_overlay(tls, mutual_tls) if tls else [])]
        self._env = {
            "OTEL_TCPLIFE_COLLECTOR_GRPC_ENDPOINT": f"127.0.0.1:{grpc_port}",
            "OTEL_TCPLIFE_COLLECTOR_HTTP_ENDPOINT": f"127.0.0.1:{http_port}",
            "OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": _NO_UPSTREAM,
            "OTEL_TCPLIFE_COLLECTOR_DIRECTORY": str(directory),
            "OTEL_TCPLIFE_COLLECTOR_STATE": str(directory / "state"),
            # One file holds all that a test can send, since a rotated one would be deleted in the end.
            "OTEL_TCPLIFE_COLLECTOR_FILE_MEGABYTES": "1000000",
            **env,
        }

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "collector.log"
        self._process = _start(self._arguments, log, self._env, self._ports, self._binary)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the Collector, which writes all that it has taken; RuntimeError where it fails."""
        self._process.stop()

    def kill(self) -> None:
        """Has the kernel end it at once."""
        self._process.kill()

    def logs(self) -> list[ReceivedLog]:
        """The log records written so far, which are all of them once stopped."""
        return self._read("logs.jsonl").logs

    def metrics(self) -> list[ReceivedPoint]:
        """The data points written so far, which are all of them once stopped."""
        return self._read("metrics.jsonl").points

    def _read(self, name: str) -> Received:
        path = self._directory / name
        # The Collector makes a file when it has something for it.
        return read_otlp_json_lines(path, growing=self._process.running) if path.exists() else Received()


class FileForwarder:
    """A Collector with otlp-file.yaml, sending on what is written to a directory, running inside its `with` block.

    `source` has logs.jsonl and metrics.jsonl, `upstream` is an OTLP/HTTP endpoint; `state` outlives a restart.
    """

    def __init__(self, source: Path, *, upstream: str, state: Path) -> None:
        self._state = state
        self._env = {
            "OTEL_TCPLIFE_COLLECTOR_OTLP_FILE": str(source),
            "OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": upstream,
            "OTEL_TCPLIFE_COLLECTOR_STATE": str(state),
        }

    def __enter__(self) -> Self:
        self._state.mkdir(parents=True, exist_ok=True)
        self._process = _start(["--config", str(OTLP_FILE_CONFIG)], self._state / "collector.log", self._env, ports=[])
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stop()


def _start(
    arguments: list[str], log: Path, env: Mapping[str, str], ports: list[int], binary: Path | None = None
) -> BackgroundProcess:
    binary = binary or otelcol()
    if binary is None:
        raise RuntimeError("there is no Go to build the Collector with: collector-config/build says which")
    return BackgroundProcess([binary, *arguments], log=log, env=env, ports=ports)


def _tls_overlay(tls: Tls, mutual: bool) -> list[str]:
    settings = {"cert_file": str(tls.server_cert), "key_file": str(tls.server_key)}
    if mutual:
        settings["client_ca_file"] = str(tls.ca)
    protocols: dict[str, Any] = {"grpc": {"tls": settings}, "http": {"tls": settings}}
    return ["--config", "yaml:" + json.dumps({"receivers": {"otlp": {"protocols": protocols}}})]
