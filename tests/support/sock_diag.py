"""In what state the kernel has a TCP socket (sock_diag(7)), asked for by its addresses and ports."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from pathlib import Path

_NETLINK_SOCK_DIAG, _NLM_F_REQUEST, _NLM_F_ACK, _NLMSG_ERROR = 4, 1, 4, 2
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_ANY_COOKIE = 0xFFFF_FFFF
_TIME_WAIT_TIMER = 3
_STATES = {1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 7: "CLOSE",
           8: "CLOSE_WAIT", 9: "LAST_ACK", 11: "CLOSING"}  # fmt: skip
_CLONE_NEWNET = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)

_MEMBARRIER = {"x86_64": 324, "aarch64": 283}[os.uname().machine]
_MEMBARRIER_CMD_GLOBAL = 1

Ends = tuple[str, int, str, int]
"""Local address and port, peer's address and port."""


class Diag:
    """Answers about the sockets of one namespace."""

    def __init__(self, namespace: Path) -> None:
        with open("/proc/thread-self/ns/net") as ours, open(namespace) as theirs:
            _enter(theirs.fileno())
            try:
                self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
            finally:
                _enter(ours.fileno())

    def state(self, ends: Ends) -> str:
        """The state of this socket; empty if there is none, or only a TIME_WAIT."""
        answer = self._ask(_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, ends)
        if number := _error_of(answer):
            if number != errno.ENOENT:
                raise OSError(number, "sock_diag")
            return ""
        state, timer = struct.unpack_from("=BB", answer, 17)
        return "" if timer == _TIME_WAIT_TIMER else _STATES.get(state, "")

    def destroy(self, ends: Ends) -> None:
        """Abort this socket, as `ss -K` does."""
        if number := _error_of(self._ask(_SOCK_DESTROY, _NLM_F_REQUEST | _NLM_F_ACK, ends)):
            raise OSError(number, "SOCK_DESTROY")

    def _ask(self, about: int, flags: int, ends: Ends) -> bytes:
        local, peer = ipaddress.ip_address(ends[0]), ipaddress.ip_address(ends[2])
        family = socket.AF_INET if local.version == 4 else socket.AF_INET6
        request = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 0xFFFF_FFFF)
        request += struct.pack("!HH16s16s", ends[1], ends[3], local.packed, peer.packed)
        request += struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
        self._socket.send(struct.pack("=IHHII", 16 + len(request), about, flags, 0, 0) + request)
        return self._socket.recv(8192)


def _error_of(answer: bytes) -> int:
    is_error = struct.unpack_from("=H", answer, 4)[0] == _NLMSG_ERROR
    return -struct.unpack_from("=i", answer, 16)[0] if is_error else 0


def can_destroy() -> bool:
    """Whether this kernel can abort sockets (CONFIG_INET_DIAG_DESTROY)."""
    try:
        Diag(Path("/proc/self/ns/net")).destroy(("127.0.0.1", 1, "127.0.0.1", 1))
    except OSError as error:
        return error.errno == errno.ENOENT
    return True


def settle() -> None:
    """Wait until the kernel has done all that interrupts have begun: a socket is gone a moment before it is CLOSE."""
    _checked(_libc.syscall(_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0))


def _enter(namespace: int) -> None:
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
