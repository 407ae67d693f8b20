"""Compile, load and attach the BPF program, then hand its descriptors over: the only file that imports bcc.

It runs as a short-lived program of its own, under an interpreter that has bcc (which may be another one than the
agent's: distributions install bcc for theirs), so it imports nothing of this project. The program stays attached as
long as the receiver keeps the link descriptors, and the receiver never has LLVM in its memory.

    bcc_helper.py SOCKET_FD < {"text": the C program, "maps": [names], "scan": iterator, "scan_target": BTF id}

attaches all raw tracepoints of the program, then sends through the Unix socket the names of the maps in JSON with the
descriptors of these, of the iterator's link, and of those of the tracepoints. Further keys of the request are for a
program that stays in the kernel:

    "hooks": {tracepoint: function}   are loaded and not attached; the descriptors of the programs take the place of
                                      the links, and their tracepoints follow the names of the maps
    "kept": {map: descriptor}         is used instead of a new map of that name if both have the same shape
    "given": {map: descriptor}        is used in any case

Maps and functions that the text does not have are left out then. Without arguments it prints the version of bcc. Exit
status: 0 done, 3 no bcc here, 1 anything else, with the reason on standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import socket
import sys
from typing import Any

NO_BCC = 3

_PROG_LOAD, _INFO, _LINK_CREATE = 5, 15, 28
_PROG_TYPE_RAW_TRACEPOINT, _PROG_TYPE_TRACING, _TRACE_ITER = 17, 26, 28
_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 1
"""BPF_LD | BPF_IMM | BPF_DW, and the source register with which its number is the descriptor of a map."""
_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), -1)
_LOG_SIZE = 1 << 16
_INSTRUCTION_SIZE = 8


class _ProgramAttribute(ctypes.Structure):
    """The part of union bpf_attr (include/uapi/linux/bpf.h) that BPF_PROG_LOAD uses."""

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
        ("prog_name", ctypes.c_char * 16),
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


class _InfoAttribute(ctypes.Structure):
    """The part that BPF_OBJ_GET_INFO_BY_FD uses."""

    _fields_ = [("bpf_fd", ctypes.c_uint32), ("info_len", ctypes.c_uint32), ("info", ctypes.c_uint64)]


class _LinkAttribute(ctypes.Structure):
    """The part that BPF_LINK_CREATE uses."""

    _fields_ = [
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("iter_info", ctypes.c_uint64),
        ("iter_info_len", ctypes.c_uint32),
    ]


def main() -> int:
    """Do all of the above."""
    try:
        bcc: Any = importlib.import_module("bcc")
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return NO_BCC if error.name == "bcc" else 1
    if not hasattr(bcc, "BPF"):
        print("the module bcc here is another program, PyPI's package of that name", file=sys.stderr)
        return NO_BCC
    if len(sys.argv) < 2:
        print(bcc.__version__)
    else:
        _load(bcc, json.load(sys.stdin), int(sys.argv[1]))
    return 0


def _load(bcc: Any, request: Any, receiver_fd: int) -> None:
    bpf = bcc.BPF(text=request["text"].encode(), cflags=["-Wno-macro-redefined"])
    stays = "hooks" in request
    maps: dict[str, int] = {
        name: bpf[name.encode()].map_fd for name in request["maps"] if not stays or _has_map(bpf, name)
    }
    instead = _instead(maps, request)
    links: list[int] = []
    functions: dict[str, str] = request["hooks"] if stays else {}
    hooks = [tracepoint for tracepoint in functions if _has_function(bpf, functions[tracepoint])]
    for tracepoint in hooks:
        code = _with_maps(bpf.dump_func(functions[tracepoint].encode()), instead)
        links.append(_load_program(code, tracepoint, prog_type=_PROG_TYPE_RAW_TRACEPOINT))
    code = _with_maps(bpf.dump_func(request["scan"].encode()), instead)
    scan = _attach_iterator(code, request["scan_target"])
    if not stays:  # RAW_TRACEPOINT_PROBE() made bcc attach each of them while it loaded
        links += bpf.raw_tracepoint_fds.values()
    with socket.socket(fileno=receiver_fd) as receiver:
        descriptors = [*(instead.get(each, each) for each in maps.values()), scan, *links]
        socket.send_fds(receiver, [json.dumps([*maps, *hooks]).encode()], descriptors)


def _has_map(bpf: Any, name: str) -> bool:
    try:
        bpf[name.encode()]
    except KeyError:
        return False
    return True


def _has_function(bpf: Any, name: str) -> bool:
    try:
        bpf.dump_func(name.encode())
    except Exception:  # noqa: BLE001 bcc's, which has no class of its own
        return False
    return True


def _instead(maps: dict[str, int], request: Any) -> dict[int, int]:
    """Which map is to be used for which new one."""
    kept, given = request.get("kept", {}), request.get("given", {})
    alike = {name: fd for name, fd in kept.items() if name in maps and _shape(fd) == _shape(maps[name])}
    return {maps[name]: fd for name, fd in {**alike, **given}.items()}


def _shape(map_fd: int) -> list[int]:
    """Type, size of key and value, number of elements, and flags of a map: the beginning of struct bpf_map_info."""
    info = (ctypes.c_uint32 * 6)()
    _bpf(_INFO, _InfoAttribute(map_fd, ctypes.sizeof(info), ctypes.addressof(info)))
    return [info[0], *info[2:]]


def _with_maps(instructions: bytes, instead: dict[int, int]) -> bytes:
    """The instructions with one map in the place of another."""
    code = bytearray(instructions)
    for at in range(0, len(code), _INSTRUCTION_SIZE):
        number = int.from_bytes(code[at + 4 : at + 8], sys.byteorder)
        if code[at] == _LOAD_MAP and code[at + 1] >> 4 == _PSEUDO_MAP_FD and number in instead:
            code[at + 4 : at + 8] = instead[number].to_bytes(4, sys.byteorder)
    return bytes(code)


def _attach_iterator(instructions: bytes, target: int) -> int:
    """Load an iterator and return its link. Raise OSError, with the verifier's last line.

    Not through the libbpf that bcc brings: one that is older than the kernel cannot read the kernel's BTF.
    """
    loaded = _load_program(
        instructions, "iterator", prog_type=_PROG_TYPE_TRACING, expected_attach_type=_TRACE_ITER, attach_btf_id=target
    )
    try:
        return _bpf(_LINK_CREATE, _LinkAttribute(prog_fd=loaded, attach_type=_TRACE_ITER))
    except OSError as error:
        raise OSError(error.errno, f"bpf: attaching the iterator: {error.strerror}") from None


def _load_program(instructions: bytes, name: str, **kind: int) -> int:
    code, log = ctypes.create_string_buffer(instructions, len(instructions)), ctypes.create_string_buffer(_LOG_SIZE)
    terms = ctypes.create_string_buffer(b"GPL")
    program = _ProgramAttribute(
        insn_cnt=len(instructions) // _INSTRUCTION_SIZE,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(terms),
        prog_name=b"tcplife_" + ("scan" if name == "iterator" else name).encode()[:7],
        **kind,
    )
    try:
        return _bpf(_PROG_LOAD, program)
    except OSError as error:
        program.log_level, program.log_size, program.log_buf = 1, _LOG_SIZE, ctypes.addressof(log)
        with_log = ctypes.CDLL(None, use_errno=True)
        with_log.syscall(_SYSCALL, _PROG_LOAD, ctypes.byref(program), ctypes.sizeof(program))
        print(log.value.decode(errors="replace"), file=sys.stderr)
        raise OSError(error.errno, f"bpf: loading the {name}: {error.strerror}") from None


def _bpf(command: int, attribute: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # tearing LLVM down takes time and changes nothing
