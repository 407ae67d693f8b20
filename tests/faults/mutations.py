"""Hypothesis strategies for input that is nearly right."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("TCPLIFE_TEST_EXAMPLES", "200"))
"""Of each kind of input."""


@st.composite
def mutated(draw: st.DrawFn, bases: Sequence[bytes]) -> bytes:
    """One of these, with some bytes replaced, inserted, left out, repeated, or with its end cut off."""
    content = bytearray(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        end = min(at + draw(st.integers(0, 40)), len(content))
        match draw(st.sampled_from(["replace", "insert", "repeat", "cut"])):
            case "replace":
                content[at:end] = draw(st.binary(max_size=40))
            case "insert":
                content[at:at] = draw(st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"\n", b"9" * 30])))
            case "repeat":
                content[at:at] = content[at:end] * draw(st.integers(1, 50))
            case _:
                if draw(st.booleans()):
                    del content[at:]
                else:
                    del content[at:end]
    return bytes(content)
