"""Values of a whole batch, one for each session: what conventions.py makes of a SessionBatch for every consumer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_tcplife.factorize import Codes, factorize

Flags = npt.NDArray[np.bool_]
Ascii = npt.NDArray[np.bytes_]
"""Texts that have only characters of ASCII, and no NUL."""


@dataclass(frozen=True)
class NumericColumn:
    """Integers (uint64) or doubles (float64), and in which sessions they are known."""

    values: npt.NDArray[Any]
    present: Flags
    digits: int = 1
    """An integer that is written out has at least so many, leading zeros included."""

    def to_list(self) -> list[int | float | None]:
        """One Python number for each session, None where unknown."""
        return [value if known else None for value, known in zip(self.values.tolist(), self.present.tolist())]

    def to_text(self) -> list[str]:
        """Each integer in decimal, empty where unknown."""
        return ["" if value is None else f"{value:0{self.digits}}" for value in self.to_list()]


@dataclass(frozen=True)
class DictionaryColumn:
    """Strings, each kept once: the code of a session is the index of its text, or -1 where unknown."""

    codes: Codes
    given: Sequence[str] | Ascii
    """An array where there may be as many as sessions: it costs a fraction of so many Python objects."""

    @property
    def present(self) -> Flags:
        """In which sessions the text is known."""
        return self.codes >= 0

    @cached_property
    def texts(self) -> Sequence[str]:
        """Each of them."""
        return [text.decode() for text in self.given.tolist()] if isinstance(self.given, np.ndarray) else self.given

    @cached_property
    def encoded(self) -> Sequence[bytes] | Ascii:
        """The texts in UTF-8."""
        return self.given if isinstance(self.given, np.ndarray) else [text.encode() for text in self.given]

    def to_list(self) -> list[str | None]:
        """One string for each session, None where unknown."""
        codes: list[int] = self.codes.tolist()
        return [self.texts[code] if code >= 0 else None for code in codes]

    def to_text(self) -> list[str]:
        """Each text, empty where unknown."""
        return [value or "" for value in self.to_list()]


Column = NumericColumn | DictionaryColumn


def constant(text: str, present: Flags) -> DictionaryColumn:
    """The same text in each session where it is present."""
    return DictionaryColumn(np.where(present, 0, -1), [text])


def lookup(values: npt.NDArray[Any], texts: Sequence[str]) -> DictionaryColumn:
    """The text at each value's index less one; a value of 0 is unknown."""
    return DictionaryColumn(values.astype(np.intp) - 1, texts)


def encode(values: npt.NDArray[Any], decode: Callable[[Any], str | None]) -> DictionaryColumn:
    """The text of each value, decoded once for each that differs; None is unknown."""
    first, codes = factorize(values)
    decoded = [decode(value) for value in values[first].tolist()]
    texts = [text for text in decoded if text is not None]
    if len(texts) < len(decoded):
        known = np.array([text is not None for text in decoded])
        codes = np.where(known, np.cumsum(known) - 1, -1)[codes]
    return DictionaryColumn(codes, texts)


def elements_at_each_byte(array: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.void]:
    """Elements of so many bytes, of which one begins at each byte of the array, and is written as a whole.

    So byte strings of different lengths are put behind one another: each is written as wide as the longest, and the
    next one writes over what does not count of it.
    """
    return np.ndarray((len(array) - width + 1,), np.dtype(f"V{width}"), array.data, 0, (1,))
