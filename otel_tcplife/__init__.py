"""bcc's tcplife as an OpenTelemetry log and metric source.

The public names are imported when they are first used, so that to import this package costs an application nothing:

- `start_tracing()` traces this process or this host: see otel_tcplife.tracing.
- `TcplifeInstrumentor` is the plugin of OpenTelemetry's Python agent: see otel_tcplife.instrumentor.
- `__version__` is the version of this package.
"""

__all__ = ["TcplifeInstrumentor", "__version__", "start_tracing"]

_MODULES = {"TcplifeInstrumentor": "instrumentor", "__version__": "version", "start_tracing": "tracing"}

TYPE_CHECKING = False  # that of typing, whose import takes longer than all of this
if TYPE_CHECKING:
    from otel_tcplife.instrumentor import TcplifeInstrumentor
    from otel_tcplife.tracing import start_tracing
    from otel_tcplife.version import __version__
else:  # type checkers would take it as a sign that there is every name

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562). Raise AttributeError for any other."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value  # from now on, it is found without this function
        return value
