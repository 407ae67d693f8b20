"""Who traces this host: all hosts' tracers have a BPF map of one name, and the process with the oldest one does.

The kernel knows the maps of all containers, and forgets those of a process that has gone.
"""

from __future__ import annotations

from otel_tcplife.probe import bpf

HOST_MAP = "tcplife_host"


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
