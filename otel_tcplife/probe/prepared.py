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
    typed_pointers: bool = True
    """Whether it may have them, see bpf/kernel.h."""

    def made(self, make: Callable[[CompiledProgram], _Result]) -> _Result:
        """What `make` makes of it in the kernel. One that was compiled now is kept for the next start.

        Where the kernel does not take a cached one, it is compiled after all, and where it does not take one with typed
        pointers, without them. Raise CannotTrace, and OSError as `make` does.
        """
        program, is_cached, typed_pointers = self.compiled, self.is_cached, self.typed_pointers
        while True:
            try:
                result = make(program)
            except OSError as error:
                if error.errno in _OF_ANY_PROGRAM or not (is_cached or program.has_typed_pointers):
                    raise
                logger.debug("the kernel does not take %s: %s", self._told(program, is_cached), error)
                typed_pointers &= is_cached  # a cached one may be refused for another reason
                try:
                    program, is_cached = _compiled(self.chosen, self.patience, typed_pointers), False
                except CannotTrace as no_other:
                    raise error from no_other
            else:
                if not is_cached:
                    self.cache.keep(program)
                return result

    def _told(self, program: CompiledProgram, is_cached: bool) -> str:
        kind = "with typed pointers" if program.has_typed_pointers else "without typed pointers"
        return f"the program {kind}" + (f" from {self.cache.shown}" if is_cached else "")


def prepare(chosen: str, patience: float = PATIENCE, *, typed_pointers: bool = True) -> PreparedProgram:
    """Get it from the cache, or compile it in so many seconds. Raise CannotTrace, with the reason and the remedy."""
    if in_helper():
        raise CannotTrace(HELPER_ITSELF, "it traces nothing itself")
    cache = ProgramCache(cache_directory(), chosen, typed_pointers=typed_pointers)
    cached = cache.read()
    if cached:
        logger.debug("cache: the BPF program is that of %s", cache.shown)
    compiled = cached or _compiled(chosen, patience, typed_pointers)
    return PreparedProgram(chosen, cache, compiled, bool(cached), patience, typed_pointers)


def _compiled(chosen: str, patience: float, typed_pointers: bool) -> CompiledProgram:
    return compile_text(text_of_kernel(chosen, typed_pointers=typed_pointers), patience)
