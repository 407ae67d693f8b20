"""Compressed bodies are what any reader of the format takes, whichever library made them."""

from __future__ import annotations

import gzip
import importlib
import sys
import zlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from otel_tcplife.export.otlp import compression

_BODIES = [b"", b"x", bytes(range(256)) * 100, b"session " * 100_000]


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is with ISA-L, and as it is where that is not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    yield importlib.reload(compression)
    monkeypatch.undo()
    importlib.reload(compression)


@pytest.mark.parametrize("body", _BODIES, ids=len)
def test_it_is_read_back(library: ModuleType, body: bytes) -> None:
    assert gzip.decompress(library.gzip_of(body)) == body
    assert zlib.decompress(library.zlib_of(body)) == body


def test_it_is_smaller(library: ModuleType) -> None:
    assert len(library.gzip_of(_BODIES[-1])) < len(_BODIES[-1]) / 50
    assert len(library.zlib_of(_BODIES[-1])) < len(_BODIES[-1]) / 50
