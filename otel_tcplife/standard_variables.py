"""Standard variables that mean the same to everything in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

from otel_tcplife.errors import BadUsage

_DISABLED = "OTEL_SDK_DISABLED"


def forget_empty_variables(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take out variables that are set to nothing: that is as good as not set ("Environment Variable Specification",
    "Parsing empty value"), which the SDK does not always heed; nor does gRPC of its own.
    """
    for name in [name for name, value in environ.items() if name.startswith(("OTEL_", "GRPC_")) and not value.strip()]:
        del environ[name]


def is_sdk_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """OTEL_SDK_DISABLED: nothing is to be exported. Raise BadUsage for what is neither true nor false."""
    value = environ.get(_DISABLED, "").strip()
    if value.lower() not in ("", "true", "false"):
        raise BadUsage(f"{_DISABLED}={value!r} is neither true nor false", "use one of these, or unset it")
    return value.lower() == "true"
