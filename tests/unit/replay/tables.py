"""tcplife's tables, written with the formats of its sources."""

from __future__ import annotations

TABLE = "PID   COMM       LADDR           LPORT RADDR           RPORT TX_KB RX_KB MS\n"
WIDE = "PID   COMM             IP LADDR                      LPORT RADDR                      RPORT  TX_KB  RX_KB MS\n"
ROW = "7     curl       192.0.2.1       40000 198.51.100.1    443       1     2 3.00\n"


# Formats of bcc's tools/tcplife.py and libbpf-tools/tcplife.c
NARROW_FORMAT = "%-5d %-10.10s %s%-15s %-5d %-15s %-5d %5d %5d %.2f\n"
WIDE_FORMAT = "%-5d %-16.16s %-2s %-26s %-5d %-26s %-5d %6d %6d %.2f\n"
LIBBPF_HEADER_FORMAT = "%-8s %-7s %-16s %-15s %-5s %-15s %-5s %-6s %-6s %-s\n"
LIBBPF_FORMAT = "%8s %-7d %-16s %-15s %-5d %-15s %-5d %-6.2f %-6.2f %-.2f\n"


def narrow(comm: str, pid: int = 7) -> str:
    cells = (pid, comm, "", "192.0.2.1", 40000, "198.51.100.1", 443, 1, 2, 3.0)
    return NARROW_FORMAT % cells


def wide(comm: str, pid: int = 7) -> str:
    cells = (pid, comm, "6", "2001:db8::1", 40000, "2001:db8::2", 443, 1, 2, 3.0)
    return WIDE_FORMAT % cells
