"""What the telemetry is about: the user's words before ours, and never a failure over what they are made of."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from pathlib import Path

import pytest

from otel_tcplife.conventions import SCHEMA_URL
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import check_resource_variables, host_resources
from otel_tcplife.host import THE_HOST, Entity
from otel_tcplife.version import __version__
from tests.unit.made_up_packages import make_package

NAME, ATTRIBUTES = "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"
DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


def _service_name() -> object:
    return host_resources().own.attributes["service.name"]


def test_nobody_has_named_the_service() -> None:
    assert _service_name() == "otel-tcplife"


@pytest.mark.parametrize(
    "name", ["mine", "unknown_service", "unknown_service:mine", f"unknown_service:{sys.executable}"]
)
@pytest.mark.parametrize("variable", [NAME, ATTRIBUTES])
def test_the_user_has_named_the_service(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, name if variable == NAME else f"team=a,service.name={name}")
    assert _service_name() == name


_SOURCE = """
from opentelemetry.sdk.resources import Resource, ResourceDetector

class Named(ResourceDetector):
    def detect(self):
        return Resource({"service.name": "unknown_service:of-a-detector", "team": "s\\udcfcd", "all": ["\\udcfc", 1]})

class Failing(ResourceDetector):
    def __init__(self):
        raise RuntimeError("no http://user:s3cret@c")
    def detect(self):
        return Resource({})
"""


@pytest.fixture
def _detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"named": "Named", "failing": "Failing"}
    make_package(tmp_path, f"detectors_of_{tmp_path.name}", _SOURCE, "opentelemetry_resource_detector", entries)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_detectors")
def test_a_detector_has_named_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has that is not UTF-8 can be sent all the same."""
    monkeypatch.setenv(DETECTORS, "named")
    attributes = host_resources().own.attributes
    assert attributes["service.name"] == "unknown_service:of-a-detector"
    assert (attributes["team"], attributes["all"]) == ("s\ufffdd", ("\ufffd", 1))
    LogEncoder(host_resources())


@pytest.mark.usefixtures("_detectors")
@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("named,nope", f"{DETECTORS}: there is no detector 'nope'; use some of "),
        (
            "failing",
            f"{DETECTORS}: the detector 'failing' cannot be used: RuntimeError: no http://c; mend the package ",
        ),
    ],
)
def test_a_detector_that_cannot_be_used(names: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DETECTORS, names)
    with pytest.raises(BadUsage) as raised:
        host_resources()
    assert str(raised.value).startswith(line)


def test_the_name_of_the_host_can_be_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a\udcfc\x1bb")
    assert host_resources().own.attributes["host.name"] == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        (NAME, "s\udcfcd", f"{NAME} is not UTF-8; write it in UTF-8"),
        (ATTRIBUTES, "team=s\udcfcd", f"{ATTRIBUTES} is not UTF-8; write it in UTF-8"),
        (ATTRIBUTES, "a=b,c", f"{ATTRIBUTES}: entry 2 is not of the form key=value; separate entries with commas, "),
        (ATTRIBUTES, "=b", f"{ATTRIBUTES}: entry 1 is not of the form key=value; separate entries with commas, "),
    ],
)
def test_bad_variables(variable: str, value: str, line: str) -> None:
    with pytest.raises(BadUsage) as raised:
        check_resource_variables({variable: value})
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize("value", ["", " ", "a=b", "a=b, c=d,", "a=", "a=b=c", "caf\u00e9=\u00fc"])
def test_good_attributes(value: str) -> None:
    check_resource_variables({ATTRIBUTES: value})


def test_what_is_known_of_the_host_and_of_ourselves() -> None:
    resource = host_resources().own
    attributes = dict(resource.attributes)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert (attributes["host.arch"], attributes["os.type"]) == (architecture, "linux")
    assert attributes["telemetry.sdk.name"] == "otel-tcplife"
    assert attributes["telemetry.sdk.language"] == "python"
    assert attributes["telemetry.sdk.version"] == attributes["service.version"] == __version__
    assert resource.schema_url == SCHEMA_URL


def test_the_instance_is_the_same_after_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the host has no machine id; then it is made of the host's name."""
    first, second = (host_resources().own.attributes["service.instance.id"] for _ in range(2))
    assert first == second == str(uuid.UUID(str(first)))
    read_text = Path.read_text

    def without_machine_id(path: Path, **options: str) -> str:
        if path.name == "machine-id":
            raise FileNotFoundError
        return read_text(path, **options)

    monkeypatch.setattr(Path, "read_text", without_machine_id)
    attributes = host_resources().own.attributes
    assert "host.id" not in attributes
    assert attributes["service.instance.id"] not in ("", first)


@pytest.mark.parametrize("content", ["", "uninitialized\n", "x" * 32, "0123456789abcdef0123456789abcdef\n"])
def test_a_machine_id_that_is_none_is_absent(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_text(_path: Path, **_options: str) -> str:
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    assert host_resources().own.attributes.get("host.id") == (content.strip() if content[:1] == "0" else None)


def test_the_users_words_win() -> None:
    words = "service.instance.id=mine,host.id=theirs,host.arch=other,telemetry.sdk.name=another"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(ATTRIBUTES, words)
        attributes = host_resources().own.attributes
    for pair in words.split(","):
        name, _, value = pair.partition("=")
        assert attributes[name] == value


def test_what_is_observed_is_not_our_service_nor_in_our_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent in a pod is told in this variable where it is, and where its host is."""
    ours = "k8s.pod.name=agent,k8s.pod.uid=ours,k8s.container.name=c,container.id=ours,process.pid=1"
    kept = {"k8s.node.name": "n", "k8s.cluster.name": "k", "team": "a"}
    monkeypatch.setenv(ATTRIBUTES, ",".join([ours, *(f"{name}={value}" for name, value in kept.items())]))
    resources = host_resources()
    found = {**resources.of(Entity("theirs", "pod")).attributes}
    own = {**resources.own.attributes}
    assert own.keys() >= {"k8s.pod.name", "service.name", "service.version", "service.instance.id"}
    assert found == {
        "container.id": "theirs",
        "k8s.pod.uid": "pod",
        **kept,
        **{name: value for name, value in own.items() if name.startswith(("host.", "os.", "telemetry."))},
    }
    assert resources.of(THE_HOST) is resources.own
    assert resources.of(Entity("theirs")).schema_url == SCHEMA_URL


@pytest.mark.parametrize("variable", [NAME, ATTRIBUTES])
def test_a_service_that_the_user_has_named_is_on_every_resource(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "flows" if variable == NAME else "service.name=flows,service.namespace=net")
    found = {**host_resources().of(Entity("theirs")).attributes}
    names = {name: value for name, value in found.items() if name.startswith("service.")}
    assert names == {"service.name": "flows", **({} if variable == NAME else {"service.namespace": "net"})}
