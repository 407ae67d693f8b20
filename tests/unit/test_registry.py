"""docs/registry/ is what the code says, keeps what was promised, and has only names that there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.semconv.schemas import Schemas

from otel_tcplife.attribute import Attribute
from otel_tcplife.conventions import SCHEMA_URL
from otel_tcplife.export.resource import host_resources
from otel_tcplife.instruments import EXPORT_RECORDS, PROBE_SESSIONS
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.probe.balance import outcomes
from otel_tcplife.probe.counters import NUMBERS
from otel_tcplife.session import Event
from otel_tcplife.version import __version__
from tests.registry import CONTRACT, DIRECTORY, RESOURCE, Contract, broken, contract, files, is_ours, recorded
from tests.support import semantic_conventions


def test_it_is_up_to_date() -> None:
    there = {path.name: path.read_text() for path in DIRECTORY.glob("*.yaml")}
    assert there == files(contract()), "run `python -m tests.registry`"


def test_the_contract_is_kept() -> None:
    gone = "\n".join(broken(contract()))
    assert not gone, (
        f"the contract that {CONTRACT} has is broken, as this is no more:\n{gone}\nKeep it. Or, where the break is "
        "meant, say so in CHANGELOG.md and run `python -m tests.registry record`."
    )


def test_the_contract_is_recorded_for_each_version() -> None:
    assert recorded()[0] == __version__, "run `python -m tests.registry record`"


_EXPORTED = [replace(each, members=each.members[1:]) for each in EXPORT_RECORDS.attributes]


def _with_events(change: Callable[[Attribute], Attribute | None]) -> Contract:
    """The contract with each attribute of the events changed, or left out."""
    now = contract()
    changed = {event: [change(each) for each in attributes] for event, attributes in now.events.items()}
    return replace(now, events={event: tuple(each for each in those if each) for event, those in changed.items()})


def _with_metric(named: str, **changes: Any) -> Contract:
    now = contract()
    metrics = tuple(replace(each, **changes) if each.name == named else each for each in now.metrics)
    return replace(now, metrics=metrics)


_BREAKS = {
    "event tcplife.connect.failed has network.transport": _with_events(
        lambda each: None if each.name == "network.transport" else each
    ),
    "event tcplife.session.progress": replace(
        contract(), events={event: each for event, each in contract().events.items() if event != Event.SESSION_PROGRESS}
    ),
    "attribute tcplife.comm is string": _with_events(
        lambda each: replace(each, kind="int") if each.name == "tcplife.comm" else each
    ),
    "attribute tcplife.outcome=exported": _with_metric(EXPORT_RECORDS.name, attributes=tuple(_EXPORTED)),
    "metric tcplife.io is counter in By": _with_metric("tcplife.io", unit="KiBy"),
    "metric tcplife.session.rtt is histogram in s": _with_metric("tcplife.session.rtt", instrument="gauge"),
    "metric tcplife.retransmits has server.port": _with_metric("tcplife.retransmits", name="tcplife.renamed"),
    "resource has service.name": replace(contract(), resource=contract().resource[1:]),
}


@pytest.mark.parametrize(("promise", "changed"), _BREAKS.items(), ids=_BREAKS)
def test_a_change_that_breaks_the_contract_is_named(promise: str, changed: Contract) -> None:
    assert promise in recorded()[1]
    assert promise in broken(changed)


def test_what_is_added_breaks_nothing() -> None:
    now = contract()
    new = replace(now.metrics[0], name="tcplife.new")
    assert broken(replace(now, metrics=(*now.metrics, new), resource=(*now.resource, "tcplife.new"))) == []


def test_the_outcomes_are_those_that_are_counted() -> None:
    [of_sessions] = PROBE_SESSIONS.attributes
    assert of_sessions.members == (*outcomes(NUMBERS, {}), "unreadable")
    assert {*EXPORT_RECORDS.attributes[1].members} == {each.value for each in Outcome}


@pytest.mark.usefixtures("no_configuration_of_the_host")
def test_the_resource_is_what_the_host_agent_says_of_itself() -> None:
    """A host without a machine id has no `host.id`, and one of a rare kind no `host.arch`."""
    attributes = host_resources().own.attributes
    assert {*RESOURCE} - {"host.id", "host.arch"} <= attributes.keys() <= {*RESOURCE}


def test_the_names_of_others_are_those_of_the_semantic_conventions() -> None:
    of, known, metrics = contract(), semantic_conventions.attributes(), semantic_conventions.metrics()
    assert SCHEMA_URL in {schema.value for schema in Schemas}
    assert [name for name in of.definitions() if is_ours(name) == (name in known)] == []
    theirs = {each.name: (each.instrument, each.unit) for each in of.metrics if not is_ours(each.name)}
    assert theirs == {name: metrics.get(name) for name in theirs}
