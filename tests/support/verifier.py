"""What the kernel's verifier says of each BPF program, and the figures that are kept of it, in verifier.json.

`python -m tests.support.verifier` keeps those of this kernel; with files of figures as arguments, it keeps these.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import resource
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.options import DEFAULT_SIZES, Options, Scope
from otel_tcplife.probe import bpf, kernel_objects
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.diagnosis import kernel_version
from otel_tcplife.probe.interpreters import NoBcc, bcc_interpreters, run_helper
from otel_tcplife.probe.loader import prepare_program

KEPT = Path(__file__).with_name("verifier.json")

_STEPS, _STATISTICS = 1, 4
"""BPF_LOG_LEVEL1 and BPF_LOG_STATS (include/linux/bpf_verifier.h)."""
_LOG_SIZE = 16 << 20
_LAST_STEPS = 60


class Figures(NamedTuple):
    """Of one program."""

    instructions: int
    """Its length."""
    verified: int
    """How many instructions the verifier went through, on all paths together; it takes a million at most."""
    stack: int
    """Bytes of it; the kernel has 512."""


OfChoices = dict[str, dict[str, Figures]]
"""By what was chosen, and by the tracepoint or the iterator."""


_CHOICES: Mapping[str, tuple[Options, bool]] = {
    "host": (Options(), False),
    "process": (Options(Scope.PROCESS, sizes=DEFAULT_SIZES[Scope.PROCESS]), False),
    "process, trace context": (
        Options(Scope.PROCESS, sizes=DEFAULT_SIZES[Scope.PROCESS], trace_context=True),
        True,
    ),
}
"""Programs that have more or less in them, and whether the application announces its connections."""


def where() -> str:
    """What the figures depend on: the machine, the kernel, and the version of bcc, whose compiler it was."""
    version = ".".join(map(str, kernel_version()))
    return f"{platform.machine()}, Linux {version}, bcc {_bcc()}"


def _bcc() -> str:
    for interpreter in bcc_interpreters():
        try:
            return ".".join(run_helper(interpreter, [], b"{}").split(".")[:2])
        except NoBcc:
            continue
    raise RuntimeError("no Python has bcc")


def figures_here() -> OfChoices:
    """Those of all programs on this kernel."""
    found: OfChoices = {}
    for name, (options, has_announcements) in _CHOICES.items():
        found[name] = _figures(prepare_program(options, has_announcements=has_announcements).compiled)
    return found


def kept_figures() -> dict[str, OfChoices]:
    """Those that are kept, by where() they are from."""
    return {place: _decoded(choices) for place, choices in json.loads(KEPT.read_text()).items()}


def _decoded(choices: Mapping[str, Mapping[str, Iterable[int]]]) -> OfChoices:
    return {
        choice: {program: Figures(*values) for program, values in programs.items()}
        for choice, programs in choices.items()
    }


def keep(figures: Mapping[str, OfChoices]) -> None:
    """Keep these, instead of those from the same place."""
    every = {**(kept_figures() if KEPT.exists() else {}), **figures}
    text = json.dumps(every, indent=2, sort_keys=True)
    # The three figures of a program on its line
    KEPT.write_text(re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3]", text) + "\n")


def _figures(program: CompiledProgram) -> dict[str, Figures]:
    with suppress(ValueError, OSError):  # it may not; before Linux 5.11, maps and programs count as locked memory
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    maps = [kernel_objects.make_map(name, definition) for name, definition in program.maps.items()]
    try:
        of_hooks = {
            name: _verified(kernel_objects.with_maps(hook.code, maps), **kernel_objects.tracepoint_kind(hook.target))
            for name, hook in program.hooks.items()
        }
        scan = kernel_objects.with_maps(program.scan.code, maps)
        return {**of_hooks, "scan": _verified(scan, **kernel_objects.iterator_kind(program.scan.target))}
    finally:
        for descriptor in maps:
            os.close(descriptor)


def _verified(instructions: bytes, **kind: int) -> Figures:
    """Raise RuntimeError, with the end of what the verifier did, where it refuses them."""
    try:
        said = _loaded(instructions, _STATISTICS, **kind)
    except OSError as error:
        raise RuntimeError("\n".join(_refusal(instructions, **kind)[-_LAST_STEPS:])) from error
    count = len(instructions) // kernel_objects.INSTRUCTION_SIZE
    processed = re.search(r"^processed (\d+) insns", said, re.MULTILINE)
    # One number for the program and each of its functions, or the most of all of them, as Linux 7.3 has it
    stack = re.search(r"^stack depth (?:max )?([\d+]+)", said, re.MULTILINE)
    assert processed, said
    assert stack, said
    return Figures(count, int(processed[1]), max(map(int, stack[1].split("+"))))


def _refusal(instructions: bytes, **kind: int) -> list[str]:
    """Each step of the verifier, up to the refusal."""
    try:
        return _loaded(instructions, _STEPS, **kind).splitlines()
    except OSError as error:
        return str(error).splitlines()


def _loaded(instructions: bytes, log_level: int, **kind: int) -> str:
    """What the verifier says. Raise OSError with that."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms, log = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(_LOG_SIZE)
    program = kernel_objects.ProgramAttribute(
        insn_cnt=len(instructions) // kernel_objects.INSTRUCTION_SIZE, insns=ctypes.addressof(code),
        license=ctypes.addressof(terms),
        log_level=log_level, log_size=_LOG_SIZE, log_buf=ctypes.addressof(log), **kind,
    )  # fmt: skip
    try:
        os.close(bpf.call(kernel_objects.PROG_LOAD, program))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}\n{log.value.decode(errors='replace')}") from error
    return log.value.decode()


def main(paths: Iterable[str]) -> None:
    """Keep what these files have, or else the figures of this kernel."""
    files = [json.loads(Path(path).read_text()) for path in paths]
    keep({place: _decoded(choices) for each in files for place, choices in each.items()} or {where(): figures_here()})


if __name__ == "__main__":
    main(sys.argv[1:])
