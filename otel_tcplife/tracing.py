"""Tracing within a Python application, which gets the telemetry through the providers of its OpenTelemetry SDK.

    with start_tracing(scope="host"):
        ...

What a process forks is traced by it, in the kernel. A helper exports until the last of them has gone; where the
providers export, what was forked goes on to be traced by itself should its tracer end first. Of the processes that
trace the whole host, one does at a time.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

from typing_extensions import Self

from otel_tcplife import forks
from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.log import logger
from otel_tcplife.option import Scope, text_of
from otel_tcplife.plugin_options import EXPORT, SCOPE, Export
from otel_tcplife.probe.host_tracer import host_tracer, is_host_traced
from otel_tcplife.unknown_variables import warn_of_unknown_variables

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from otel_tcplife.embedded import EmbeddedPipeline
    from otel_tcplife.export.sdk.logs_api import LoggerProvider
    from otel_tcplife.helper.start import Helper

_LOOK_AGAIN = {Scope.HOST: 5.0, Scope.PROCESS: 0.5}
"""Seconds between two looks at whether the process that traces has gone."""

_DAEMON_WITHIN = 2.0
"""Seconds after a fork in which a process that makes itself a daemon has closed all descriptors that it does not know.
Ours are opened after that, or they might be closed, and the numbers be given to files of its own."""

_IN_EACH_WORKER = (
    "call otel_tcplife.tracing.start_tracing() in each worker: in a function with @uwsgidecorators.postfork, or with "
    "lazy-apps when the application is loaded"
)

_tracings: WeakSet[Tracing] = WeakSet()


def start_tracing(
    *, logger_provider: LoggerProvider | None = None, meter_provider: MeterProvider | None = None, **options: object
) -> Tracing:
    """Trace this process, or with `scope="host"` this host, until stop() or the end of the process.

    The global providers stand for those that are not given. Of the options (see OPTIONS), those that are not given
    are those of the variables OTEL_PYTHON_TCPLIFE_*. Raise BadUsage or CannotTrace, with the reason and the remedy.
    """
    warn_of_unknown_variables()
    tracing = Tracing(options, logger_provider, meter_provider)
    tracing.start()
    return tracing


class Tracing:
    """Tracing that was started, in this process and in those that it forks."""

    def __init__(
        self,
        options: Mapping[str, object],
        logger_provider: LoggerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        """`options` are those that are given. Raise BadUsage."""
        self._options = {name: text for name, value in options.items() if (text := text_of(value)) is not None}
        self._scope = SCOPE.read(os.environ, Scope.PROCESS, self._options.get(SCOPE.name))
        self._export = EXPORT.read(os.environ, self._scope, self._options.get(EXPORT.name))
        self._providers = logger_provider, meter_provider
        self._pipeline: EmbeddedPipeline | Helper | None = None
        self._why_providers = ""
        """Why it is these that export; empty where a helper does."""
        self._has_helper = False
        """Whether it is a helper that traces this process, and what it forks, for good."""
        self._process = os.getpid()
        """The process that this object works in. In one that was forked otherwise than by Python it does nothing: none
        of its threads is there, and its locks may be held for ever."""
        self._tracer: int | None = None
        """The process whose tracing covers this one and what it forks, once there is one: itself, or one above it."""
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def is_tracing(self) -> bool:
        """Whether it is this process that traces, and not another one for it."""
        return self._pipeline is not None

    def start(self) -> None:
        """Trace, as soon as it is our turn. Raise BadUsage and CannotTrace."""
        from otel_tcplife.route import why_providers

        given = self._providers != (None, None)
        self._why_providers = why_providers(self._export, self._scope, given_providers=given)
        _tracings.add(self)
        atexit.register(self._at_exit)
        try:
            self._trace()
        except BaseException:
            self.stop()
            raise
        if not self.is_tracing:
            process = host_tracer()
            which = f" ({process})" if process else ""
            logger.warning("another process%s already traces this host; standing by until it exits", which)
            self._stand_by(_host_is_free)

    def stop(self) -> None:
        """Hand over what there is, within two seconds, and trace no more. Idempotent."""
        if os.getpid() != self._process:
            return
        self._stopped.set()
        atexit.unregister(self._at_exit)
        _tracings.discard(self)
        pipeline = self._taken_pipeline()
        if pipeline:
            for line in pipeline.stop():
                logger.debug("%s", line)

    def _at_exit(self) -> None:
        """Hand over what there is. A thread that stands by is left to the end of the process."""
        if os.getpid() != self._process:
            return
        pipeline = self._taken_pipeline()
        if pipeline:
            self._stopped.set()
            for line in pipeline.at_exit():
                logger.debug("%s", line)

    def _taken_pipeline(self) -> EmbeddedPipeline | Helper | None:
        with self._lock:  # the thread that stood by has it while it begins to trace
            pipeline, self._pipeline = self._pipeline, None
        return pipeline

    def _trace(self) -> None:
        """Trace, if nobody else does."""
        if self._scope is Scope.HOST and not _host_is_free():
            return
        if not self._why_providers:
            try:
                self._trace_by_helper()
                return
            except BadUsage as error:
                if self._export is Export.HELPER:
                    raise
                self._why_providers = str(error)  # they may take what the helper does not; if not, they say so
        logger.debug("the providers of the application export: %s", self._why_providers)
        self._trace_by_providers()

    def _trace_by_helper(self) -> None:
        from otel_tcplife.export.sdk.global_providers import application_resource
        from otel_tcplife.helper.start import start_helper

        logger.debug("a helper exports, as the environment has OTLP exporters alone")
        loaded = start_helper(self._options, application_resource(self._providers[0]))
        with forks.held_off(), self._lock:
            self._pipeline = loaded.begin()
            self._tracer = os.getpid()
            self._has_helper = True
        if self._stopped.is_set():
            self.stop()

    def _trace_by_providers(self) -> None:
        """All of this is imported only where the providers export."""
        if forks.uwsgi_is_to_fork():
            raise CannotTrace("uWSGI forks its workers otherwise than Python does", _IN_EACH_WORKER)
        from otel_tcplife.embedded import EmbeddedPipeline
        from otel_tcplife.export.sdk.at_exit import HeldByProviders
        from otel_tcplife.export.sdk.record import provider_metrics
        from otel_tcplife.options import read_options
        from otel_tcplife.probe.interpreters import PATIENCE_OF_APPLICATION
        from otel_tcplife.probe.loader import attach_program, prepare_program
        from otel_tcplife.route import refuse_where_nothing_is_exported

        options = read_options(self._options)
        refuse_where_nothing_is_exported(given_providers=self._providers != (None, None))
        logger_provider, meter_provider = self._providers
        metrics, held = provider_metrics(meter_provider), HeldByProviders(logger_provider, meter_provider)
        program = prepare_program(options, hide_tracer=False, has_announcements=True, patience=PATIENCE_OF_APPLICATION)
        with forks.held_off(), self._lock:
            attached = attach_program(program)
            if self._stopped.is_set() or not attached.is_first_of_host():
                attached.close()
            else:
                self._pipeline = EmbeddedPipeline(attached, options, logger_provider, metrics, held)
                self._tracer = os.getpid()

    def _stand_by(self, is_our_turn: Callable[[], bool], after: float = 0) -> None:
        threading.Thread(target=self._wait, args=[is_our_turn, after], name="tcplife-standby", daemon=True).start()

    def _wait(self, is_our_turn: Callable[[], bool], after: float) -> None:
        try:
            self._stopped.wait(after)
            while not self.is_tracing and not self._stopped.is_set():
                if is_our_turn() and not self._stopped.is_set():
                    self._trace()
                if not self.is_tracing:
                    self._stopped.wait(_LOOK_AGAIN[self._scope])
        except Exception as error:  # noqa: BLE001 nothing that goes wrong here may trouble the application
            logger.warning("cannot trace: %s", error)

    def in_fork(self) -> None:
        """Go on in a process that was forked by ours: its threads are not here, and its locks may be held."""
        self._process = os.getpid()
        self._stopped, self._lock = threading.Event(), threading.Lock()
        pipeline, self._pipeline = self._pipeline, None
        if pipeline:
            pipeline.abandon()
        if self._scope is Scope.HOST:
            self._stand_by(_host_is_free, _DAEMON_WITHIN)
        elif not self._has_helper:  # without a tracer, it was forked while that was yet to begin
            self._stand_by(_end_of(self._tracer) if self._tracer else lambda: True, _DAEMON_WITHIN)


def _host_is_free() -> bool:
    try:
        return not is_host_traced()
    except PermissionError:  # it takes more than tracing does; better twice than not at all
        return True


def _end_of(process: int) -> Callable[[], bool]:
    """What looks whether a process has ended. No descriptor: an application that makes itself a daemon closes all."""
    began = _began(process)
    return lambda: began is None or _began(process) != began


def _began(process: int) -> str | None:
    """When a process began, in the kernel's words; None if it has ended."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _in_fork() -> None:
    for tracing in list(_tracings):
        try:
            tracing.in_fork()
        except Exception as error:  # noqa: BLE001 a fork must succeed
            logger.warning("cannot trace: %s", error)


os.register_at_fork(after_in_child=_in_fork)
