"""Run the command as on a kernel before 5.19, which refuses all of bpf(2) to those without CAP_BPF.

Kernels have done so where kernel.unprivileged_bpf_disabled is not 0 (__sys_bpf() in kernel/bpf/syscall.c of 5.18).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command itself does

from otel_tcplife import __main__
from otel_tcplife.probe import bpf

_CAP_BPF = 39
_call = bpf.call


def _call_before_5_19(command: int, attribute: ctypes.Structure | ctypes.Array[Any]) -> int:
    status = Path("/proc/thread-self/status").read_text()
    effective = int(status.partition("\nCapEff:")[2].split()[0], 16)
    if not effective >> _CAP_BPF & 1:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return _call(command, attribute)


if __name__ == "__main__":
    bpf.call = _call_before_5_19
    del sys.argv[0]  # the command that this runs as
    sys.exit(__main__.main())
