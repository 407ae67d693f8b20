"""Where sessions come from: the running kernel, or a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from otel_tcplife.session import SessionBatch


class Source(Protocol):
    """Sessions in batches, read by one thread."""

    def read(self) -> SessionBatch:
        """The sessions that have come since the last call, in Unix time; may be none."""
        ...

    pause: float
    """Seconds to wait before the next read; 0 to go on at once."""

    can_wait: bool
    """Whether it loses nothing when it is not read for long: a recording, as opposed to the kernel."""

    ended: bool
    """Whether no more sessions will ever come."""

    def drain(self) -> SessionBatch:
        """Take no more in, and return all that were not read yet."""
        ...

    def outcomes(self) -> Mapping[str, int]:
        """The balance so far: sessions by `tcplife.outcome`; those under `submitted` have been or can be read."""
        ...

    def seen(self) -> int:
        """Sessions seen to end: after drain(), the sum of the outcomes."""
        ...

    def reports(self) -> int:
        """Interim reports so far, of sessions that had not ended."""
        ...

    def missed(self) -> int:
        """State changes that were not seen when they came."""
        ...

    def active(self) -> int:
        """Sessions that are open and followed now."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...
