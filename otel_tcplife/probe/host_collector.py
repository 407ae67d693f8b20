"""Who collects the sessions of this host: all hosts' collectors have a BPF map of one name, and the oldest is it.

The kernel knows the maps of all containers, and forgets those of a process that has gone.
"""

from __future__ import annotations

from otel_tcplife.probe import bpf

HOST_MAP = "tcplife_host"


def collector_before(host_map: int | None) -> bool:
    """Whether another one collects, or began to before the one with this map. Raise PermissionError if none may ask.

    To list the maps of others takes CAP_SYS_ADMIN.
    """
    own = None if host_map is None else bpf.map_info(host_map)[0]
    for map_id in bpf.map_ids():
        if map_id == own:
            return False  # ids only grow
        if bpf.map_name(map_id) == HOST_MAP:
            return True
    return False
