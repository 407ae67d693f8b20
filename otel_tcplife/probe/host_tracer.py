"""Who traces this host: all hosts' tracers have a BPF map of one name, and the process with the oldest one does.

The kernel knows the maps of all containers, and forgets those of a process that has gone.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from otel_tcplife.probe import bpf

HOST_MAP = "tcplife_host"
"""Nothing is in it, and no program uses it."""


def is_host_traced(before: int | None = None) -> bool:
    """Whether another process traces this host, or began to before the one with this map.

    Raise PermissionError where this one may not ask: to list the maps of others takes CAP_SYS_ADMIN.
    """
    own = None if before is None else bpf.map_info(before)[0]
    for map_id in bpf.map_ids():
        if map_id == own:
            return False  # ids only grow
        if bpf.map_name(map_id) == HOST_MAP:
            return True
    return False


def host_tracer() -> int | None:
    """The process that traces this host, as far as that can be known: it may be in another container."""
    try:
        map_id = next((map_id for map_id in bpf.map_ids() if bpf.map_name(map_id) == HOST_MAP), None)
    except OSError:
        return None
    held = re.compile(rf"^map_id:\s*{map_id}$", re.MULTILINE)
    for descriptors in Path("/proc").glob("[0-9]*/fdinfo"):
        with suppress(OSError):  # it has gone meanwhile, or may not be looked at
            for descriptor in descriptors.iterdir():
                if held.search(descriptor.read_text()):
                    return int(descriptors.parent.name)
    return None
