"""A receiver of all that agents speak: OTLP over HTTP and gRPC, and what Application Insights takes."""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import Self

from otel_tcplife.conventions import SCOPE
from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpReceiver, Request
from tests.support.received import Received, read_requests

_SCOPES = {"resourceLogs": "scopeLogs", "resourceMetrics": "scopeMetrics"}


class Receiver:
    """A receiver on free loopback ports, running inside its `with` block. Of what it gets over OTLP it shows ours."""

    def __init__(self) -> None:
        self._http = _HttpReceiver()
        self.http_endpoint = self._http.endpoint

    def __enter__(self) -> Self:
        self._http.__enter__()
        self._grpc = GrpcReceiver()
        self.grpc_endpoint = self._grpc.endpoint
        return self

    def __exit__(self, *error: object) -> None:
        self._grpc.stop()
        self._http.__exit__(*error)

    def received(self) -> Received:
        """What has come over OTLP so far."""
        requests = [*self._grpc.requests, *self._http.requests]
        return read_requests(_only_ours(request.as_json()) for request in requests if request.is_otlp)

    def envelopes(self) -> list[dict[str, Any]]:
        """What has come for Application Insights so far, ours or not."""
        return self._http.envelopes


class _HttpReceiver(HttpReceiver):
    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[dict[str, Any]] = []

    def answer_to(self, request: Request) -> Answer:
        """Take envelopes, too."""
        if request.signal != "track":
            return super().answer_to(request)
        envelopes: list[dict[str, Any]] = json.loads(request.content)
        self.envelopes.extend(envelopes)
        answer: dict[str, Any] = {"itemsReceived": len(envelopes), "itemsAccepted": len(envelopes), "errors": []}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())


def _only_ours(request: dict[str, Any]) -> dict[str, Any]:
    """A request without the scopes of others, whose values may be of any kind."""
    for group, scopes in _SCOPES.items():
        for resource in request.get(group, []):
            resource[scopes] = [scope for scope in resource[scopes] if scope.get("scope", {}).get("name") == SCOPE]
    return request
