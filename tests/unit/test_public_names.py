"""What the package itself offers: names that are imported when they are used, and their types."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, resources

import pytest

import otel_tcplife
from otel_tcplife import TcplifeInstrumentor, __version__, instrumentor, start_tracing, tracing

_MODULES_IMPORTED = """
import sys
before = set(sys.modules)
import otel_tcplife
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_package_imports_nothing_else() -> None:
    """Neither NumPy nor OpenTelemetry, nor anything of the standard library."""
    command = [sys.executable, "-c", _MODULES_IMPORTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["otel_tcplife"]


def test_the_names_are_those_of_their_modules() -> None:
    assert start_tracing is tracing.start_tracing
    assert TcplifeInstrumentor is instrumentor.TcplifeInstrumentor
    assert __version__ == metadata.version("otel-tcplife")


@pytest.mark.parametrize("name", otel_tcplife.__all__)
def test_each_name_can_be_the_first_that_is_used(name: str) -> None:
    command = [sys.executable, "-c", f"import otel_tcplife; otel_tcplife.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match=r"^module 'otel_tcplife' has no attribute 'nonsense'$"):
        _ = getattr(otel_tcplife, "nonsense")  # noqa: B009 type checkers know that there is none


def test_type_checkers_are_told_to_read_the_types() -> None:
    """PEP 561."""
    assert resources.files("otel_tcplife").joinpath("py.typed").is_file()
