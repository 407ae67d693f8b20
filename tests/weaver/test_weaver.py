"""weaver takes docs/registry/, and finds what is sent there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.every_event import ALL_OPTIONS, OF_EACH_EVENT, make_sessions
from tests.support.host_agent import HostAgent
from tests.support.traffic import Traffic
from tests.support.weaver import LiveCheck, registry_with_its_dependency, weaver


def test_weaver_finds_nothing_wrong(tmp_path: Path) -> None:
    registry = registry_with_its_dependency(tmp_path)
    checked = weaver("registry", "check", "--registry", str(registry), "--future")
    assert checked.returncode == 0, checked.stdout
    assert "warning" not in checked.stdout.lower()


def test_weaver_finds_a_name_that_the_semantic_conventions_do_not_have(tmp_path: Path) -> None:
    registry = registry_with_its_dependency(tmp_path)
    attributes = registry / "attributes.yaml"
    attributes.write_text(attributes.read_text().replace("ref: process.vpid", "ref: process.virtual_pid"))
    checked = weaver("registry", "check", "--registry", str(registry), "--future")
    assert checked.returncode != 0
    assert "process.virtual_pid" in checked.stdout


@pytest.mark.parametrize("undeclared", ["", "tcplife.close.reason", "tcplife.outcome"])
def test_weaver_finds_what_is_not_in_the_registry(undeclared: str, traffic: Traffic, tmp_path: Path) -> None:
    registry = registry_with_its_dependency(tmp_path)
    if undeclared:
        for path in registry.glob("*.yaml"):
            path.write_text(path.read_text().replace(f": {undeclared}\n", ": tcplife.other\n"))
    with LiveCheck(registry) as live_check:
        sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": live_check.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        with HostAgent(["--no-table", "--otlp-file", str(tmp_path)], {**ALL_OPTIONS, **sent}):
            make_sessions(traffic, tmp_path)
        code, report = live_check.stop()
    statistics = report["statistics"]
    assert (code != 0) == bool(undeclared)
    assert {*statistics["seen_non_registry_attributes"]} == {undeclared} - {""}
    seen = {name for name, count in statistics["seen_registry_events"].items() if count}
    assert seen == {*OF_EACH_EVENT}
