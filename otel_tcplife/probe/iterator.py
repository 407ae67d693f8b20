"""Running an iterator program (kernel/bpf/bpf_iter.c)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

from otel_tcplife.probe import bpf

_ITER_CREATE = 33
_ITERATOR_BUFFER = 8 * os.sysconf("SC_PAGE_SIZE")
"""As large as the kernel's, which it gives as a whole."""


def run_iterator(link_fd: int) -> None:
    """Have an attached iterator program run over all that it iterates."""
    for _ in written_by_iterator(link_fd):
        pass


def written_by_iterator(link_fd: int) -> Iterator[bytes]:
    """What an attached iterator program writes, which runs over all that it iterates; no write of it is divided."""
    output = bpf.call(_ITER_CREATE, (ctypes.c_uint32 * 2)(link_fd, 0))
    with open(output, "rb", buffering=0) as written:
        # None: there were a million objects of which it has written nothing (kernel/bpf/bpf_iter.c)
        while (rows := written.read(_ITERATOR_BUFFER)) != b"":
            yield rows or b""
