"""What the agent's declarative configuration (OTEL_CONFIG_FILE) says of tcplife."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def is_disabled(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the file has `enabled: false` for this instrumentation, or disables the whole SDK.

    An agent that has heeded that goes on to load all plugins by entry point, this one included. A file that cannot be
    read is no answer: the agent itself says what is wrong with it.
    """
    path = environ.get("OTEL_CONFIG_FILE")
    if not path:
        return False
    try:
        config: Any = import_module("opentelemetry.configuration").load_config_file(path)
    except Exception:  # noqa: BLE001
        return False
    instrumentation = getattr(config, "instrumentation_development", None)
    python: dict[str, Any] = getattr(instrumentation, "python", None) or {}
    options: dict[str, Any] = python.get(name) or {}
    return bool(config.disabled) or not options.get("enabled", True)
