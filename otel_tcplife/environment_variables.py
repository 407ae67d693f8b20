"""The variables that are specific to tcplife, shared by the command and the plugin; all others are standard."""

OTEL_PYTHON_TCPLIFE_RING_BYTES = "OTEL_PYTHON_TCPLIFE_RING_BYTES"
"""Size of the ring buffer in bytes, a power of two from 4096: about 200 for each session that waits to be read."""

OTEL_PYTHON_TCPLIFE_MAX_SESSIONS = "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS"
"""How many open sessions are followed at most: about 170 bytes of kernel memory each, taken at the start."""

OTEL_PYTHON_TCPLIFE_INTERIM = "OTEL_PYTHON_TCPLIFE_INTERIM"
"""Seconds after which a session that goes on is reported, and again each time that they have passed; off by default."""
