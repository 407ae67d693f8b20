"""The manual page and the completions say what the command takes, and the wheel has them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from otel_tcplife.options import OPTIONS
from tests.manual import FILES

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_are_up_to_date(path: Path) -> None:
    """`python -m tests.manual` writes them."""
    assert path.read_text() == FILES[path]()


def test_the_page_has_each_option_and_variable() -> None:
    [page] = [text() for path, text in FILES.items() if path.suffix == ".8"]
    assert all(f"\\fB{option.variable}\\fR" in page for option in OPTIONS if option.variable)
    assert all(f"\\-\\-{name}" in page for name in ("otlp\\-file", "replay", "check", "user", "csv"))


def test_bash_completes_an_option() -> None:
    [completion] = [path for path in FILES if path.suffix == ".bash"]
    typed = "COMP_WORDS=(otel-tcplife --otl) COMP_CWORD=1"
    script = f"source {completion}; {typed}; _shtab_otel_tcplife; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "--otlp-file"


def test_the_wheel_has_them() -> None:
    text = (_ROOT / "pyproject.toml").read_text()
    places = "man/man8|bash-completion/completions|zsh/site-functions"
    shared = re.findall(rf'^"(docs/[^"]+)" = "share/(?:{places})/', text, re.MULTILINE)
    assert {_ROOT / path for path in shared} == {*FILES}
