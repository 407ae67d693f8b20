"""Each file of vendors/, laid over agent.yaml, sends with the headers and to the paths that it names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.collector.telemetry import send
from tests.support.collector import AGENT_CONFIG, VENDORS, Collector
from tests.support.otlp_receiver import HttpReceiver

_VENDORS = sorted(VENDORS.glob("*.yaml"))
_BY_OTHER_TESTS = {"azure", "google"}
"""Those that have more than headers: test_azure.py and test_google.py send with them."""
_VARIABLE = re.compile(r"\$\{env:(\w+)\}")


def _environment(text: str) -> dict[str, str]:
    """A value for each variable that the file asks for."""
    return {name: f"the-{name.lower().replace('_', '-')}" for name in _VARIABLE.findall(text)}


def _filled(text: str, environ: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: environ[found[1]], text)


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize(
    "vendor", [path for path in _VENDORS if path.stem not in _BY_OTHER_TESTS], ids=lambda path: path.stem
)
def test_what_is_sent_has_the_headers_of_the_vendor(vendor: Path, tmp_path: Path) -> None:
    text = vendor.read_text()
    environ = _environment(text)
    exporter: dict[str, Any] = yaml.safe_load(_filled(text, environ))["exporters"]["otlp_http"]
    endpoints: dict[str, str] = {name: url for name, url in exporter.items() if name.endswith("endpoint")}
    with HttpReceiver() as receiver:
        elsewhere = tmp_path / "elsewhere.yaml"
        here = {name: f"{receiver.endpoint}{urlsplit(url).path}" for name, url in endpoints.items()}
        elsewhere.write_text(yaml.safe_dump({"exporters": {"otlp_http": here}}))
        with Collector(tmp_path, overlays=[vendor, elsewhere], env=environ) as collector:
            send(collector, "http")
    assert {url.split(":")[0] for url in endpoints.values()} == {"https"}
    base = urlsplit(endpoints.get("endpoint", "")).path
    wanted = {urlsplit(url).path for name, url in endpoints.items() if name != "endpoint"}
    wanted |= {f"{base}/v1/{signal}" for signal in ("logs", "metrics")} if "endpoint" in endpoints else set()
    assert {request.path for request in receiver.requests} == wanted
    for request in receiver.requests:
        sent = {name: request.headers.get(name.lower()) for name in exporter["headers"]}
        assert sent == exporter["headers"]


@pytest.mark.parametrize("vendor", _VENDORS, ids=lambda path: path.stem)
def test_each_variable_is_explained_and_each_name_has_its_source(vendor: Path) -> None:
    text = vendor.read_text()
    head = text[: text.index("\n\n")]
    assert all(re.search(rf"^#   {name} +\S", head, re.MULTILINE) for name in _environment(text))
    assert re.search(r"^# From: https://", head, re.MULTILINE)


@pytest.mark.parametrize("vendor", _VENDORS, ids=lambda path: path.stem)
def test_the_collector_takes_it(binary: Path, vendor: Path) -> None:
    command = [binary, "validate", "--config", AGENT_CONFIG, "--config", vendor]
    done = subprocess.run(command, env=_environment(vendor.read_text()), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
