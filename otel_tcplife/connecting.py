"""What an application says of connections that it makes: the span in which it connects, or that it is an exporter's.

It says so by an element of a BPF map just before connect(2), and the BPF program reads that when the connection begins,
which is in the same thread (bpf/connecting.h). So it is right in each process and thread, whatever forks. It is done
where Python connects: by `socket.socket`, which most libraries use, asyncio among them. What C connects says nothing.

This imports no NumPy, as an application that has a helper need not have it in its memory.
"""

from __future__ import annotations

import _socket
import functools
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import get_current_span

from otel_tcplife.log import logger
from otel_tcplife.probe import bpf
from otel_tcplife.probe.element import Element

_THREAD, _VALUE = struct.Struct("=II"), struct.Struct("=16s8sBB6x")
"""struct thread and struct connecting of bpf/connecting.h."""
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_METHODS = ("connect", "connect_ex")
_MARK = "_announced_by_tcplife"

_announcements: tuple[Announcements, ...] = ()
"""Those that are told, in each process that has a copy of this; never changed in place, as other threads look."""


class Announcements:
    """Has all connections of this process, and of what it forks, announced to a BPF program, until end()."""

    def __init__(self, map_fd: int, *, spans: bool, exporters: bool) -> None:
        """Own the descriptor of the map `connecting`. Say the span of each, or that it is an exporter's, or both."""
        self._process = os.getpid()
        self._map = map_fd
        self._id = _map_id(map_fd)
        self._of_thread = threading.local()
        self._spans = spans
        self._exporters = exporters
        global _announcements
        _wrap_connects()
        _announcements = (*_announcements, self)

    @property
    def is_inherited(self) -> bool:
        """Whether it is of the process that this one was forked by."""
        return os.getpid() != self._process

    def end(self) -> None:
        """Say no more. Idempotent."""
        global _announcements
        if self not in _announcements:
            return
        _announcements = tuple(each for each in _announcements if each is not self)
        # A daemon closes all descriptors, and others get their numbers
        if self._id is not None and _map_id(self._map) == self._id:
            os.close(self._map)

    def announce(self, connecting: socket.socket) -> bool:
        """Say of this connection, which this thread makes next, what there is to be said; return if there was anything.

        Nothing that goes wrong here may trouble the application. Where it did once, no more is said.
        """
        try:
            value = self._value()
            if value is None or connecting.family not in _FAMILIES:
                return False
            self._element_of_this_thread().put(value)
        except Exception as error:  # noqa: BLE001 such as a kernel that refuses, as the application gave up its privileges
            logger.debug("connections are not announced any more: %s", error)
            self.end()
            return False
        return True

    def take_back(self) -> None:
        """What was said of this thread's last connection is not to be said of another one, should it not have begun."""
        self._element_of_this_thread().delete()

    def _element_of_this_thread(self) -> Element:
        number = threading.get_native_id()
        if getattr(self._of_thread, "number", None) != number:  # the first time, or in a fork
            self._of_thread.number = number
            self._of_thread.element = Element(self._map, _THREAD.pack(_pid_namespace(), number), _VALUE.size)
        return self._of_thread.element

    def _value(self) -> bytes | None:
        hidden = self._exporters and not is_instrumentation_enabled()
        span = get_current_span().get_span_context() if self._spans else None
        if span is None or not span.is_valid:
            return _VALUE.pack(b"", b"", 0, True) if hidden else None
        trace_id, span_id = span.trace_id.to_bytes(16, "big"), span.span_id.to_bytes(8, "big")
        return _VALUE.pack(trace_id, span_id, span.trace_flags & 0xFF, hidden)


def end_inherited() -> None:
    """Say nothing more to the program of a process that this one was forked by: it has gone."""
    for announcements in _announcements:
        if announcements.is_inherited:
            announcements.end()


def _wrap_connects() -> None:
    """Have each connection that Python makes announced. A class of another library in its place is left alone."""
    sockets: type = socket.socket
    if not issubclass(sockets, _socket.socket):
        return
    for name in _METHODS:
        method: Callable[..., Any] = getattr(socket.socket, name)
        if not hasattr(method, _MARK):
            setattr(socket.socket, name, _announced(method))


def _announced(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def connect(self: socket.socket, address: Any, /) -> Any:
        told = [each for each in _announcements if each.announce(self)]
        try:
            return method(self, address)
        finally:
            for each in told:
                each.take_back()

    setattr(connect, _MARK, True)
    return connect


def _pid_namespace() -> int:
    """Inode of that of this process."""
    return os.stat("/proc/self/ns/pid").st_ino


def _map_id(map_fd: int) -> int | None:
    try:
        return bpf.map_info(map_fd).id
    except OSError:  # it is none any more, or bpf(2) is refused
        return None
