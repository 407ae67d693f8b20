"""Who exports the sessions of an application."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from otel_tcplife import route
from otel_tcplife.errors import BadUsage
from otel_tcplife.option import Scope
from otel_tcplife.plugin_options import Export
from otel_tcplife.route import why_providers

_OTLP = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}


@pytest.fixture(autouse=True)
def standard_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of opentelemetry-distro, which has set the SDK's own providers up."""
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.auto_instrumentation", ModuleType("agent"))
    monkeypatch.setattr(route, "are_providers_of_the_sdk", lambda: True)


def _why(environ: dict[str, str], export: Export = Export.AUTO, scope: Scope = Scope.PROCESS) -> str:
    return why_providers(export, scope, given_providers=False, environ=environ)


@pytest.mark.parametrize(
    "environ", [_OTLP, {**_OTLP, "OTEL_LOGS_EXPORTER": "none"}, {**_OTLP, "OTEL_METRICS_EXPORTER": " none "}]
)
@pytest.mark.parametrize("export", [Export.AUTO, Export.HELPER])
def test_a_helper_where_all_is_otlp(environ: dict[str, str], export: Export) -> None:
    assert _why(environ, export) == ""


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({**_OTLP, "OTEL_LOGS_EXPORTER": "console"}, "OTEL_LOGS_EXPORTER is 'console'"),
        ({**_OTLP, "OTEL_METRICS_EXPORTER": "otlp,console"}, "OTEL_METRICS_EXPORTER is 'otlp,console'"),
        ({"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, "no OTLP exporter"),
        ({}, "no OTLP exporter"),
        (
            {
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            },
            "no OTLP exporter",
        ),
    ],
)
def test_what_no_helper_exports_is_refused_where_one_is_asked_for(environ: dict[str, str], why: str) -> None:
    assert why in _why(environ)
    with pytest.raises(BadUsage, match="OTEL_PYTHON_TCPLIFE_EXPORT=helper cannot be: ") as refused:
        _why(environ, Export.HELPER)
    assert why in refused.value.problem


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "OTEL_LOGS_EXPORTER is not set"),
        ({**_OTLP, "OTEL_CONFIG_FILE": "agent.yaml"}, "OTEL_CONFIG_FILE is set"),
        ({**_OTLP, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "5"}, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT is set"),
        ({**_OTLP, "OTEL_PYTHON_CONFIGURATOR": "vendors"}, "not set up by opentelemetry-distro"),
    ],
)
def test_the_providers_where_a_helper_might_not_do_the_same_unless_it_is_asked_for(
    environ: dict[str, str], why: str
) -> None:
    assert why in _why(environ)
    assert _why(environ, Export.HELPER) == ""


def test_the_providers_where_the_application_gives_them_or_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "gives its own" in why_providers(Export.AUTO, Scope.PROCESS, given_providers=True, environ=_OTLP)
    monkeypatch.setattr(route, "are_providers_of_the_sdk", lambda: False)
    assert "not the SDK's own" in _why(_OTLP)
    monkeypatch.delitem(sys.modules, "opentelemetry.instrumentation.auto_instrumentation")
    assert "not set up by opentelemetry-distro" in _why(_OTLP)


def test_the_providers_where_they_are_asked_for_or_the_host_is_traced() -> None:
    assert _why(_OTLP, Export.PROVIDERS) == "OTEL_PYTHON_TCPLIFE_EXPORT=providers"
    assert _why(_OTLP, scope=Scope.HOST) == "the scope is host"
    with pytest.raises(BadUsage, match="the scope is host"):
        _why(_OTLP, Export.HELPER, Scope.HOST)


def test_the_providers_in_a_process_that_adopts_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert "the parent of all orphans" in _why(_OTLP)


def test_the_providers_where_no_python_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "this_interpreter", lambda: None)
    assert "is no Python" in _why(_OTLP)
