"""What the package opentelemetry-semantic-conventions has: names of attributes with their values, and metrics."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from enum import Enum
from types import ModuleType
from typing import Any

_PACKAGE = "opentelemetry.semconv"
_CREATORS = {"create_counter": "counter", "create_up_down_counter": "updowncounter", "create_histogram": "histogram"}


class _Meter:
    """Says of what instrument and unit a metric is that it is asked for."""

    def __getattr__(self, creator: str) -> Callable[..., tuple[str, str, str]]:
        def described(name: str, description: str, unit: str) -> tuple[str, str, str]:
            del description
            return name, _CREATORS[creator], unit

        return described


def attributes() -> dict[str, frozenset[str]]:
    """Each attribute, with the values that are named for it."""
    found: dict[str, frozenset[str]] = {}
    for module in _modules("attributes"):
        for constant, name in vars(module).items():
            if constant.isupper() and isinstance(name, str):
                members: Any = getattr(module, constant.title().replace("_", "") + "Values", ())
                values = frozenset(str(member.value) for member in members if isinstance(member, Enum))
                found[name] = found.get(name, frozenset()) | values
    return found


def metrics() -> dict[str, tuple[str, str]]:
    """Each metric but gauges, which are created with a callback, with its instrument and unit."""
    found: dict[str, tuple[str, str]] = {}
    for module in _modules("metrics"):
        for name, create in vars(module).items():
            if name.startswith("create_") and len(create.__annotations__) == 2:
                metric, instrument, unit = create(_Meter())
                found[metric] = instrument, unit
    return found


def _modules(kind: str) -> Iterator[ModuleType]:
    """Those of names in development, and of stable ones."""
    for parent in (f"{_PACKAGE}._incubating.{kind}", f"{_PACKAGE}.{kind}"):
        package = importlib.import_module(parent)
        yield package
        for each in pkgutil.iter_modules(package.__path__):
            yield importlib.import_module(f"{parent}.{each.name}")
