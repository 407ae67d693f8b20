"""Compile the BPF program: the only file that imports bcc.

It runs as a short-lived program of its own, under an interpreter that has bcc (which may be another one than the
agent's: distributions install bcc for theirs), so it imports nothing of this project. The agent never has LLVM in its
memory, and loads what comes of it by itself.

    bcc_helper.py compile < {"functions": {a text of the C program: [names]}, "maps": [names]}

prints in JSON, as far as the texts have them, all of which have the same maps:

    "maps": {name: [type, size of a key, size of a value, number of elements, flags]}
    "functions": {name: instructions in base64}

Where an instruction loads a map, it has the number of that in "maps", counted from 0, instead of a descriptor. bcc
makes the maps when it compiles; they go with this program. Without arguments it prints the version of bcc. Exit status:
0 done, 3 no bcc here, 1 anything else, with the reason on standard error.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from typing import Any

NO_BCC = 3

_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 1
"""BPF_LD | BPF_IMM | BPF_DW, and the source register with which its number is the descriptor of a map."""
_INSTRUCTION_SIZE = 8
_DEFINITION = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
"""Lines of /proc/self/fdinfo of a map (bpf_map_show_fdinfo() in kernel/bpf/syscall.c)."""


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
        print(json.dumps(_compiled(bcc, json.load(sys.stdin))))
    return 0


def _compiled(bcc: Any, request: Any) -> dict[str, Any]:
    maps: dict[str, list[int]] = {}
    functions: dict[str, str] = {}
    for text, names in request["functions"].items():
        bpf = bcc.BPF(text=text.encode(), cflags=["-Wno-macro-redefined"])
        descriptors = {name: bpf[name.encode()].map_fd for name in request["maps"] if _has_map(bpf, name)}
        numbers = {descriptor: number for number, descriptor in enumerate(descriptors.values())}
        maps = {name: _definition(descriptor) for name, descriptor in descriptors.items()}
        for name in names:
            if code := _instructions(bpf, name):
                functions[name] = base64.b64encode(_with_numbers(code, numbers)).decode()
        bpf.cleanup()  # the maps, before the next ones are made
    return {"maps": maps, "functions": functions}


def _has_map(bpf: Any, name: str) -> bool:
    try:
        bpf[name.encode()]
    except KeyError:
        return False
    return True


def _instructions(bpf: Any, name: str) -> bytes | None:
    try:
        return bpf.dump_func(name.encode())
    except Exception:  # noqa: BLE001 bcc's, which has no class of its own
        return None


def _definition(descriptor: int) -> list[int]:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as information:
        lines = dict(line.split(":", 1) for line in information if ":" in line)
    return [int(lines[name], 0) for name in _DEFINITION]


def _with_numbers(instructions: bytes, numbers: dict[int, int]) -> bytes:
    code = bytearray(instructions)
    for at in range(0, len(code), _INSTRUCTION_SIZE):
        if code[at] == _LOAD_MAP and code[at + 1] >> 4 == _PSEUDO_MAP_FD:
            descriptor = int.from_bytes(code[at + 4 : at + 8], sys.byteorder)
            code[at + 4 : at + 8] = numbers[descriptor].to_bytes(4, sys.byteorder)
    return bytes(code)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # tearing LLVM down takes time and changes nothing
