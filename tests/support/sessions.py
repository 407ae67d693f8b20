"""Plain sessions, for tests that are not about what is in them."""

from __future__ import annotations

import numpy as np

from otel_tcplife.session import Event, SessionBatch, empty


def sessions(count: int) -> SessionBatch:
    """Closed ones, of a second each and without a byte, with local ports from 1 up."""
    batch = empty(count)
    batch["event"] = Event.SESSION_CLOSED
    batch["closed_at"] = batch["observed_at"] = 1_790_000_000 * 10**9
    batch["duration"] = 10**9
    batch["bytes_sent"] = batch["bytes_received"] = 0
    batch["ip_version"] = 4
    batch["local_port"] = np.arange(1, count + 1)
    batch["peer_port"] = 80
    return batch
