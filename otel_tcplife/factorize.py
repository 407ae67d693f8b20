"""Values that are the same get the same number, without sorting, and mostly without comparing byte by byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.intp]
_Words = npt.NDArray[np.uint64]
"""8 bytes of each element, which need not be next to one another."""

_SLOTS_FOR_EACH = 4
# Of this process alone, so that nobody can choose names that collide
_MULTIPLIERS = np.frombuffer(os.urandom(32 * 8), np.uint64) | np.uint64(1)


def factorize(*columns: npt.NDArray[Any]) -> tuple[Codes, Codes]:
    """Where each differing element stands first, and for each element the index of its value among these, in any order.

    The value of an element is what all columns have at its place: integers, or byte strings whose size is a multiple
    of 8. Of those that are text (`S`), what follows 8 NULs does not count. They are compared by a hash of their words,
    many times faster than byte by byte; were two ever to collide, the hash is not used.
    """
    words = [word for column in columns for word in _telling_words(column)]
    rows = len(columns[0])
    if not words:
        return np.zeros(min(rows, 1), np.intp), np.zeros(rows, np.intp)
    hashes = words[0] * _MULTIPLIERS[0]
    for word, multiplier in zip(words[1:], _MULTIPLIERS[1:]):
        hashes += word * multiplier
    first, codes = _numbered(hashes)
    if all(np.array_equal(word, word[first].take(codes)) for word in words):
        return first, codes
    rows_of_words = np.stack(words, axis=1).view(f"V{8 * len(words)}")[:, 0]
    _, first, codes = np.unique(rows_of_words, return_index=True, return_inverse=True)
    return first, codes


def _telling_words(column: npt.NDArray[Any]) -> Iterator[_Words]:
    """The words of a column in which not all elements are the same."""
    for word in _words(column):
        if not len(word):
            return
        if (word != word[0]).any():
            yield word
        elif column.dtype.kind == "S" and not word[0]:  # all of it is padding from here on
            return


def _words(column: npt.NDArray[Any]) -> Iterator[_Words]:
    if column.dtype.kind in "iub":
        yield column.astype(np.int64).view(np.uint64)
        return
    matrix = column[:, None].view(np.uint64)
    for number in range(matrix.shape[1]):
        yield matrix[:, number]


def _numbered(hashes: _Words) -> tuple[Codes, Codes]:
    """As factorize() does: each hash marks a slot of a table, which those that are equal find."""
    bits = (_SLOTS_FOR_EACH * len(hashes)).bit_length()
    slots = (hashes >> np.uint64(64 - bits)).astype(np.intp)
    table = np.empty(1 << bits, np.intp)  # only slots that were marked are read
    numbers = np.arange(len(hashes))
    table[slots[::-1]] = numbers[::-1]  # of those that mark the same one, the first is the last to do so
    marked_by = table[slots]
    first = np.flatnonzero(marked_by == numbers)
    table[slots[first]] = numbers[: len(first)]
    codes = table[slots]
    others = np.flatnonzero(hashes[marked_by] != hashes)
    if len(others):
        first_of_others, codes_of_others = _numbered(hashes[others] * _MULTIPLIERS[0])
        codes[others] = codes_of_others + len(first)
        first = np.concatenate([first, others[first_of_others]])
    return first, codes
