"""All status codes with which a gRPC receiver may answer, and what is to become of the records then."""

from __future__ import annotations

import time

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tests.faults.receiving import Answering, Fate, GrpcAct
from tests.support.otlp_receiver import partial_success

_CODE = grpc.StatusCode
_LATER = {
    _CODE.CANCELLED,
    _CODE.DEADLINE_EXCEEDED,
    _CODE.ABORTED,
    _CODE.OUT_OF_RANGE,
    _CODE.UNAVAILABLE,
    _CODE.DATA_LOSS,
}
"""OTLP specification, "OTLP/gRPC Response"."""
_ASKED = 2.0
"""Seconds after which a receiver asks to be asked again: longer than the first wait of the sender's own."""


def _fail(code: grpc.StatusCode, details: str = "as the test has it", status: bytes = b"") -> GrpcAct:
    def act(context: grpc.ServicerContext) -> bytes:
        if status:
            context.set_trailing_metadata((("grpc-status-details-bin", status),))
        context.abort(code, details)

    return act


def _retry_info(code: grpc.StatusCode, seconds: float) -> bytes:
    detail = AnyMessage()
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    detail.Pack(RetryInfo(retry_delay=delay))
    return Status(code=code.value[0], details=[detail]).SerializeToString()


def _hang(context: grpc.ServicerContext) -> bytes:
    """Until the sender has given up."""
    while context.is_active():
        time.sleep(0.02)
    return b""


def grpc_answers() -> list[Answering[GrpcAct]]:
    """The table of OTLP/gRPC: each code, and each that may be retried with RetryInfo."""
    answers = [
        Answering[GrpcAct]("OK that rejects some", lambda _: partial_success(3), Fate.TAKEN_IN_PART),
        Answering[GrpcAct]("OK with garbage", lambda _: b"\xff\x00garbage", Fate.TAKEN),
        Answering[GrpcAct]("a hang", _hang, Fate.LATER),
        Answering(
            "a message that is too large",
            _fail(_CODE.RESOURCE_EXHAUSTED, "grpc: received message larger than max (9 vs. 4)"),
            Fate.IN_PARTS,
        ),
        Answering(
            "UNAVAILABLE with garbage for details", _fail(_CODE.UNAVAILABLE, status=b"\xff\x00garbage"), Fate.LATER
        ),
    ]
    for code in (code for code in _CODE if code is not _CODE.OK):
        fate = Fate.LATER if code in _LATER else Fate.REJECTED
        answers.append(Answering(code.name, _fail(code), fate))
        with_info = Fate.LATER if code in {*_LATER, _CODE.RESOURCE_EXHAUSTED} else Fate.REJECTED
        asked = _ASKED if code in (_CODE.UNAVAILABLE, _CODE.RESOURCE_EXHAUSTED) else 0.01
        act = _fail(code, status=_retry_info(code, asked))
        answers.append(Answering(f"{code.name} with RetryInfo", act, with_info, asked))
    return answers
