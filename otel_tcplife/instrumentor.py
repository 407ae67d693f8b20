"""The plugin: what OpenTelemetry's Python agent finds by the entry point `opentelemetry_instrumentor: tcplife`.

All else is imported only when it is to trace, and nothing that goes wrong gets out of here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_tcplife.log import logger

if TYPE_CHECKING:
    from otel_tcplife.tracing import Tracing

NAME = "tcplife"

_RESOURCE_TRACKER = re.compile(r"from (?:\w+\.)*resource_tracker import main; ?main\(")
"""What such a process is told to run."""


class TcplifeInstrumentor(BaseInstrumentor):
    """Feeds the closed TCP sessions of this process, or of this host, to the agent's logger and meter providers.

    `instrument()` takes `logger_provider`, `meter_provider` and the options of `otel_tcplife.options`.
    """

    _tracing: Tracing | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: it is no library that is instrumented."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Start tracing. What cannot be is said in one log line. A second call does nothing."""
        if not self.is_instrumented_by_opentelemetry:  # a configuration file has it loaded before the entry point does
            super().instrument(**kwargs)

    def uninstrument(self, **kwargs: Any) -> None:
        """Hand over what there is, and trace no more. A second call does nothing."""
        if self.is_instrumented_by_opentelemetry:
            super().uninstrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        kwargs.pop("tracer_provider", None)  # some agents give theirs to every plugin
        try:
            if not _is_unwanted():
                from otel_tcplife.tracing import start_tracing

                self._tracing = start_tracing(**kwargs)
        except Exception as error:  # noqa: BLE001 nothing that goes wrong here may trouble the application
            logger.warning("cannot trace: %s%s", _place_of(kwargs), str(error) or repr(error))

    def _uninstrument(self, **kwargs: Any) -> None:
        try:
            if self._tracing:
                self._tracing.stop()
        except Exception as error:  # noqa: BLE001
            logger.warning("%s: %s", type(error).__name__, error)
        finally:
            self._tracing = None


def _is_unwanted() -> bool:
    """Whether the user has said so; or runs the command, which traces by itself; or nothing here uses the network."""
    from otel_tcplife.declarative import is_disabled

    disabled = [name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")]
    return (
        os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or NAME in disabled
        or "*" in disabled
        or is_disabled(NAME)
        or _is_command()
        or _is_resource_tracker()
    )


def _place_of(options: Mapping[str, object]) -> str:
    """What the user is told of where the options are, which may have what is wrong: the agent's file, if they are."""
    from otel_tcplife.declarative import place_of

    path = place_of(options, NAME)
    return f"{path}: " if path else ""


def _is_command() -> bool:
    return os.path.basename(next(iter(sys.orig_argv[1:]), "")) == "otel-tcplife" or sys.orig_argv[1:3] == [
        "-m", "otel_tcplife",
    ]  # fmt: skip


def _is_resource_tracker() -> bool:
    """Whether this process only cleans up for another one: multiprocessing starts it, and so does joblib's copy, loky.

    Those that multiprocessing starts to work, or to fork what works, run other modules in the same way.
    """
    code = sys.orig_argv[sys.orig_argv.index("-c") + 1 :][:1] if "-c" in sys.orig_argv else []
    return any(_RESOURCE_TRACKER.match(text) for text in code)
