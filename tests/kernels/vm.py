"""One run of a virtual machine: a job goes in on a disk, and results come out on another one."""

from __future__ import annotations

import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kernels.architecture import Architecture
from tests.kernels.kernel import Kernel
from tests.kernels.rootfs import RootFs

SAYS = "test-kernels: "
"""How lines of its console begin that are for whoever watches."""

_HUNG_AFTER = 4 * 3600.0
"""Seconds after which it hangs, however slow this machine is."""
_RESULTS_BYTES = 512 << 20

_COMMAND_LINE = (
    "panic=-1 mitigations=off"
    # Linux 5.10 found its timer not to work when the host was busy, and panicked
    " no_timer_check"
)


@dataclass(frozen=True)
class Run:
    """What came of it."""

    results: Path
    """The directory of what the job has left; empty where it did not come to its end."""
    seconds: float
    cpu_seconds: float


def run(
    architecture: Architecture, kernel: Kernel, root: RootFs, job: Path, results: Path, say: Callable[[str], None]
) -> Run:
    """Boot it, and wait until it has powered itself off. Its console goes to console.log of the results."""
    results.mkdir(parents=True)
    disk = results / "results.img"
    with disk.open("wb") as file:
        file.truncate(_RESULTS_BYTES)
    began = time.monotonic()
    command = _command(architecture, kernel, root, job, disk)
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout
    end = threading.Timer(_HUNG_AFTER, process.kill)
    end.start()
    with (results / "console.log").open("w") as log:
        _follow(process.stdout, log, say)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    end.cancel()
    _unpack(disk, results)
    disk.unlink()
    return Run(results, time.monotonic() - began, used.ru_utime + used.ru_stime)


def _command(architecture: Architecture, kernel: Kernel, root: RootFs, job: Path, results: Path) -> list[str]:
    disks = ((root.image, "on"), (kernel.modules, "on"), (job, "on"), (results, "off"))
    drives = [
        word
        for number, (path, is_kept_as_it_is) in enumerate(disks)
        for word in (
            "-drive", f"file={path},format=raw,if=none,id=disk{number},snapshot={is_kept_as_it_is}",
            "-device", f"virtio-blk-pci,drive=disk{number}",
        )
    ]  # fmt: skip
    return [
        architecture.qemu, *architecture.board, *architecture.accelerated(),
        "-smp", "2", "-m", "2G", "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio",
        "-device", "virtio-rng-pci",  # without it, what wants random numbers waits for them
        *drives,
        "-kernel", str(kernel.image), "-initrd", str(kernel.initramfs),
        "-append", f"console={architecture.console} {_COMMAND_LINE}",
    ]  # fmt: skip


def _follow(console: IO[str], log: IO[str], say: Callable[[str], None]) -> None:
    for line in console:
        log.write(line)
        log.flush()
        _, found, said = line.rstrip().partition(SAYS)
        if found:
            say(said)


def _unpack(disk: Path, into: Path) -> None:
    """What the job has written, which is nothing where it did not come to its end."""
    try:
        with tarfile.open(disk, "r:") as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    (into / Path(member.name).name).write_bytes(content.read())
    except tarfile.ReadError:
        return
