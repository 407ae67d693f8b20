"""Sockets that a process gives up in such ways that a thread of the kernel closes them later."""

from __future__ import annotations

import array
import ctypes
import os
import platform
import socket
import struct
from collections.abc import Callable

IPPROTO_MPTCP = 262

_libc = ctypes.CDLL(None, use_errno=True)
_IO_SETUP, _IO_DESTROY, _IO_SUBMIT = {"x86_64": (206, 207, 209), "aarch64": (0, 1, 2)}[platform.machine()]
_COMMAND_POLL, _POLL_IN = 5, 1


def close_within_poll(accepted: socket.socket) -> Callable[[], None]:
    """Close a socket that an asynchronous poll still refers to; it ends when data comes. Return what ends the poll."""
    context = ctypes.c_ulong(0)
    _check(_libc.syscall(_IO_SETUP, 8, ctypes.byref(context)))
    # struct iocb (include/uapi/linux/aio_abi.h): the command, the descriptor, and what to poll for
    control = struct.pack("<QIiHhIQQqQII", 0, 0, 0, _COMMAND_POLL, 0, accepted.fileno(), _POLL_IN, 0, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(control, 64)
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    _check(_libc.syscall(_IO_SUBMIT, context, ctypes.c_long(1), blocks))
    accepted.close()
    return lambda: _check(_libc.syscall(_IO_DESTROY, context))


def close_within_unread_message(accepted: socket.socket) -> Callable[[], None]:
    """Close a socket that is in a message which nobody can receive any more; nothing is left to end."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    rights = array.array("i", [accepted.fileno(), one.fileno()])
    other.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])  # it now waits within itself
    for each in (accepted, one, other):
        each.close()
    return lambda: None


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
