"""A program that is ready to be loaded: from the cache, or else compiled, which takes a second."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from otel_tcplife.errors import CannotTrace
from otel_tcplife.log import logger
from otel_tcplife.probe.cache import ProgramCache, cache_directory
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.compiler import compile_text, text_of_kernel
from otel_tcplife.probe.interpreters import HELPER_ITSELF, PATIENCE, in_helper

_Result = TypeVar("_Result")

_OF_ANY_PROGRAM = (errno.EPERM, errno.ENOSYS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR)
"""Refusals that another program would meet as well."""


@dataclass(frozen=True)
class PreparedProgram:
    """One that the kernel has not seen yet."""

    chosen: str
    """Its text, as chosen_text() has it."""
    cache: ProgramCache
    compiled: CompiledProgram
    is_cached: bool
    patience: float = PATIENCE
    """Seconds that the compiler gets, should it be compiled after all."""

    def made(self, make: Callable[[CompiledProgram], _Result]) -> _Result:
        """What `make` makes of it in the kernel. One that was compiled now is kept for the next start.

        Where the kernel does not take a cached one, it is compiled after all. Raise CannotTrace, and OSError as `make`
        does.
        """
        if self.is_cached:
            try:
                return make(self.compiled)
            except OSError as error:
                if error.errno in _OF_ANY_PROGRAM:
                    raise
                logger.debug("cache: the kernel does not take the program from %s: %s", self.cache.shown, error)
                try:
                    compiled = _compiled(self.chosen, self.patience)
                except CannotTrace as no_other:
                    raise error from no_other
        else:
            compiled = self.compiled
        result = make(compiled)
        self.cache.keep(compiled)
        return result


def prepare(chosen: str, patience: float = PATIENCE) -> PreparedProgram:
    """Get it from the cache, or compile it in so many seconds. Raise CannotTrace, with the reason and the remedy."""
    if in_helper():
        raise CannotTrace(HELPER_ITSELF, "it traces nothing itself")
    cache = ProgramCache(cache_directory(), chosen)
    cached = cache.read()
    if cached:
        logger.debug("cache: the BPF program is that of %s", cache.shown)
    return PreparedProgram(chosen, cache, cached or _compiled(chosen, patience), bool(cached), patience)


def _compiled(chosen: str, patience: float) -> CompiledProgram:
    return compile_text(text_of_kernel(chosen), patience)
