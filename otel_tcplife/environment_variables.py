"""The names of the variables that are specific to tcplife, shared by the command and the plugin.

`opentelemetry-instrument` makes a flag of each name here, by the entry point opentelemetry_environment_variables, and
imports nothing else for that. What each option means, and its default, stand in otel_tcplife/options.py; that it has
the same names is tested.
"""

OTEL_PYTHON_TCPLIFE_SCOPE = "OTEL_PYTHON_TCPLIFE_SCOPE"
OTEL_PYTHON_TCPLIFE_LOCAL_PORTS = "OTEL_PYTHON_TCPLIFE_LOCAL_PORTS"
OTEL_PYTHON_TCPLIFE_REMOTE_PORTS = "OTEL_PYTHON_TCPLIFE_REMOTE_PORTS"
OTEL_PYTHON_TCPLIFE_IP_VERSION = "OTEL_PYTHON_TCPLIFE_IP_VERSION"
OTEL_PYTHON_TCPLIFE_INTERIM = "OTEL_PYTHON_TCPLIFE_INTERIM"
OTEL_PYTHON_TCPLIFE_RING_BYTES = "OTEL_PYTHON_TCPLIFE_RING_BYTES"
OTEL_PYTHON_TCPLIFE_MAX_SESSIONS = "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS"
OTEL_PYTHON_TCPLIFE_FILE_BYTES = "OTEL_PYTHON_TCPLIFE_FILE_BYTES"
OTEL_PYTHON_TCPLIFE_FILE_KEEP = "OTEL_PYTHON_TCPLIFE_FILE_KEEP"
