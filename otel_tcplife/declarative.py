"""What the agent's declarative configuration (OTEL_CONFIG_FILE) says of tcplife."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def is_disabled(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the file has `enabled: false` for this instrumentation, or disables the whole SDK.

    An agent that has heeded that goes on to load all plugins by entry point, this one included.
    """
    config = _read(environ)
    return config is not None and (bool(config.disabled) or not _options(config, name).get("enabled", True))


def place_of(options: Mapping[str, object], name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The file that has these options for this instrumentation; empty where none has."""
    config = _read(environ) if options else None
    if config is None or not options.items() <= _options(config, name).items():
        return ""
    return environ.get("OTEL_CONFIG_FILE", "")


def _read(environ: Mapping[str, str]) -> Any:
    """The configuration. A file that cannot be read is none: the agent itself says what is wrong with it."""
    path = environ.get("OTEL_CONFIG_FILE")
    if not path:
        return None
    try:
        return import_module("opentelemetry.configuration").load_config_file(path)
    except Exception:  # noqa: BLE001
        return None


def _options(config: Any, name: str) -> dict[str, Any]:
    instrumentation = getattr(config, "instrumentation_development", None)
    python: dict[str, Any] = getattr(instrumentation, "python", None) or {}
    return python.get(name) or {}
