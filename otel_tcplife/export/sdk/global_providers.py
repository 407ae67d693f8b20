"""Which providers an application has set up, by public names of the SDK alone. This imports little."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.metrics import get_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.sdk.logs_api import SdkLoggerProvider, get_logger_provider


def has_global_providers() -> bool:
    """Whether somebody has set up a global provider of logs or of metrics."""
    return isinstance(get_logger_provider(), SdkLoggerProvider) or isinstance(get_meter_provider(), MeterProvider)


def is_any_set_up() -> bool:
    """Whether anybody has set up a provider of logs or of metrics, of whatever class: the API's own take nothing."""
    modules = (type(provider).__module__ for provider in (get_logger_provider(), get_meter_provider()))
    return not all(module.startswith(("opentelemetry._logs", "opentelemetry.metrics")) for module in modules)


def are_providers_of_the_sdk() -> bool:
    """Whether both are there and of the SDK's own classes."""
    return type(get_logger_provider()) is SdkLoggerProvider and type(get_meter_provider()) is MeterProvider


def application_resource(logger_provider: object = None) -> Resource:
    """That of the providers: the given one of logs or the global ones; that of the environment where none tells it.

    The meter provider of the SDK does not tell its own; an agent gives the same one to all.
    """
    for provider in (logger_provider, get_logger_provider(), trace.get_tracer_provider()):
        resource = getattr(provider, "resource", None)
        if isinstance(resource, Resource):
            return resource
    return Resource.create()
