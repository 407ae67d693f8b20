"""reduce.yaml keeps whole connections of small sessions, all that are large, and all errors; and none on loopback."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.collector.conftest import host_through
from tests.support.collector import REDUCE_CONFIG
from tests.support.elsewhere import CLOSED_PORT, PORT, Elsewhere
from tests.support.received import last_points
from tests.support.traffic import Traffic

_RATIO = "tcplife.sampling.ratio"


@pytest.mark.usefixtures("binary")
def test_what_it_keeps(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """The chance that it keeps none or all of the small ones, and this fails, is 1 in 2 ** 99."""
    traffic = Traffic()
    with host_through(REDUCE_CONFIG, tmp_path, {"OTEL_TCPLIFE_COLLECTOR_SAMPLE_PERCENT": "50"}) as through:
        small, large = elsewhere.sessions(100, sent=10), elsewhere.sessions(10, sent=20000)
        refused = elsewhere.refused(5)
        traffic.sessions(10)
    received = through.received()
    assert not traffic.of(received.logs)
    traffic.close()
    mine = [log for log in received.logs if log.attributes.get("tcplife.netns") == elsewhere.inode]
    ends = Counter(frozenset(log.ports) for log in mine)
    connections = {
        kind: {frozenset((port, PORT)) for port in ports} for kind, ports in (("small", small), ("large", large))
    }
    assert {ends[each] for each in connections["large"]} == {2}
    assert {ends[each] for each in connections["small"]} == {0, 2}
    failed = [log for log in mine if log.event_name == "tcplife.connect.failed"]
    assert {log.ports for log in failed} == {(port, CLOSED_PORT) for port in refused}
    sampled = [log for log in mine if _RATIO in log.attributes]
    assert {frozenset(log.ports) for log in sampled} == {each for each in connections["small"] if ends[each]}
    assert {log.attributes[_RATIO] for log in sampled} == {0.5}
    assert not [log for log in received.logs if {"flow", "keep"} & log.attributes.keys()]
    counted = last_points(received.points, "tcplife.session.duration")
    assert sum(point.count or 0 for point in counted) >= 2 * (len(small) + len(large) + 10)
