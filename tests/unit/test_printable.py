"""What others have written is printable wherever it is shown or sent."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.conventions import SessionColumns
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import Resources
from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.instruments import METRIC_ATTRIBUTES
from otel_tcplife.printable import one_line, printable
from otel_tcplife.session import Event, SessionBatch, empty

_HARMFUL = "\n\r\t\x00\x1b\x7f\x85\x9b\u2028\u2029\u202a\u202e\u2066\u2069\u200f\ud800\udcff"
_HARMLESS = "curl", "a b", "caf\u00e9", "\u0444\u0430\u0439\u043b", "\u65e5\u672c", "\U0001f980", "a,b;c'\"", "\ufffd"


@pytest.mark.parametrize("character", _HARMFUL)
def test_harmful_characters(character: str) -> None:
    assert printable(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize("text", _HARMLESS)
def test_harmless_text_is_kept(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_is_left_that_moves_or_hides(text: str) -> None:
    kinds = {unicodedata.category(character) for character in printable(text)}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(printable(text)) == len(text)
    assert len(one_line(text).splitlines()) <= 1


def test_one_line() -> None:
    assert one_line(" two\r\n\x1b[1mlines\t") == "two \ufffd[1mlines"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 197 + "..."
    assert one_line("x" * 500, 300) == "x" * 297 + "..."
    assert one_line("x\n" * 500, None) == " ".join("x" * 500)


def _named(name: bytes) -> SessionBatch:
    batch = empty(1)
    batch["event"], batch["ip_version"], batch["pid"] = Event.SESSION_CLOSED, 4, 7
    batch["comm"], batch["executable"] = name, name
    return batch


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"x\n7 evil\x1b[2J", "x\ufffd7 evil\ufffd[2J"),
        ("\u202eabc\u2028\u0085".encode(), "\ufffdabc\ufffd\ufffd"),
        (b"\xed\xa0\x80x", "\ufffd\ufffd\ufffdx"),  # a surrogate is no UTF-8
        ("caf\u00e9".encode(), "caf\u00e9"),
    ],
)
def test_names_of_processes_are_the_same_everywhere(name: bytes, text: str) -> None:
    """In the attributes of logs and metrics and in the body, by the encoder and through a provider."""
    (resource_logs,) = ExportLogsServiceRequest.FromString(
        LogEncoder(Resources(Resource({}))).encode(_named(name))
    ).resource_logs
    (record,) = resource_logs.scope_logs[0].log_records
    attributes = {attribute.key: attribute.value.string_value for attribute in record.attributes}
    assert (attributes["tcplife.comm"], attributes["process.executable.name"]) == (text, text)
    assert record.body.string_value.startswith(f"{text}[7] ")
    assert record.body.string_value.isprintable()

    (emitted,) = log_records(_named(name))
    assert emitted.body == record.body.string_value
    assert emitted.attributes is not None
    assert emitted.attributes["tcplife.comm"] == text

    columns = SessionColumns(_named(name))
    assert {attribute.name: attribute.values(columns)[0] for attribute in METRIC_ATTRIBUTES}[
        "process.executable.name"
    ] == text
