"""The files of collector-config/kubernetes/ are what the API takes, and the container can do its work within them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.for_all_users import NOBODY, directory_of, in_reach_of_all
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.patience import eventually
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic

_DIRECTORY = Path(__file__).parents[2] / "collector-config" / "kubernetes"
_IMAGE = _DIRECTORY.with_name("image") / "Dockerfile"
_OBJECTS = ("namespace.yaml", "access.yaml", "daemonset.yaml")
_BINARIES = Path(sys.executable).parent


@pytest.mark.parametrize("name", _OBJECTS)
def test_the_api_takes_it(name: str, tmp_path: Path) -> None:
    validate = [str(_BINARIES / "kubernetes-validate"), "--strict", "--quiet"]
    subprocess.run([*validate, str(_DIRECTORY / name)], check=True)
    wrong = tmp_path / name
    wrong.write_text((_DIRECTORY / name).read_text().replace("metadata:", "metadate:", 1))
    assert subprocess.run([*validate, str(wrong)], check=False, capture_output=True).returncode != 0


def test_kustomize_is_told_of_each_file() -> None:
    told = yaml.safe_load((_DIRECTORY / "kustomization.yaml").read_text())
    assert told["resources"] == [*_OBJECTS]
    [config] = told["configMapGenerator"]
    mounted = {volume["configMap"]["name"] for volume in _pod()["volumes"] if "configMap" in volume}
    assert mounted == {config["name"]}
    assert all((_DIRECTORY / name).exists() for name in config["files"])


def test_the_image_is_what_hadolint_asks_for() -> None:
    subprocess.run([str(_BINARIES / "hadolint"), str(_IMAGE)], check=True)


def _pod() -> dict[str, Any]:
    return yaml.safe_load((_DIRECTORY / "daemonset.yaml").read_text())["spec"]["template"]["spec"]


def test_with_its_capabilities_it_traces_and_its_probe_is_true_only_then(tmp_path: Path) -> None:
    """Only those: as root of a container that may gain no others, and then as the user that it becomes."""
    container = _pod()["containers"][0]
    added = ",".join(f"+{name.lower()}" for name in container["securityContext"]["capabilities"]["add"])
    confined = ["setpriv", f"--bounding-set=-all,{added}", "--inh-caps=-all", "--no-new-privs", "--"]
    received = tmp_path / "received"
    received.mkdir()
    traffic = Traffic()
    with FileReceiver(received) as receiver, directory_of(NOBODY) as directory:
        [command] = {str(container[probe]["exec"]["command"]) for probe in ("readinessProbe", "livenessProbe")}
        probe = yaml.safe_load(command.replace("/run/otel-tcplife", str(directory)))
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_PYTHON_TCPLIFE_ALIVE_FILE": str(directory / "alive"),
            "OTEL_PYTHON_TCPLIFE_SPOOL": str(directory / "spool"),
        }

        def is_alive() -> bool:
            return subprocess.run(probe, check=False, capture_output=True).returncode == 0

        assert not is_alive()
        with HostAgent([*container["args"], "--no-table"], environ, run=[*in_reach_of_all(), *confined]) as agent:
            eventually(is_alive)
            made = traffic.sessions(5)
            assert agent.stop() == 0
        assert not is_alive()
    assert len(traffic.of(read_otlp_json_lines(received / "logs.jsonl").logs)) == made
    traffic.close()
