"""The directory of a bpffs in which a program stays that is to go on tracing without a tracer.

A set is all that belongs to one program: a directory of its own, `otel_tcplife_` and a number, which only grows. It is
made under another name and renamed when it is whole. Names of others in the directory are left alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.export.otlp.own_files import Unsafe, open_directory
from otel_tcplife.options import PIN
from otel_tcplife.probe import bpf

_BPFFS = 0xCAFE4A11
"""BPF_FS_MAGIC (include/uapi/linux/magic.h), the first word of struct statfs."""
_LARGER_THAN_STATFS = 512
_libc = ctypes.CDLL(None, use_errno=True)

_SET = re.compile(r"otel_tcplife_([1-9][0-9]{0,17})")
_UNFINISHED = "otel_tcplife_new"
_PIN = re.compile(r"scan|(?:map|hook|link|program)_\w+")
"""What a set has; a link first, so that nothing is attached that cannot be found."""

_ANOTHER_DIRECTORY = "give a directory of yours in a bpffs, such as /sys/fs/bpf/otel-tcplife"
_MOUNT = f"mount one (mount -t bpf bpf /sys/fs/bpf), and {_ANOTHER_DIRECTORY}"


class NoDirectory(Exception):
    """There is none, and it was not to be made."""


class PinDirectory:
    """The directory, open."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        """Open it, and make it where there is none, or raise NoDirectory without `make`.

        Raise BadUsage where it cannot be used. Whose it must be is as for --otlp-file, see open_directory().
        """
        self.path = path
        self._name = PIN.variable or PIN.name

        def may_make_in(directory: int) -> None:
            self._check_file_system(directory)
            if not make:
                raise NoDirectory

        try:
            found = open_directory(path, may_make_in)
            try:
                self._check_file_system(found)
                self.descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
            finally:
                os.close(found)
        except Unsafe as error:
            raise self._refused(error.strerror or "", _ANOTHER_DIRECTORY) from None
        except OSError as error:
            no_dots = error.errno == errno.EPERM and "." in str(path)  # bpf_lookup() in kernel/bpf/inode.c
            problem = "a name in a bpffs has no dots" if no_dots else error.strerror or str(error)
            raise self._refused(problem, _ANOTHER_DIRECTORY) from None

    def lock(self) -> None:
        """Be the only one that reads what is pinned there, until close(). Raise CannotTrace where another one is."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotTrace(
                f"{self._name}: another otel-tcplife runs with {self.path}", "stop it, or give another directory"
            ) from None

    def close(self) -> None:
        """Give it up, and the lock."""
        os.close(self.descriptor)

    def numbers(self) -> list[int]:
        """Those of the sets, the oldest first. Raise BadUsage where somebody else has made one."""
        names = os.listdir(self.descriptor)
        for name in names:
            if name == _UNFINISHED or _SET.fullmatch(name):
                self._check_owner(name)
        return sorted(int(found[1]) for found in map(_SET.fullmatch, names) if found)

    def open_set(self, number: int) -> int:
        """A descriptor of the directory of a set."""
        return os.open(_name_of(number), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.descriptor)

    def make_set(self, number: int, descriptors: Mapping[str, int]) -> None:
        """Pin all of these by their names; there is such a set with all of them then, or none."""
        os.mkdir(_UNFINISHED, 0o700, dir_fd=self.descriptor)
        unfinished = os.open(_UNFINISHED, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.descriptor)
        try:
            for name, descriptor in descriptors.items():
                bpf.pin(descriptor, unfinished, name)
        finally:
            os.close(unfinished)
        os.rename(_UNFINISHED, _name_of(number), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove_set(self, number: int) -> None:
        """Remove a set; what it holds goes from the kernel when nobody has it open."""
        self._remove(_name_of(number))

    def remove_unfinished(self) -> bool:
        """Remove what is left of a set that was not finished; return whether there was one."""
        if _UNFINISHED not in os.listdir(self.descriptor):
            return False
        self._remove(_UNFINISHED)
        return True

    def _remove(self, name: str) -> None:
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.descriptor)
        try:
            for each in sorted(filter(_PIN.fullmatch, os.listdir(directory)), key=lambda each: each[:4] != "link"):
                os.unlink(each, dir_fd=directory)
        finally:
            os.close(directory)
        with suppress(OSError):  # what others have put there stays
            os.rmdir(name, dir_fd=self.descriptor)

    def _check_owner(self, name: str) -> None:
        status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise self._refused(f"{name} in it is no directory", "move it away, or give another directory")
        if status.st_uid != os.geteuid():
            raise self._refused(f"{name} in it belongs to user {status.st_uid}", _ANOTHER_DIRECTORY)

    def _check_file_system(self, directory: int) -> None:
        status = ctypes.create_string_buffer(_LARGER_THAN_STATFS)
        if _libc.fstatfs(directory, status) or ctypes.c_long.from_buffer(status).value != _BPFFS:
            raise self._refused("it is not in a bpffs", _MOUNT)

    def _refused(self, problem: str, remedy: str) -> BadUsage:
        return BadUsage(f"{self._name}: {self.path}: {problem}", remedy)


def _name_of(number: int) -> str:
    return f"otel_tcplife_{number}"
