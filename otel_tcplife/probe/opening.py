"""A live source that is opened by a thread, while its caller imports what exports: a start is little else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from typing_extensions import Self

from otel_tcplife.probe.live import LiveSource


class OpeningSource:
    """One that is being opened. Leaving its `with` block closes it, unless somebody has taken it."""

    def __init__(self, open_source: Callable[[], LiveSource]) -> None:
        """Begin to open it."""
        self._open_source = open_source
        self._source: LiveSource | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._open, name="tcplife-opening", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no other thread may be started
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._wait()
        if self._source:
            self._source.close()

    def take(self) -> LiveSource:
        """The source, which is the caller's from now on. Raise what opening it has raised."""
        self._wait()
        if self._error:
            raise self._error
        source, self._source = self._source, None
        assert source, "somebody has taken it"
        return source

    def _wait(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _open(self) -> None:
        try:
            self._source = self._open_source()
        except BaseException as error:  # noqa: BLE001 who takes it gets it
            self._error = error
