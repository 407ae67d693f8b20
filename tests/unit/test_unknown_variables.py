"""A variable that looks like ours and is none is told once, with what may be meant."""

from __future__ import annotations

from otel_tcplife.unknown_variables import warn_of_unknown_variables


def test_what_is_misspelt_is_told_with_the_nearest_name(logged: list[str]) -> None:
    environ = {"OTEL_PYTHON_TCPLIFE_SCOPES": "host", "OTEL_PYTHON_TCPLIFE_SCOPE": "host", "OTEL_PYTHON_TCPLIFE_ZZ": ""}
    warn_of_unknown_variables(environ)
    assert [line.removeprefix("otel-tcplife: ") for line in logged] == [
        "there is no variable OTEL_PYTHON_TCPLIFE_SCOPES; did you mean OTEL_PYTHON_TCPLIFE_SCOPE?",
        "there is no variable OTEL_PYTHON_TCPLIFE_ZZ",
    ]


def test_what_is_known_is_not_told(logged: list[str]) -> None:
    warn_of_unknown_variables({"OTEL_PYTHON_TCPLIFE_SCOPE": "host", "OTEL_PYTHON_LOG_LEVEL": "debug"})
    assert not logged
