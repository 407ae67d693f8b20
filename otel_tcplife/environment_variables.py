"""The variables that are specific to tcplife, shared by the command and the plugin; all others are standard."""

OTEL_PYTHON_TCPLIFE_RING_BYTES = "OTEL_PYTHON_TCPLIFE_RING_BYTES"
"""Size of the ring buffer in bytes, a power of two from 4096: about 200 for each session that waits to be read."""

OTEL_PYTHON_TCPLIFE_MAX_SESSIONS = "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS"
"""How many open sessions are followed at most: about 150 bytes of kernel memory each, taken at the start."""
