"""The Collector that adds what Kubernetes knows takes its configuration. There is no cluster here to run it in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.collector import KUBERNETES_CONFIG, otelcol


@pytest.fixture(scope="module")
def collector() -> Path:
    """Its binary; it is a failure here where that cannot be built."""
    binary = otelcol(KUBERNETES_CONFIG.parent / "manifest.yaml")
    assert binary
    return binary


def _validated(binary: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [binary, "validate", "--config", config]
    return subprocess.run(command, env={"K8S_NODE_NAME": "n"}, check=False, capture_output=True, text=True)


def test_the_configuration_is_taken_without_a_warning(collector: Path) -> None:
    done = _validated(collector, KUBERNETES_CONFIG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("pod_association:", "pod_associations:"), ("k8s.pod.name", "k8s.pod.nam"), ("auth_type: s", "auth_type: x")],
)
def test_what_is_spelled_wrong_is_not(collector: Path, right: str, wrong: str, tmp_path: Path) -> None:
    """So that the other test can fail."""
    config = tmp_path / "collector.yaml"
    config.write_text(KUBERNETES_CONFIG.read_text().replace(right, wrong))
    assert _validated(collector, config).returncode != 0
