"""The program of a ReceiverProcess: PROTOCOL PORT JOURNAL."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import grpc

from tests.faults.journal import Journal
from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpReceiver, Request


class _Http(HttpReceiver):
    def __init__(self, port: int, journal: Journal) -> None:
        super().__init__(port)
        self._journal = journal

    def take(self, request: Request) -> None:
        """Keep nothing."""

    def answer_to(self, request: Request) -> Answer:
        if request.signal == "logs":
            self._journal.add(request.content)
        return self.answer


class _Grpc(GrpcReceiver):
    def __init__(self, port: int, journal: Journal) -> None:
        self._journal = journal
        super().__init__(port=port)

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        if request.signal == "logs":
            self._journal.add(request.content)
        return b""


def main(protocol: str, port: str, path: str) -> None:
    """Receive until killed."""
    journal = Journal(Path(path))
    if protocol == "grpc":
        receiver = _Grpc(int(port), journal)
        print("receiving", flush=True)
        threading.Event().wait()
        receiver.stop()
    else:
        with _Http(int(port), journal):
            print("receiving", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
