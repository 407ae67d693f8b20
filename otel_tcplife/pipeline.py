"""From the kernel to the providers of an application: a thread that reads, and one that hands over."""

from __future__ import annotations

import threading
from collections.abc import Callable

# np.unique() would import it in our thread: what one thread imports while another forks, a child never can
import numpy.ma  # noqa: F401 # pyright: ignore[reportUnusedImport]
from opentelemetry.metrics import MeterProvider

from otel_tcplife import forks
from otel_tcplife.agent import Consumers, balance, run
from otel_tcplife.counts import counters
from otel_tcplife.export.providers import PROVIDERS, LoggerProvider, provider_logs, provider_metrics
from otel_tcplife.ledger import Ledger
from otel_tcplife.options import Options
from otel_tcplife.probe.live import LiveSource
from otel_tcplife.say import Say
from otel_tcplife.session import SessionBatch
from otel_tcplife.worker import Stop, Worker

STOP_WITHIN = 2.0
"""Seconds that the end of an application waits for the last sessions to be handed over."""

QUEUE_RECORDS = 8192
"""Sessions that may wait to be handed over, of about 200 bytes each; more are dropped, and counted."""

_AT_ONCE = 256
"""Sessions between two looks at whether it is time to stop."""

_LINGER = 1.0
"""Seconds that a session waits for others: a handful costs nearly as much as one."""


class Pipeline:
    """Sessions on their way from the kernel to the providers of this process, from its making until stop()."""

    def __init__(
        self, options: Options, logger_provider: LoggerProvider | None, meter_provider: MeterProvider | None, say: Say
    ) -> None:
        """Be about to trace; the global providers stand for those that are not given. Raise CannotTrace."""
        self._source = LiveSource(
            options.filters, options.sizes, options.interim, options.scope, hide_tracer=False, begin=False
        )
        self._ledger = Ledger()
        self._stop = Stop(STOP_WITHIN)
        self._say = say
        self._logs = provider_logs(logger_provider, self._ledger, say)
        self._metrics = provider_metrics(meter_provider)

    def begin(self, is_our_turn: Callable[[int | None], bool]) -> bool:
        """Begin, if it is our turn with this map of a host's collector. To be called with forks held off."""
        self._source.take()
        if not is_our_turn(self._source.host_map):
            self._source.close()
            return False
        self._source.begin()
        self._metrics.observe(counters(self._source.outcomes, self._source.active, self._ledger))
        worker = Worker(
            PROVIDERS,
            self._hand_over,
            self._ledger,
            self._stop,
            self._say,
            most=_AT_ONCE,
            linger=_LINGER,
            capacity=QUEUE_RECORDS,
        )
        self._consumers = Consumers(workers=[worker])
        self._reader = threading.Thread(target=self._read, name="tcplife-reader", daemon=True)
        self._reader.start()
        return True

    def stop(self) -> list[str]:
        """Hand over what there is, within STOP_WITHIN seconds; return the balance, in a line for each of its parts."""
        self._stop.ask()
        self._reader.join(self._stop.left)
        self._metrics.end()
        told = balance(self._source, self._ledger)
        self._source.close()
        return told

    def abandon(self) -> None:
        """In a fork of the process that traces, which has none of its threads: leave all to that one."""
        self._metrics.forget()
        self._source.abandon()

    def _hand_over(self, batch: SessionBatch) -> None:
        with forks.held_off():  # the SDK's locks are none that a child can open
            self._metrics(batch)
            self._logs(batch)

    def _read(self) -> None:
        try:
            run(self._source, self._consumers, self._stop, self._ledger, self._say)
        except Exception as error:  # noqa: BLE001 nothing that goes wrong here may trouble the application
            self._say(f"tracing has ended: {type(error).__name__}: {error}")
