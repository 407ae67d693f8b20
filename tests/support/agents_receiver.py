"""A receiver of all that agents speak: OTLP over HTTP and gRPC, and what Application Insights takes."""

from __future__ import annotations

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from typing_extensions import Self

from otel_tcplife.conventions import SCOPE
from tests.support.received import Received, read_requests

_REQUESTS = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}
_SCOPES = {"resourceLogs": "scopeLogs", "resourceMetrics": "scopeMetrics"}


class Receiver:
    """A receiver on free loopback ports, running inside its `with` block. Of what it gets it keeps what is ours."""

    def __init__(self) -> None:
        self._requests: list[dict[str, Any]] = []
        self._envelopes: list[dict[str, Any]] = []
        self._http = _HttpServer(self)
        self.http_endpoint = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self._grpc = grpc.server(ThreadPoolExecutor(4), handlers=[_services(self)])
        self.grpc_endpoint = f"http://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def received(self) -> Received:
        """What has come over OTLP so far."""
        return read_requests(self._requests)

    def envelopes(self) -> list[dict[str, Any]]:
        """What has come for Application Insights so far, ours or not."""
        return self._envelopes

    def take(self, signal: str, content: bytes) -> bytes:
        """Take an OTLP request, and answer it."""
        if signal in _REQUESTS:
            # OTLP JSON has enumerations as numbers, unlike the JSON of other protocol buffers
            message = _REQUESTS[signal].FromString(content)
            self._requests.append(_only_ours(MessageToDict(message, use_integers_for_enums=True)))
        return b""

    def track(self, content: bytes) -> bytes:
        """Take envelopes, and answer."""
        envelopes = json.loads(content)
        self._envelopes.extend(envelopes)
        return json.dumps({"itemsReceived": len(envelopes), "itemsAccepted": len(envelopes), "errors": []}).encode()


def _only_ours(request: dict[str, Any]) -> dict[str, Any]:
    """A request without the scopes of others, whose values may be of any kind."""
    for group, scopes in _SCOPES.items():
        for resource in request.get(group, []):
            resource[scopes] = [scope for scope in resource[scopes] if scope.get("scope", {}).get("name") == SCOPE]
    return request


def _services(receiver: Receiver) -> grpc.GenericRpcHandler:
    class Services(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            signal = handler_call_details.method.split(".")[
                -3
            ]  # opentelemetry.proto.collector.SIGNAL.v1.Service/Export

            def export(content: bytes, context: grpc.ServicerContext) -> bytes:
                return receiver.take(signal, content)

            return grpc.unary_unary_rpc_method_handler(export)

    return Services()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _HttpServer)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        if self.path.endswith("/track"):
            answer, kind = self.server.receiver.track(content), "application/json"
        else:
            answer, kind = self.server.receiver.take(self.path.split("/")[-1], content), "application/x-protobuf"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is no access log."""
