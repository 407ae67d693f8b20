"""The pipeline within an application: it feeds the application's providers, from a thread of its own."""

from __future__ import annotations

import os
import threading

# np.unique() would import it in our thread: what one thread imports while another forks, a child never can
import numpy.ma  # noqa: F401 # pyright: ignore[reportUnusedImport]

from otel_tcplife.connecting import Announcements, end_inherited
from otel_tcplife.export.sdk.at_exit import HeldByProviders
from otel_tcplife.export.sdk.emit import LoggerProvider, Providers, provider_logs
from otel_tcplife.export.sdk.grpc_receivers import hide_grpc_receivers
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.log import logger
from otel_tcplife.options import Options
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.limits import APPLICATION
from otel_tcplife.pipeline.run import Pipeline
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.selection import selector
from otel_tcplife.pipeline.sink import Sinks
from otel_tcplife.probe.live import LiveSource
from otel_tcplife.probe.loader import AttachedProgram


class EmbeddedPipeline:
    """Sessions on their way from the kernel to the providers of this process, from its making until stop()."""

    def __init__(
        self,
        attached: AttachedProgram,
        options: Options,
        logger_provider: LoggerProvider | None,
        metrics: ProviderMetrics,
        held: HeldByProviders,
    ) -> None:
        """Trace with this program, which is owned from now on. To be called with forks held off. Raise CannotTrace."""
        self._source = LiveSource(attached, options, in_application=True)
        assert attached.connecting is not None
        assert attached.receivers is not None
        self._receivers = attached.receivers
        end_inherited()
        self._announcements = Announcements(os.dup(attached.connecting), spans=options.trace_context, exporters=True)
        self._deadline = Deadline(APPLICATION.shutdown_within)
        self._metrics = metrics
        self._held = held
        ledger = Ledger()
        scans = ScanRequests()
        metrics.observe(counters(self._source.stats, ledger), self._source.host, scans)
        logs = provider_logs(logger_provider, self._source.host, options.logs)
        # The sink selects, and not the queue: it has all sessions counted in the metrics, too
        providers = Providers(logs, metrics, selector(options.logs, self._source.host))
        sinks = Sinks(queued=[providers], open=[providers])
        self._pipeline = Pipeline(self._source, sinks, ledger, self._deadline, APPLICATION, scans)
        self._reader = threading.Thread(target=self._run, name="tcplife-reader", daemon=True)
        self._reader.start()

    def stop(self) -> list[str]:
        """Hand over what there is, within the limits of an application; return the balance, a line for each part."""
        self._deadline.set()
        self._reader.join(self._deadline.remaining)
        self._announcements.end()
        self._metrics.end()
        balance = self._pipeline.balance()
        self._source.close()
        return balance

    def at_exit(self) -> list[str]:
        """All threads end with the process."""
        balance = self.stop()
        self._held.deliver(self._deadline)
        return balance

    def abandon(self) -> None:
        """In a fork of the process that traces, which has none of its threads: leave all to that one."""
        self._metrics.forget()
        self._source.abandon()

    def _run(self) -> None:
        try:
            hide_grpc_receivers(self._receivers)
        except OSError as error:  # the application has given up its privileges
            logger.debug("connections of gRPC exporters are reported: %s", error)
        try:
            self._pipeline.run()
        except Exception as error:  # noqa: BLE001 nothing that goes wrong here may trouble the application
            logger.warning("tracing has ended: %s: %s", type(error).__name__, error)
