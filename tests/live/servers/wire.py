"""The packets that begin and end the sessions of some ports on loopback: how many bytes went, and who closed first."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from typing_extensions import Self

_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_MASK = 0xFFFF_FFFF


@dataclass(frozen=True)
class _Family:
    """Where things are in its packets; on loopback there are no IP options."""

    network_type: str
    protocol: int
    next_header: int
    header: int
    length: int
    """Of the field that has the length of the packet; IPv6 leaves its header out of it."""


_FAMILIES = (_Family("ipv4", 0x0800, 9, 20, 2), _Family("ipv6", 0x86DD, 6, 40, 4))

_Key = tuple[str, int, int]


@dataclass
class WireSession:
    """One session, from its packets; `0` in each pair is the client's, `1` the server's."""

    network_type: str
    client_port: int
    server_port: int
    first_sequence: list[int | None] = field(default_factory=lambda: [None, None])
    fin: list[tuple[int, int] | None] = field(default_factory=lambda: [None, None])
    """Sequence number of the FIN, and what it acknowledges."""
    reset: list[tuple[int, int] | None] = field(default_factory=lambda: [None, None])
    """The same of the RST."""

    @property
    def established(self) -> bool:
        """Whether the server answered."""
        return self.first_sequence[1] is not None

    def closed_in_order(self) -> bool:
        """Whether both ends sent FIN and none a reset."""
        return all(self.fin) and not any(self.reset)

    def ended_by_reset(self, side: int) -> bool:
        """Whether a reset of this side was all there was."""
        return bool(self.reset[side]) and not self.reset[1 - side] and not any(self.fin)

    def bytes(self, side: int) -> tuple[int, int]:
        """Payload bytes that a side had sent, and those it has received, when it ended the session."""
        end = self.fin[side] or self.reset[side]
        own, other = self.first_sequence[side], self.first_sequence[1 - side]
        assert end
        assert own is not None
        assert other is not None
        last_fin = self.fin[1 - side]
        received = last_fin[0] if last_fin else end[1]
        return (end[0] - own - 1) & _MASK, (received - other - 1) & _MASK

    def outcome(self, side: int) -> tuple[str, str | None] | None:
        """Close reason and error of a side; None where these packets do not tell in which order they were received."""
        own, other = self.fin[side], self.fin[1 - side]
        if self.closed_in_order():
            assert own
            assert other
            return ("peer_close" if own[1] == (other[0] + 1) & _MASK else "local_close"), None
        if other and not own:  # it had a FIN, and either gave up what it had not read or wrote to one who had gone
            return ("local_reset", None) if self.reset[side] else ("peer_reset", "EPIPE")
        if self.ended_by_reset(side):
            return "local_reset", None
        if self.ended_by_reset(1 - side):
            return "peer_reset", "ECONNRESET"
        return None


class Wire:
    """Listens to the packets with SYN, FIN or RST of these ports, from its making to its closing."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = frozenset(ports)
        self._sessions: dict[_Key, WireSession] = {}
        self._sockets = [(family, self._listen(family)) for family in _FAMILIES]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for _, listener in self._sockets:
            listener.close()

    def sessions(self, port: int | None = None) -> list[WireSession]:
        """All of them so far, or those of one server port."""
        for family, listener in self._sockets:
            while packet := _packet(listener):
                self._take(family, packet)
            _, dropped = struct.unpack("II", listener.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            assert not dropped
        return [session for session in self._sessions.values() if port in (None, session.server_port)]

    def _listen(self, family: _Family) -> socket.socket:
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        program = _program(family, sorted(self._ports))
        code = ctypes.create_string_buffer(b"".join(program))
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code))
        )
        listener.bind(("lo", family.protocol))
        return listener

    def _take(self, family: _Family, packet: bytes) -> None:
        source, destination, sequence, acknowledged, offset, flags = struct.unpack_from(
            "!HHIIBB", packet, family.header
        )
        [length] = struct.unpack_from("!H", packet, family.length)
        payload = length - (family.header if family.network_type == "ipv4" else 0) - (offset >> 4) * 4
        side = int(source in self._ports)
        client, server = (destination, source) if side else (source, destination)
        key = family.network_type, client, server
        if flags & _SYN and not flags & _ACK:
            assert key not in self._sessions or self._sessions[key].first_sequence[0] == sequence, "a port used again"
            self._sessions.setdefault(key, WireSession(*key))
        session = self._sessions.get(key)
        if not session:
            return  # it began before us
        if flags & _SYN:
            session.first_sequence[side] = sequence
        if flags & _FIN and not session.fin[side]:
            session.fin[side] = ((sequence + payload) & _MASK, acknowledged)
        if flags & _RST and not session.reset[side]:  # later ones answer what was under way, and acknowledge nothing
            session.reset[side] = sequence, acknowledged


def _packet(listener: socket.socket) -> bytes | None:
    try:
        return listener.recv(128, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


def _program(family: _Family, ports: Sequence[int]) -> list[bytes]:
    """A classic BPF filter: TCP, with one of the flags, from or to one of the ports."""
    load_byte, load_half, equal, any_bit, result = 0x30, 0x28, 0x15, 0x45, 0x06
    end = 4 + 2 * (1 + len(ports))  # of the tests; then "no", then "yes"
    program: list[tuple[int, int, int, int]] = [(load_byte, 0, 0, family.next_header)]
    program.append((equal, 0, end - len(program) - 1, socket.IPPROTO_TCP))
    program.append((load_byte, 0, 0, family.header + 13))
    program.append((any_bit, 0, end - len(program) - 1, _SYN | _FIN | _RST))
    for at in (family.header, family.header + 2):
        program.append((load_half, 0, 0, at))
        for port in ports:
            program.append((equal, end - len(program), 0, port))
    program += [(result, 0, 0, 0), (result, 0, 0, 0xFFFF)]
    return [struct.pack("HBBI", *instruction) for instruction in program]
