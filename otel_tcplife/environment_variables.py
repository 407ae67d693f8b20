"""The variables that are specific to tcplife, shared by the command and the plugin; all others are standard.

`opentelemetry-instrument` makes an option of each name here, by the entry point opentelemetry_environment_variables.
"""

OTEL_PYTHON_TCPLIFE_SCOPE = "OTEL_PYTHON_TCPLIFE_SCOPE"
"""of the plugin: `process`, the default, or `host`"""

OTEL_PYTHON_TCPLIFE_LOCAL_PORTS = "OTEL_PYTHON_TCPLIFE_LOCAL_PORTS"
"""comma-separated list of the local ports to trace, as `-L`; all by default"""

OTEL_PYTHON_TCPLIFE_REMOTE_PORTS = "OTEL_PYTHON_TCPLIFE_REMOTE_PORTS"
"""comma-separated list of the remote ports to trace, as `-D`; all by default"""

OTEL_PYTHON_TCPLIFE_IP_VERSION = "OTEL_PYTHON_TCPLIFE_IP_VERSION"
"""4 or 6, to trace this family only, as `-4` and `-6`; both by default"""

OTEL_PYTHON_TCPLIFE_INTERIM = "OTEL_PYTHON_TCPLIFE_INTERIM"
"""seconds after which a session that goes on is reported, as `tcplife.session.progress`, and again each time that they
have passed; off by default"""

OTEL_PYTHON_TCPLIFE_RING_BYTES = "OTEL_PYTHON_TCPLIFE_RING_BYTES"
"""size of the ring buffer, a power of two, with about 220 bytes for each session that waits to be read; 8388608 for a
host, 524288 for a process"""

OTEL_PYTHON_TCPLIFE_MAX_SESSIONS = "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS"
"""sessions open at once that are followed, of 170 bytes of kernel memory each, taken at the start; 65536 of a host,
16384 of a process"""

OTEL_PYTHON_TCPLIFE_FILE_BYTES = "OTEL_PYTHON_TCPLIFE_FILE_BYTES"
"""of the command: size at which a file of `--otlp-file` becomes `logs.jsonl.1` or `metrics.jsonl.1`, and a new one is
begun; 104857600 by default"""

OTEL_PYTHON_TCPLIFE_FILE_KEEP = "OTEL_PYTHON_TCPLIFE_FILE_KEEP"
"""of the command: how many such older files of each kind are kept, of which number 1 is the newest; 5 by default"""

OF_FILES = (OTEL_PYTHON_TCPLIFE_FILE_BYTES, OTEL_PYTHON_TCPLIFE_FILE_KEEP)
"""Those that choose nothing of what is traced, and are no options of `start_tracing()`."""
