"""What one end of a session, or a connect that failed, has to be reported as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_tcplife.conventions import ATTRIBUTES
from tests.support.origin import unix_ns
from tests.support.received import ReceivedLog, Scalar

CLOSED, FAILED = "tcplife.session.closed", "tcplife.connect.failed"

ANY_NUMBER = 1 << 62

CLOCK_STEP = 50_000_000
"""ns by which the wall clock may be adjusted while a test runs."""

_HANDSHAKE = "tcplife.handshake.duration"
_RETRANSMITS, _AT_FIRST = "tcplife.retransmits", "tcplife.handshake.retransmits"

HEALTH = {_RETRANSMITS, _AT_FIRST, "tcplife.retransmission_timeouts", "tcplife.segments.out_of_order"}
"""What a kernel whose CPUs are busy may count though nothing is lost; it is there where there was any."""

_CREATED, _LONG_AGO = "process.creation.time", "1970-01-01T00:00:00.000Z"

Bounds = tuple[int, int]
"""Least and most."""


@dataclass(frozen=True)
class ExpectedEnd:
    """One end, told from all others by its address family and ports."""

    scenario: str
    attributes: Mapping[str, Scalar | None]
    """What is known exactly; None of one that must be absent."""
    event: str = CLOSED
    exhaustive: bool = False
    """Whether there may be no others, but those that are measured."""
    unspecified: frozenset[str] = frozenset()
    """Attributes of which nothing is known, not even whether they are there."""
    at_least: Mapping[str, int] = field(default_factory=dict[str, int])
    """Attributes of which only a lower bound is known."""
    measured: Mapping[str, Bounds | None] = field(default_factory=dict[str, "Bounds | None"])
    """Times, in ns; None of one that must be absent."""
    retransmits: Bounds = (0, ANY_NUMBER)
    """Segments that were sent again: a kernel whose CPUs are busy may do so though nothing is lost."""
    closed: Bounds | None = None
    """Unix ns within which it was closed."""
    created: Bounds | None = None
    """Unix ns within which its owner was created."""

    @property
    def ports(self) -> tuple[int, int]:
        """Local and peer port."""
        return int(self.attributes["network.local.port"] or 0), int(self.attributes["network.peer.port"] or 0)

    def check(self, log: ReceivedLog) -> None:
        """That this is its record, field by field."""
        wrong = self.differences(log)
        assert not wrong, "\n".join([f"{self.scenario}, {self.attributes.get('tcplife.role')}:", *wrong])

    def differences(self, log: ReceivedLog) -> list[str]:
        """Why this is not its record; none if it is."""
        return [*self._of_attributes(log), *self._of_bounds(log), *_of_all(log, self.event)]

    def _of_attributes(self, log: ReceivedLog) -> list[str]:
        names = {*self.attributes}
        if self.exhaustive:
            names |= log.attributes.keys() - self.measured.keys() - self.unspecified - HEALTH
        if self.created:
            names.discard(_CREATED)
        return [
            f"{name} is {log.attributes.get(name)!r}, not {self.attributes.get(name)!r}"
            for name in sorted(names)
            if log.attributes.get(name) != self.attributes.get(name)
        ]

    def _of_bounds(self, log: ReceivedLog) -> list[str]:
        bounds: dict[str, tuple[int, Bounds]] = {}
        wrong: list[str] = []
        for name, within in self.measured.items():
            if name == _HANDSHAKE and name not in log.attributes and within and _is_left_out(log):
                continue
            if (name in log.attributes) != (within is not None):
                wrong.append(f"{name} is {'there' if name in log.attributes else 'absent'}")
            elif within is not None:
                bounds[name] = round(float(log.attributes[name]) * 1e9), within
        for name, least in self.at_least.items():
            bounds[name] = int(log.attributes.get(name, 0)), (least, ANY_NUMBER)
        bounds[_RETRANSMITS] = int(log.attributes.get(_RETRANSMITS, 0)), self.retransmits
        if self.closed:
            bounds["the timestamp"] = (
                log.time_unix_nano,
                (self.closed[0] - CLOCK_STEP, self.closed[1] + CLOCK_STEP),
            )
        if self.created:
            bounds[_CREATED] = unix_ns(str(log.attributes.get(_CREATED, _LONG_AGO))), self.created
        return wrong + [
            f"{name} is {value}, not from {within[0]} to {within[1]}"
            for name, (value, within) in bounds.items()
            if not within[0] <= value <= within[1]
        ]


def _is_left_out(log: ReceivedLog) -> bool:
    """Whether it may lack its handshake: one of whole ms is taken for what the timestamp option gives (handshake.h).

    A server's is the first round trip, which most often is the least one as well.
    """
    least = round(float(log.attributes.get("tcplife.rtt.min", 0)) * 1e6)
    return log.attributes.get("tcplife.role") == "server" and least > 0 and least % 1000 == 0


def _of_all(log: ReceivedLog, event: str) -> list[str]:
    """What holds for each record of this event."""
    retransmits, at_first = (int(log.attributes.get(name, 0)) for name in (_RETRANSMITS, _AT_FIRST))
    severity = (13, "WARN") if "error.type" in log.attributes else (9, "INFO")
    holds = {
        f"the event is {log.event_name}, not {event}": log.event_name == event,
        f"the severity is {log.severity_text}": (log.severity_number, log.severity_text) == severity,
        "it was observed before it was": log.time_unix_nano <= log.observed_time_unix_nano,
        "nothing was counted, and yet is there": 0 not in {log.attributes.get(name) for name in HEALTH},
        "more was sent again at first than ever": at_first <= retransmits,
        "not all that was sent again before it failed is": retransmits == at_first or event != FAILED,
        f"not all of {sorted(log.attributes)} are known": log.attributes.keys()
        <= {attribute.name for attribute in ATTRIBUTES},
    }
    return [what for what, is_so in holds.items() if not is_so]
