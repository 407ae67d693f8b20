"""The sessions that wait in the kernel for the task that closes their descriptor, taken when that is late."""

from __future__ import annotations

import numpy as np

from otel_tcplife.probe import bpf
from otel_tcplife.session import SESSION, SessionBatch


def take_ownerless(map_fd: int, closed_before: int, row: np.dtype[np.void] = SESSION) -> SessionBatch:
    """Take out of the map the sessions that closed before this time, on the kernel's clock in ns.

    Each is taken either here or by the BPF program, whoever deletes it first. `row` is what the map has, where that is
    of another version. Raise OSError where bpf(2) is refused.
    """
    taken: list[bytes] = []
    for key in list(bpf.keys(map_fd)):
        value = bpf.lookup(map_fd, key, row.itemsize)
        if value is None:
            continue
        if np.frombuffer(value, row)["closed_at"][0] <= closed_before and bpf.delete(map_fd, key):
            taken.append(value)
    rows: SessionBatch = np.array(np.frombuffer(b"".join(taken), row))
    return rows
