"""The BPF ring buffer, mapped into this process and read in whole batches, without wake-ups or system calls.

Layout (kernel/bpf/ringbuf.c): a page with the consumer's position, one with the producer's, then the data twice in a
row so that a record at the wrap is contiguous; of the second time a page is enough, and resident memory is counted by
what is mapped. A record is an 8-byte header (length, with a bit for "still being written" and one for "discarded") and
its data, padded to 8 bytes.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from otel_tcplife.session import SESSION, SessionBatch, concatenated

_BUSY = 1 << 31
_DISCARDED = 1 << 30
_HEADER_SIZE = 8


def record_of(row: np.dtype[np.void]) -> np.dtype[np.void]:
    """What a record of the ring is that has such a row."""
    return np.dtype([("length", np.uint32), ("page_offset", np.uint32), ("session", row)], align=True)


_RECORD = record_of(SESSION)


class Ring:
    """Consumer of one ring buffer. Only one may exist for a ring, and only one thread may read it."""

    def __init__(self, map_fd: int, size: int, row: np.dtype[np.void] = SESSION) -> None:
        """Map the ring of `size` data bytes; the descriptor stays the caller's. Raise OSError where that is refused."""
        self._record = record_of(row)
        self._nothing: SessionBatch = np.zeros(0, row)
        consumer = mmap.mmap(map_fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        producer = mmap.mmap(map_fd, 2 * mmap.PAGESIZE + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=mmap.PAGESIZE)
        self._maps = consumer, producer
        self._read_to = np.frombuffer(consumer, np.uint64, 1)
        self._written_to = np.frombuffer(producer, np.uint64, 1)
        self._data = np.frombuffer(producer, np.uint8, offset=mmap.PAGESIZE)
        self._size = size

    def unmap(self) -> None:
        """Give the memory up, and the descriptors that keep it; nothing can be read any more."""
        del self._read_to, self._written_to, self._data
        for each in self._maps:
            each.close()

    def read(self, most: int | None = None) -> tuple[SessionBatch, float]:
        """All sessions up to one that is still being written, oldest first, and how full the ring was (0 to 1).

        No more than `most`, if that is given.
        """
        return self._read(past_busy=False, most=most)

    def read_rest(self, patience: float) -> SessionBatch:
        """All sessions that were written, when nothing writes new ones any more.

        One that is still being written, by a program that an interrupt holds up, is waited for, `patience` seconds at
        most; after that it is passed over, so that it costs no other one.
        """
        deadline = time.monotonic() + patience
        batches = [self.read()[0]]
        while self._read_to[0] != self._written_to[0]:
            late = time.monotonic() >= deadline
            batches.append(self._read(past_busy=late)[0])
            if late:
                break
            time.sleep(0.001)
        return concatenated(batches)

    def records(self) -> Iterator[bytes]:
        """The same, of a ring whose rows are of another version, one by one."""
        while self._read_to[0] != self._written_to[0]:
            at = int(self._read_to[0]) % self._size
            header = int(self._data[at : at + 4].view(np.uint32)[0])
            length = header & ~(_BUSY | _DISCARDED)
            record = bytes(self._data[at + _HEADER_SIZE : at + _HEADER_SIZE + length])
            self._read_to[0] += _HEADER_SIZE + -(-length // 8) * 8
            if not header & (_BUSY | _DISCARDED):
                yield record

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1."""
        return int(self._written_to[0] - self._read_to[0]) / self._size

    @property
    def waiting(self) -> int:
        """How many sessions were not read yet."""
        return int(self._written_to[0] - self._read_to[0]) // self._record.itemsize

    def _read(self, *, past_busy: bool, most: int | None = None) -> tuple[SessionBatch, float]:
        start, written_to = int(self._read_to[0]), int(self._written_to[0])
        if start == written_to:
            return self._nothing, 0.0
        end = written_to if most is None else min(written_to, start + most * self._record.itemsize)
        batches: list[SessionBatch] = []
        position = start
        while position < end:
            at = position % self._size
            length = min(end - position, len(self._data) - at)
            batch, done = take(self._data, at, length, past_busy=past_busy, record=self._record)
            if not done:
                break
            batches.append(batch)
            position += done
        # The copies are made before the kernel may write there again
        self._read_to[0] = position
        batch = batches[0] if len(batches) == 1 else concatenated(batches)
        return batch, (written_to - start) / self._size


def take(
    data: npt.NDArray[np.uint8],
    at: int,
    length: int,
    *,
    past_busy: bool = False,
    record: np.dtype[np.void] = _RECORD,
) -> tuple[SessionBatch, int]:
    """Copy the sessions out of `length` bytes of records at `at`, up to the first that is still being written.

    Return them with the number of bytes that are done with. Discarded records and records of another length than a
    session's are passed over, and with `past_busy` those still being written too; a record that does not end within
    `length` is left. The length of a record is read once: the kernel may finish a record at any time, and what was
    decided of it while it was being written must not be mixed with what it says afterwards.
    """
    row = record["session"].itemsize
    batches: list[SessionBatch] = []
    done = 0
    while length - done >= _HEADER_SIZE:
        count = (length - done) // record.itemsize
        headers = _copy_of_headers(data, at + done, max(count, 1), record.itemsize)
        alike = min(_leading(np.equal(headers & ~np.uint32(_DISCARDED), row)), count)
        kept = headers[:alike] == row
        sessions: SessionBatch = np.ndarray(alike, record, data, at + done)["session"]
        batches.append(sessions if kept.all() else sessions[kept])
        done += alike * record.itemsize
        if alike < len(headers):
            header = int(headers[alike])
            size = _HEADER_SIZE + -(-(header & ~(_BUSY | _DISCARDED)) // 8) * 8
            if (header & _BUSY and not past_busy) or done + size > length:
                break
            done += size
    return concatenated(batches), done


def _copy_of_headers(data: npt.NDArray[np.uint8], at: int, count: int, stride: int) -> npt.NDArray[np.uint32]:
    """The first words of so many records of a session's length."""
    words: npt.NDArray[np.uint32] = np.ndarray(count, np.uint32, data, at, (stride,))
    return np.array(words)


def _leading(flags: npt.NDArray[np.bool_]) -> int:
    """How many elements are true before the first that is not."""
    return len(flags) if flags.all() else int(np.argmin(flags))
