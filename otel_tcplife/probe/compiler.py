"""Have the program compiled, by the first Python that has bcc and can do it."""

from __future__ import annotations

import json
from typing import NamedTuple

from otel_tcplife.errors import CannotTrace
from otel_tcplife.probe.btf import BtfError, read_kernel_btf
from otel_tcplife.probe.compiled import CompiledProgram, decoded
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.probe.interpreters import PATIENCE, NoBcc, bcc_interpreters, run_helper
from otel_tcplife.probe.program import (
    HOOK_PREFIX,
    SCAN,
    SCAN_TARGET,
    hook_names,
    map_names,
    text_for_compiler,
    text_here,
)
from otel_tcplife.probe.requirements import INSTALL_BCC, btf_remedy


class KernelText(NamedTuple):
    """A whole program for this kernel."""

    text: str
    scan_target: int
    """BTF id of the kernel function that the iterator is of."""


def text_of_kernel(chosen: str) -> KernelText:
    """The whole of a program, of which chosen_text() is what is the same on all kernels.

    Raise CannotTrace, with the remedy, if this kernel lacks what the program needs.
    """
    try:
        btf = read_kernel_btf()
        return KernelText(text_here(chosen, btf), btf.function_id(SCAN_TARGET))
    except BtfError as error:
        raise CannotTrace(str(error), btf_remedy(error)) from error


def compile_text(program: KernelText, patience: float = PATIENCE) -> CompiledProgram:
    """Compile it, in so many seconds with each Python that has bcc.

    Raise CannotTrace with the reasons of all of them, and what mends that.
    """
    text = program.text
    functions = [*(HOOK_PREFIX + name for name in hook_names(text)), SCAN]
    request = {"text": text_for_compiler(text), "maps": map_names(text), "functions": functions}
    reasons: list[str] = []
    for interpreter in bcc_interpreters():
        try:
            printed = json.loads(run_helper(interpreter, ["compile"], json.dumps(request).encode(), patience))
            return decoded({**printed, "scan_target": program.scan_target})
        except NoBcc:
            continue
        except CannotTrace as error:
            reasons.append(f"{error.problem} (with {interpreter})")
        except ValueError as error:
            reasons.append(f"{error} (with {interpreter})")
    if not reasons:
        raise CannotTrace("no Python with bcc found", INSTALL_BCC)
    problem = "; ".join(reasons)
    raise CannotTrace(f"the BPF program could not be loaded: {problem}", remedy_of(problem))
