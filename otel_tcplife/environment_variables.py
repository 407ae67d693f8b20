"""The variables that are specific to tcplife, shared by the command and the plugin; all others are standard.

`opentelemetry-instrument` makes an option of each name here, by the entry point opentelemetry_environment_variables.
"""

OTEL_PYTHON_TCPLIFE_SCOPE = "OTEL_PYTHON_TCPLIFE_SCOPE"
"""Of the plugin: `process` (the default: the sessions of this process and those that it forks), or `host`."""

OTEL_PYTHON_TCPLIFE_LOCAL_PORTS = "OTEL_PYTHON_TCPLIFE_LOCAL_PORTS"
"""Comma-separated list of the local ports to trace; all by default."""

OTEL_PYTHON_TCPLIFE_REMOTE_PORTS = "OTEL_PYTHON_TCPLIFE_REMOTE_PORTS"
"""Comma-separated list of the remote ports to trace; all by default."""

OTEL_PYTHON_TCPLIFE_IP_VERSION = "OTEL_PYTHON_TCPLIFE_IP_VERSION"
"""4 or 6, to trace this family only."""

OTEL_PYTHON_TCPLIFE_RING_BYTES = "OTEL_PYTHON_TCPLIFE_RING_BYTES"
"""Size of the ring buffer in bytes, a power of two from 4096: about 200 for each session that waits to be read."""

OTEL_PYTHON_TCPLIFE_MAX_SESSIONS = "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS"
"""How many open sessions are followed at most: about 170 bytes of kernel memory each, taken at the start."""

OTEL_PYTHON_TCPLIFE_INTERIM = "OTEL_PYTHON_TCPLIFE_INTERIM"
"""Seconds after which a session that goes on is reported, and again each time that they have passed; off by default."""
