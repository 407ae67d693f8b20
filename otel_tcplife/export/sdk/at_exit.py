"""What providers of the SDK still hold when the application ends.

At its exit, the SDK delivers that by itself. While the receiver is away, it tries for ten seconds and more, even in an
application that has nothing of its own to deliver. So what is ours gets the time that an application may be held up.
"""

from __future__ import annotations

import atexit
import threading
from contextlib import suppress
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

from otel_tcplife import conventions
from otel_tcplife.export.sdk.logs_api import (
    LoggerProvider,
    LogRecordProcessor,
    ReadWriteLogRecord,
    SdkLoggerProvider,
    get_logger_provider,
)
from otel_tcplife.pipeline.deadline import Deadline


class HeldByProviders:
    """What both providers of an application hold."""

    def __init__(self, logger_provider: LoggerProvider | None, meter_provider: MeterProvider | None) -> None:
        """The global providers stand for those that are not given. Those that are not the SDK's are left alone."""
        logs, metrics = logger_provider or get_logger_provider(), meter_provider or get_meter_provider()
        self._logger_provider = logs if isinstance(logs, SdkLoggerProvider) else None
        self._meter_provider = metrics if isinstance(metrics, SdkMeterProvider) else None
        self._others = _others_of(self._logger_provider) if self._logger_provider else _RecordsOfOthers()

    def deliver(self, deadline: Deadline) -> None:
        """Have it delivered by then; the SDK tries no more at the exit where it was not.

        Records that the application itself has emitted are left to the SDK, and ours with them.
        """
        logs = None if self._others.has_any else self._logger_provider
        providers = [provider for provider in (logs, self._meter_provider) if provider]
        flushing = [(provider, _flush(provider, deadline.remaining)) for provider in providers]
        for provider, thread in flushing:
            thread.join(deadline.remaining)
            if thread.is_alive():
                atexit.unregister(provider.shutdown)


class _RecordsOfOthers(LogRecordProcessor):
    """Notes whether anybody emits records but us."""

    has_any = False

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        scope = log_record.instrumentation_scope
        if scope is None or scope.name != conventions.SCOPE:
            self.has_any = True

    def enabled(self, *_: object, **__: object) -> bool:
        """No record is made for this."""
        return False

    def shutdown(self) -> None:
        """Nothing is held here."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing is held here."""
        return True


_others: WeakKeyDictionary[SdkLoggerProvider, _RecordsOfOthers] = WeakKeyDictionary()
"""A provider keeps all processors that it ever got."""


def _others_of(provider: SdkLoggerProvider) -> _RecordsOfOthers:
    if provider not in _others:
        _others[provider] = _RecordsOfOthers()
        provider.add_log_record_processor(_others[provider])
    return _others[provider]


def _flush(provider: SdkLoggerProvider | SdkMeterProvider, seconds: float) -> threading.Thread:
    def flush() -> None:
        with suppress(Exception):  # exporters are strangers' code
            provider.force_flush(int(seconds * 1000))

    thread = threading.Thread(target=flush, name="tcplife-flush", daemon=True)
    thread.start()
    return thread
