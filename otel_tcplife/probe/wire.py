"""Unix sockets between processes of ours: descriptors come through them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket

_MOST_DESCRIPTORS = 64


def pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Two sockets that are connected, none with the number of a standard descriptor that is closed."""
    ends = socket.socketpair(socket.AF_UNIX, kind)
    try:
        moved = [_above_standard_descriptors(end) for end in ends]
    finally:
        for end in ends:
            end.close()
    return moved[0], moved[1]


def _above_standard_descriptors(end: socket.socket) -> socket.socket:
    return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def receive(receiver: socket.socket, most_bytes: int = 4096) -> tuple[bytes, list[int]]:
    """What comes next, nothing where the other end was closed, and the descriptors that come with it. Raise OSError.

    As socket.recv_fds(), which makes descriptors that children inherit, and heeds no flag.
    """
    size = socket.CMSG_LEN(_MOST_DESCRIPTORS * 4)
    message, ancillary, flags, _ = receiver.recvmsg(most_bytes, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = [int(each) for _, _, content in ancillary for each in memoryview(content).cast("i")]
    if flags & socket.MSG_CTRUNC:  # there was no room for all of them
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return message, descriptors
