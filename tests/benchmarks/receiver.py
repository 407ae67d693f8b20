"""The cheapest OTLP/HTTP receiver: takes everything, and writes how many log records that was when it ends."""

from __future__ import annotations

import gzip
import signal
import socket
import sys
from contextlib import suppress

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


def main() -> None:
    """Print the port, serve until SIGTERM, print the count. One connection at a time is enough for each sender."""
    import threading

    server = socket.create_server(("127.0.0.1", 0))
    counts: list[int] = []
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    print(server.getsockname()[1], flush=True)
    try:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, counts), daemon=True).start()
    finally:
        print(sum(counts), flush=True)


def _serve(connection: socket.socket, counts: list[int]) -> None:
    with connection, suppress(ConnectionResetError):  # by a sender that is killed
        _answer(connection, counts)


def _answer(connection: socket.socket, counts: list[int]) -> None:
    reader = connection.makefile("rb", 1 << 20)
    while request := reader.readline():
        length, is_compressed = 0, False
        while (line := reader.readline().rstrip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            is_compressed |= name.lower() == b"content-encoding"
        body = reader.read(length)
        if b"/v1/logs" in request:
            message = ExportLogsServiceRequest.FromString(gzip.decompress(body) if is_compressed else body)
            counts.append(sum(len(scope.log_records) for logs in message.resource_logs for scope in logs.scope_logs))
        connection.sendall(_OK)


if __name__ == "__main__":
    main()
