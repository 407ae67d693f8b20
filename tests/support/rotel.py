"""Rotel, an OTLP collector that comes as a Python package, run by a test where there is no Go for the Collector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import distribution
from pathlib import Path

from typing_extensions import Self

from tests.support.background_process import BackgroundProcess, free_ports
from tests.support.otlp_receiver import FileReceiver
from tests.support.received import ReceivedLog, ReceivedPoint, read_otlp_json_lines


class Rotel:
    """Rotel on free loopback ports, with the interface of Collector less TLS, which it cannot receive.

    It has no file exporter, so a FileReceiver that it sends on to writes the files. Entering raises RuntimeError with
    what Rotel said where it cannot start, and importlib.metadata.PackageNotFoundError where it is not installed.
    """

    def __init__(self, directory: Path, *, env: Mapping[str, str] = {}) -> None:
        grpc_port, http_port = self._ports = free_ports(2)
        self.grpc_endpoint = f"http://127.0.0.1:{grpc_port}"
        self.http_endpoint = f"http://127.0.0.1:{http_port}"
        self._directory = directory
        self._env = env

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as started:
            receiver = started.enter_context(FileReceiver(self._directory))
            grpc_port, http_port = self._ports
            command = [
                # Not by importing the package: its own way to start this is a daemon, which a test could leave behind.
                *(str(distribution("rotel").locate_file("rotel/rotel-agent")), "start"),
                *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
                *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
                *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", receiver.endpoint),
            ]
            log = self._directory / "rotel.log"
            self._process = BackgroundProcess(command, log=log, env=self._env, ports=self._ports)
            started.callback(self._process.stop)
            self._started = started.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops Rotel, which sends on all that it has taken; RuntimeError where it fails."""
        self._started.close()

    def logs(self) -> list[ReceivedLog]:
        """The log records written so far, which are all of them once stopped."""
        return read_otlp_json_lines(self._directory / "logs.jsonl", growing=self._process.running).logs

    def metrics(self) -> list[ReceivedPoint]:
        """The data points written so far, which are all of them once stopped."""
        return read_otlp_json_lines(self._directory / "metrics.jsonl", growing=self._process.running).points
