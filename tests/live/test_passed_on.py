"""Capabilities of a file are passed on to what loads the program, and to nothing else, or one line says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from otel_tcplife.capabilities import LOADING, Capability, capabilities_of
from tests.live import passed_on_main
from tests.support.for_all_users import as_nobody, python_with_capabilities

_SETPCAP = 1 << 8
_OTHER = 1 << 10  # CAP_NET_BIND_SERVICE, which tracing has nothing to do with
_USEFUL = (Capability.DAC_READ_SEARCH | Capability.SYS_RESOURCE) & capabilities_of().bounding
"""Those that a file may give here."""
_NOTHING = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}


def _run(confinement: str, permitted: int) -> dict[str, Any]:
    environ = {"PYTHONPATH": _root(), "OPENBLAS_NUM_THREADS": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1"}
    with python_with_capabilities(permitted | _SETPCAP) as python:
        command = [*as_nobody(), str(python), passed_on_main.__file__, confinement, sys.executable]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert not done.returncode, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)


def _root() -> str:
    return passed_on_main.__file__.removesuffix("/tests/live/passed_on_main.py")


def _sets(lines: list[str]) -> dict[str, int]:
    sets = {name: int(bits, 16) for name, bits in (line.split(":") for line in lines)}
    del sets["CapBnd"]
    return sets


@pytest.mark.parametrize("confinement", ["nothing", "no_new_privs"])
@pytest.mark.parametrize(
    ("permitted", "expected"),
    [
        (LOADING, LOADING),
        (LOADING | _USEFUL | _OTHER, LOADING | _USEFUL),
        (Capability.SYS_ADMIN | _OTHER, Capability.SYS_ADMIN),
        (LOADING | Capability.SYS_ADMIN, LOADING),
        (_OTHER | _USEFUL, 0),
    ],
)
def test_what_is_passed_on_is_what_tracing_takes(confinement: str, permitted: int, expected: int) -> None:
    told = _run(confinement, permitted)
    assert not told["is_dumpable"]
    assert _sets(told["passed on"]) == dict.fromkeys(_NOTHING, expected)
    assert told["before"] == told["meanwhile"] == told["after"]
    assert len(told["after"]) == 1
    assert _sets(told["later"]) == _NOTHING
    assert [bool(error) for error in told["errors"]] == [not expected] * 2


@pytest.mark.parametrize(
    ("confinement", "remedy"),
    [
        ("securebits", "leave SECBIT_NO_CAP_AMBIENT_RAISE unset"),
        ("bounding set", "leave them in the bounding set"),
        ("refusing filter", "let capset(2) and prctl(2) through"),
        ("killing filter", "let capset(2) and prctl(2) through"),
        ("gevent", "before something replaces threads (gevent)"),
    ],
)
def test_what_cannot_be_passed_on_is_one_line_with_the_remedy(confinement: str, remedy: str) -> None:
    told = _run(confinement, LOADING)
    assert told["before"] == told["meanwhile"] == told["after"]
    assert _sets(told["later"]) == _sets(told["passed on"]) == _NOTHING
    of_loader, of_helper = told["errors"]
    assert "Operation not permitted" in of_loader
    assert "may not load BPF programs without CAP_BPF and CAP_PERFMON" in of_helper
    for error in told["errors"]:
        assert remedy in error
        assert "\n" not in error
