"""What processes hold of BPF in the kernel, and what is still there when they have ended."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.probe import bpf
from tests.support.patience import PATIENCE

_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
"""Commands of bpf(2), BPF_PROG_GET_NEXT_ID and so on; the names are those of /proc/PID/fdinfo."""


class BpfObject(NamedTuple):
    """A map, a program or a link. Ids only grow, so that none is ever another's."""

    kind: str
    id: int


def held_by(process: int) -> set[BpfObject]:
    """All that a process has descriptors of; nothing if it has ended."""
    held: set[BpfObject] = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{process}/fdinfo").iterdir():
            with suppress(OSError):  # closed meanwhile
                found = re.findall(r"^(prog|map|link)_id:\s*(\d+)$", descriptor.read_text(), re.MULTILINE)
                held.update(BpfObject(kind, int(number)) for kind, number in found)
    return held


def traces(process: int) -> bool:
    """Whether a process reads what its program finds, which it does from when that follows all that is open."""
    try:
        return "bpf-map" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def newest_link() -> int:
    """The id of the link that was made last, 0 if there is none."""
    return max(_ids(_NEXT_ID["link"]), default=0)


def wait_until_gone(objects: set[BpfObject]) -> None:
    """Wait until the kernel has forgotten all of them, some of which it frees a while after the last one let go."""
    assert objects
    deadline = time.monotonic() + PATIENCE
    while left := objects & _existing():
        assert time.monotonic() < deadline, f"still in the kernel: {sorted(left)}"
        time.sleep(0.01)


def _existing() -> set[BpfObject]:
    return {BpfObject(kind, number) for kind, command in _NEXT_ID.items() for number in _ids(command)}


def _ids(command: int) -> Iterator[int]:
    attribute = (ctypes.c_uint32 * 3)()  # start_id, next_id, open_flags
    with suppress(FileNotFoundError):
        while True:
            bpf.call(command, attribute)
            yield attribute[1]
            attribute[0] = attribute[1]
