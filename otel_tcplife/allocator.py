"""How memory is treated that is given back, by the C library (mallopt(3)) and Python: in a process of our own alone."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT = 8 << 20
_FROM_THE_HEAP = 4 << 20


def keep_freed_memory() -> None:
    """Keep up to 8 MiB of freed memory, instead of asking the kernel for pages again with each request.

    A request takes some buffers of 1 MB. By default glibc gives these back each time, and the page faults of the next
    ones cost a fifth of what encoding does. All threads take from the same memory: with an arena for each, which is
    glibc's default, none takes what another one has given back, and there are 3 MB more.

    To be called before there are threads.
    """
    with suppress(OSError, AttributeError):  # such as of musl, which has no mallopt()
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_M_MMAP_THRESHOLD, _FROM_THE_HEAP)


def keep_what_there_is() -> None:
    """Have Python look for garbage only among objects that are made from now on.

    Those of all modules stay to the end, and going through them takes 2 % of the CPU that exporting does.
    """
    gc.freeze()
