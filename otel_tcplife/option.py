"""One option: what it is called, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar, cast

from otel_tcplife.errors import BadUsage

Value = TypeVar("Value")
ValueOf = TypeVar("ValueOf", covariant=True)


class Scope(Enum):
    """Whose sessions are traced."""

    HOST = "host"
    PROCESS = "process"
    """Those of this process and of the processes that it forks."""


def in_any_scope(value: Value) -> Mapping[Scope, Value]:
    """A default that is the same for a host and for a process."""
    return dict.fromkeys(Scope, value)


@dataclass(frozen=True)
class Flag:
    """A flag of the command. With `value` it stands for that value, else the user gives one after it."""

    spellings: tuple[str, ...]
    value: str | None = None
    help: str = ""
    """Where it is not that of the option."""


@dataclass(frozen=True)
class Option(Generic[ValueOf]):
    """All about one option."""

    name: str
    parse: Callable[[str], ValueOf]
    """Raises BadUsage for a text that is none of its values."""
    default: Mapping[Scope, ValueOf]
    help: str
    default_text: str = ""
    """What users read for the default, where its value would not tell them."""
    flags: tuple[Flag, ...] = ()
    has_variable: bool = True
    is_keyword: bool = True
    """Whether start_tracing() has it; others are the command's alone."""

    @property
    def variable(self) -> str | None:
        """The environment variable, which is specific to tcplife and so has the prefix of such."""
        return f"OTEL_PYTHON_TCPLIFE_{self.name.upper()}" if self.has_variable else None

    def read(
        self, environ: Mapping[str, str], scope: Scope = Scope.HOST, given: object = None, given_as: str | None = None
    ) -> ValueOf:
        """The value from what is given, else from the variable, else the default of the scope; None is not given.

        `given_as` is what the user calls the given one. Raise BadUsage, naming what was typed, if it cannot be.
        """
        text, name = text_of(given), given_as or self.name
        if text is None and self.variable:
            text, name = environ.get(self.variable, "").strip() or None, self.variable
        try:
            return self.default[scope] if text is None else self.parse(text)
        except BadUsage as error:
            raise BadUsage(f"{name}: {error.problem}", error.remedy) from None


def text_of(value: object) -> str | None:
    """What is given as the text that its variable would have; None is not given."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ",".join(f"{key}={value}" for key, value in pairs.items()) or None
    if isinstance(value, (list, tuple, set)):
        values = cast("Iterable[object]", value)
        return ",".join(map(str, values)) or None
    return str(value)
