"""The machines that QEMU can be, and what they are called by whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Architecture:
    """One of them."""

    debian: str
    """Its name in Debian."""
    machine: str
    """Its name in the kernel."""
    qemu: str
    """The program that is such a machine."""
    board: tuple[str, ...]
    """What that has to be told in any case."""
    emulated: tuple[str, ...]
    """And where it is emulated."""
    console: str
    """The device of its first serial port."""

    def accelerated(self) -> list[str]:
        """Options for the fastest way there is on this host: KVM for a machine of the same kind, else emulation."""
        if self.machine == os.uname().machine and _has_kvm():
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi", *self.emulated]


def _has_kvm() -> bool:
    """Whether it can be used, and whether the processor has what it needs.

    Within some virtual machines there is a KVM without that, which does not get far in booting Linux.
    """
    has_extension = {"vmx", "svm"} & {*Path("/proc/cpuinfo").read_text().split()} or os.uname().machine == "aarch64"
    return bool(has_extension) and os.access("/dev/kvm", os.R_OK | os.W_OK)


_ALL = (
    # Linux 5.10 does not boot where la57 is emulated
    Architecture("amd64", "x86_64", "qemu-system-x86_64", (), ("-cpu", "max,la57=off"), "ttyS0"),
    Architecture("arm64", "aarch64", "qemu-system-aarch64", ("-M", "virt"), ("-cpu", "cortex-a72"), "ttyAMA0"),
)
ARCHITECTURES = {each.debian: each for each in _ALL}


def of_this_host() -> str:
    """The name in Debian of the architecture that this host has; that of x86_64 where it has neither."""
    return next((each.debian for each in _ALL if each.machine == os.uname().machine), "amd64")
