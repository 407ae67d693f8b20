"""Have the program compiled, by the first Python that has bcc and can do it."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    can_have_typed_pointers,
    hook_names,
    map_names,
    text_for_compiler,
    text_here,
)
from otel_tcplife.probe.requirements import INSTALL_BCC, btf_remedy


class KernelText(NamedTuple):
    """A whole program for this kernel."""

    hooks: str
    """What the hooks are compiled of."""
    scan: str
    """Likewise, the scan: it has no typed pointers, as it follows some whose type the verifier does not know."""
    targets: Mapping[str, int]
    """By function, the BTF id of what it is attached to; none for raw tracepoints."""


def text_of_kernel(chosen: str, *, typed_pointers: bool = True) -> KernelText:
    """The whole of a program, of which chosen_text() is what is the same on all kernels.

    Its hooks have typed pointers, see bpf/kernel.h, where these are asked for and this kernel can have them. Raise
    CannotTrace, with the remedy, if this kernel lacks what the program needs.
    """
    try:
        btf = read_kernel_btf()
        typed_pointers = typed_pointers and can_have_typed_pointers(btf)
        scan, targets = text_here(chosen, btf, typed_pointers=False), {SCAN: btf.function_id(SCAN_TARGET)}
        if not typed_pointers:
            return KernelText(scan, scan, targets)
        targets |= {HOOK_PREFIX + name: btf.tracepoint_id(name) for name in hook_names(chosen)}
        return KernelText(text_here(chosen, btf, typed_pointers=True), scan, targets)
    except BtfError as error:
        raise CannotTrace(str(error), btf_remedy(error)) from error


def _functions(program: KernelText) -> dict[str, list[str]]:
    """Those of each text that is to be compiled."""
    hooks = [HOOK_PREFIX + name for name in hook_names(program.hooks)]
    if program.hooks == program.scan:
        return {text_for_compiler(program.scan, hooks=True, scan=True): [*hooks, SCAN]}
    return {
        text_for_compiler(program.hooks, hooks=True, scan=False): hooks,
        text_for_compiler(program.scan, hooks=False, scan=True): [SCAN],
    }


def compile_text(program: KernelText, patience: float = PATIENCE) -> CompiledProgram:
    """Compile it, in so many seconds with each Python that has bcc.

    Raise CannotTrace with the reasons of all of them, and what mends that.
    """
    request = {"functions": _functions(program), "maps": map_names(program.scan)}
    reasons: list[str] = []
    for interpreter in bcc_interpreters():
        try:
            printed = json.loads(run_helper(interpreter, ["compile"], json.dumps(request).encode(), patience))
            return decoded({**printed, "targets": program.targets})
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
