"""Sessions that were moved into a new socket by TCP_REPAIR, as CRIU restores those of a container."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing

import pytest

from otel_tcplife.options import Options
from otel_tcplife.probe.live import open_live_source
from otel_tcplife.session import UNKNOWN_TIME, CloseReason, concatenated

# include/uapi/linux/tcp.h
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_RECEIVE_QUEUE, _SEND_QUEUE = 1, 2


def _repairing(port: int, sent_to: int, received_to: int) -> socket.socket:
    """A bound socket that is told how far a session has come."""
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    end.bind(("127.0.0.1", port))
    for queue, sequence in ((_SEND_QUEUE, sent_to), (_RECEIVE_QUEUE, received_to)):
        end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
        end.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, sequence)
    return end


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_its_bytes_are_exact_and_what_another_socket_did_is_unknown(size: int) -> None:
    with closing(open_live_source(Options(), hide_tracer=False)) as source:
        one, other = _repairing(0, 1000, 5000), _repairing(0, 5000, 1000)
        for end, peer in ((one, other), (other, one)):
            end.connect(peer.getsockname())
        for end in (one, other):
            end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 0)
        ports = one.getsockname()[1], other.getsockname()[1]
        one.sendall(bytes(size))
        assert len(other.recv(size, socket.MSG_WAITALL) if size else b"") == size
        other.sendall(bytes(7))
        assert one.recv(7, socket.MSG_WAITALL) == bytes(7)
        one.close()
        assert other.recv(1) == b""
        other.close()
        batches = [source.read()]
        while sum(batch["local_port"].tolist().count(port) for batch in batches for port in ports) < 2:
            time.sleep(0.01)
            batches.append(source.read())
        ends = {end["local_port"]: end for end in concatenated(batches) if end["local_port"] in ports}
    first, second = (ends[port] for port in ports)
    assert (first["bytes_sent"], first["bytes_received"]) == (size, 7)
    assert (second["bytes_sent"], second["bytes_received"]) == (7, size)
    assert (first["close_reason"], second["close_reason"]) == (CloseReason.LOCAL_CLOSE, CloseReason.PEER_CLOSE)
    for end in (first, second):
        assert (end["role"], end["adopted"], end["pid"]) == (0, 1, os.getpid())
        assert (end["duration"], end["handshake"]) == (UNKNOWN_TIME, UNKNOWN_TIME)
