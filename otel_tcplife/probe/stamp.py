"""What a pinned program is: written beside it, so that the next tracer knows whether it can go on with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from otel_tcplife.options import Options
from otel_tcplife.probe.counters import NUMBERS
from otel_tcplife.probe.program import chosen_text, layout_text
from otel_tcplife.session import SESSION

STAMP_SIZE = 8192
"""Bytes that there are for it, in a map."""

_FORMAT = 1
"""Of the set and of the stamp. A set of another one cannot be read."""


@dataclass(frozen=True)
class Stamp:
    """What a program was made of, and how to read what it wrote."""

    program: str
    """A digest of its text, and with that of all options that it was made with."""
    layout: str
    """A digest of what its maps hold. If it is the same, another program can go on with the maps."""
    row: list[list[Any]]
    """The dtype of a row, as NumPy describes it."""
    counters: dict[str, int]
    """Which number has which name."""
    pins: list[str]
    """All that the set has to have."""
    format: int = _FORMAT

    def encoded(self) -> bytes:
        """As bytes. Raise ValueError where there is no room for them."""
        text = json.dumps(asdict(self)).encode()
        if len(text) >= STAMP_SIZE:
            raise ValueError("the stamp is too long")
        return text.ljust(STAMP_SIZE, b"\0")

    @property
    def dtype(self) -> np.dtype[np.void]:
        """That of a row."""
        fields: Any = [(name, kind, *map(tuple, shape)) for name, kind, *shape in self.row]
        return np.dtype(fields)


def stamp_here(options: Options, cpus: int) -> Stamp:
    """That of the program that this version of the command would load, of which nothing is pinned yet."""
    text = chosen_text(options, cpus=cpus)
    row: Any = cast(Any, SESSION).descr
    return Stamp(
        program=_digest(text),
        layout=_digest(layout_text(cpus)),
        row=json.loads(json.dumps(row)),
        counters=dict(NUMBERS),
        pins=[],
    )


def decoded(stamp: bytes) -> Stamp | None:
    """The stamp in these bytes; None if it is of another format."""
    try:
        fields: dict[str, Any] = json.loads(stamp.rstrip(b"\0"))
        return Stamp(**fields) if fields["format"] == _FORMAT else None
    except (ValueError, TypeError, KeyError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
