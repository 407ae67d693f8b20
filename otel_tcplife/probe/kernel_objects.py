"""What is made by bpf(2): maps, programs, and the links that have programs run. All raise OSError.

Each attribute class is the part of union bpf_attr (include/uapi/linux/bpf.h) that its command uses.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.log import logger
from otel_tcplife.probe import bpf

_MAP_CREATE, PROG_LOAD, _RAW_TRACEPOINT_OPEN, _LINK_CREATE = 0, 5, 17, 28
_TYPE_ARRAY, _TYPE_PROG_ARRAY = 2, 3
_MMAPABLE = 1 << 10
_PROG_TYPE_RAW_TRACEPOINT, _PROG_TYPE_TRACING = 17, 26
_TRACE_RAW_TRACEPOINT, _TRACE_ITER = 23, 28
_LONGEST_NAME = 15
_LOG_SIZE = 1 << 16

INSTRUCTION_SIZE = 8
_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 1
"""BPF_LD | BPF_IMM | BPF_DW, and the source register with which its number is the descriptor of a map."""


class _MapAttribute(ctypes.Structure):
    _fields_ = [
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * (_LONGEST_NAME + 1)),
    ]


class ProgramAttribute(ctypes.Structure):
    """The part of union bpf_attr (include/uapi/linux/bpf.h) that loads a program."""

    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * (_LONGEST_NAME + 1)),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("func_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
    ]


class _RawTracepointAttribute(ctypes.Structure):
    _fields_ = [("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32)]


class _LinkAttribute(ctypes.Structure):
    _fields_ = [
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("iter_info", ctypes.c_uint64),
        ("iter_info_len", ctypes.c_uint32),
    ]


class MapDefinition(NamedTuple):
    """What a map is made as."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def make_map(name: str, definition: MapDefinition) -> int:
    """A new map. The kernel has names up to 15 bytes, and cuts none itself."""
    attribute = _MapAttribute(*definition, map_name=name.encode()[:_LONGEST_NAME])
    try:
        return bpf.call(_MAP_CREATE, attribute)
    except OSError as error:
        raise OSError(error.errno, f"bpf: making the map {name}: {error.strerror}") from None


def definition_of(map_fd: int) -> MapDefinition:
    """What a map was made as."""
    info = bpf.map_info(map_fd)
    return MapDefinition(info.type, info.key_size, info.value_size, info.max_entries, info.flags)


def make_array(name: str, value_size: int, *, mapped: bool = False) -> int:
    """A new array of one element, which can be mapped into memory or not."""
    return make_map(name, MapDefinition(_TYPE_ARRAY, 4, value_size, 1, _MMAPABLE if mapped else 0))


def with_maps(instructions: bytes, maps: list[int]) -> bytes:
    """The instructions with the descriptors of maps in the place of their numbers in this list.

    Raise IndexError for a number that is not in it.
    """
    code = bytearray(instructions)
    for at in range(0, len(code), INSTRUCTION_SIZE):
        if code[at] == _LOAD_MAP and code[at + 1] >> 4 == _PSEUDO_MAP_FD:
            number = int.from_bytes(code[at + 4 : at + 8], "little")
            code[at + 4 : at + 8] = maps[number].to_bytes(4, "little")
    return bytes(code)


def tracepoint_kind(target: int) -> dict[str, int]:
    """What a program for a tracepoint is loaded as: with the BTF id of that, or as one of a raw tracepoint for 0."""
    if not target:
        return {"prog_type": _PROG_TYPE_RAW_TRACEPOINT}
    return {
        "prog_type": _PROG_TYPE_TRACING,
        "expected_attach_type": _TRACE_RAW_TRACEPOINT,
        "attach_btf_id": target,
    }


def iterator_kind(target: int) -> dict[str, int]:
    """Likewise, of one that iterates over what the kernel function with this BTF id does."""
    return {"prog_type": _PROG_TYPE_TRACING, "expected_attach_type": _TRACE_ITER, "attach_btf_id": target}


