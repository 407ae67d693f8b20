"""README's recipe for the plugin, followed to the letter in an empty environment; and what is said without an SDK."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distros.environments import environment
from tests.distros.instrumented import APPLICATION, run
from tests.distros.receiver import Receiver
from tests.plugin.traced import wait_until

_CHECKOUT = Path(__file__).parents[2]


def _recipe() -> list[str]:
    """The commands of the section on the plugin, up to its first sentence."""
    section = (_CHECKOUT / "README.md").read_text().partition("\n## The plugin\n")[2]
    lines = [line.partition("  #")[0].strip() for line in re.findall(r"^    (\S.*)$", section, re.MULTILINE)]
    return lines[: lines.index("opentelemetry-instrument python app.py") + 1]


def test_the_recipe_exports_sessions(tmp_path: Path) -> None:
    install, start = _recipe()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv" / "bin"
    environ = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", install], cwd=_CHECKOUT, env=environ, check=True, capture_output=True)
    shutil.copy(APPLICATION, tmp_path / "app.py")
    with Receiver() as receiver:
        ran = run(binaries, ["sh", "-c", start], {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}, tmp_path)
        wait_until(lambda: len(receiver.received().logs) >= len(ran.ends()) + 1, lambda: ran.said)
        wait_until(lambda: receiver.received().points, lambda: ran.said)
    ran.assert_said_nothing_of_ours()
    reported = {(log.attributes["network.local.port"], log.attributes["network.peer.port"]) for log in
                receiver.received().logs}  # fmt: skip
    assert ran.ends().keys() <= reported


@pytest.mark.parametrize("export", ["auto", "providers"])
def test_without_an_sdk_one_line_says_what_to_install(export: str, tmp_path: Path) -> None:
    with environment("bare", []) as binaries:
        command = ["opentelemetry-instrument", "python", APPLICATION]
        ran = run(binaries, command, {"OTEL_PYTHON_TCPLIFE_EXPORT": export}, tmp_path)
    [said] = [line for line in ran.said.splitlines() if "tcplife" in line]
    assert said.startswith("otel-tcplife: cannot trace: no OpenTelemetry SDK is set up here")
    assert "pip install opentelemetry-distro" in said