def load_tracepoint_program(instructions: bytes, tracepoint: str, target: int = 0) -> int:
    """A program for a tracepoint, see tracepoint_kind()."""
    return _load(instructions, tracepoint, **tracepoint_kind(target))


def load_iterator(instructions: bytes, target: int) -> int:
    """A program that iterates, see iterator_kind()."""
    return _load(instructions, "scan", **iterator_kind(target))


def attach_to_tracepoint(program: int, tracepoint: str, target: int = 0) -> int:
    """Have a tracepoint run a program; return the link. One that was loaded with a BTF id has its tracepoint by it."""
    name = ctypes.create_string_buffer(tracepoint.encode())
    name_at = 0 if target else ctypes.addressof(name)
    try:
        return bpf.call(_RAW_TRACEPOINT_OPEN, _RawTracepointAttribute(name_at, program))
    except OSError as error:
        raise OSError(error.errno, f"bpf: attaching to {tracepoint}: {error.strerror}") from None


def attach_iterator(program: int) -> int:
    """The link of an iterator, which can be run then: see iterator.py."""
    try:
        return bpf.call(_LINK_CREATE, _LinkAttribute(prog_fd=program, attach_type=_TRACE_ITER))
    except OSError as error:
        raise OSError(error.errno, f"bpf: attaching the iterator: {error.strerror}") from None


def make_hook() -> int:
    """A place for one program, which that has to be put into: see attach_hook()."""
    return make_map("tcplife_hook", MapDefinition(_TYPE_PROG_ARRAY, 4, 4, 1, 0))


def has_target(program: int) -> bool:
    """Whether it was loaded with the BTF id of its tracepoint."""
    information = Path(f"/proc/self/fdinfo/{program}").read_text()
    return f"prog_type:\t{_PROG_TYPE_TRACING}\n" in information


def fill_hook(hook: int, program: int) -> None:
    """Have the hook run this program from now on, and no other one. Each event is one program's."""
    bpf.put_only(hook, struct.pack("=I", program))


def attach_hook(hook: int, tracepoint: str, target: int = 0) -> int:
    """Have a tracepoint run whatever program of the same kind is in the hook; return the link.

    The program that is attached for good does nothing but bpf_tail_call(ctx, hook, 0), which has the other one run in
    its place, with the same arguments.
    """
    code = (
        struct.pack("<BBhiQ", _LOAD_MAP, _PSEUDO_MAP_FD << 4 | 2, 0, hook, 0)  # r2 = the map of this descriptor
        + struct.pack("<BBhi", 0xB7, 0x03, 0, 0)  # r3 = 0
        + struct.pack("<BBhi", 0x85, 0, 0, 12)  # call bpf_tail_call
        + struct.pack("<BBhi", 0xB7, 0, 0, 0)  # r0 = 0
        + struct.pack("<BBhi", 0x95, 0, 0, 0)  # exit
    )
    loaded = load_tracepoint_program(code, "hook", target)
    try:
        return attach_to_tracepoint(loaded, tracepoint, target)
    finally:
        os.close(loaded)


def _load(instructions: bytes, name: str, **kind: int) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms = ctypes.create_string_buffer(b"GPL")
    program = ProgramAttribute(
        insn_cnt=len(instructions) // INSTRUCTION_SIZE,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(terms),
        prog_name=f"tcplife_{name}".encode()[:_LONGEST_NAME],
        **kind,
    )
    try:
        return bpf.call(PROG_LOAD, program)
    except OSError as error:
        problem = f"bpf: loading {name}: {error.strerror}"
        logger.debug("%s; the verifier said:\n%s", problem, _said_by_verifier(program))
        raise OSError(error.errno, problem) from None


def _said_by_verifier(program: ProgramAttribute) -> str:
    """What it says of a program that was refused, which is loaded once more for that; it may be cut off."""
    log = ctypes.create_string_buffer(_LOG_SIZE)
    program.log_level, program.log_size, program.log_buf = 1, _LOG_SIZE, ctypes.addressof(log)
    with suppress(OSError):
        os.close(bpf.call(PROG_LOAD, program))
    return log.value.decode(errors="replace")
