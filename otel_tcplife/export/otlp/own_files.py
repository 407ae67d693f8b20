"""Opens directories and files that nobody else can have laid out for us: we may be root, and in /tmp.

Everything is opened from the descriptor of the directory that it is in, so that what is checked is what is used
(openat(2)). See also fs.protected_symlinks, fs.protected_hardlinks and fs.protected_regular in proc_sys_fs(5), which
not every host has set, and which are about sticky directories only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MOST_LINKS = 40
"""Symbolic links on the way to a directory, as many as the kernel follows (path_resolution(7))."""

_ROOT = 0
_ANOTHER_DIRECTORY = "{} a directory of yours"
_MOVE_IT = "move it away, or {} another directory"


class Unsafe(OSError):
    """What another user could have laid out."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(errno.EPERM, problem)
        self._remedy = remedy

    def remedy(self, name: str) -> str:
        """How to go on; `name` is how the user names a directory, such as "give --otlp-file"."""
        return self._remedy.format(name)


def _anywhere(_directory: int) -> None:
    """Directories may be made in any directory."""


def open_directory(path: Path, may_make_in: Callable[[int], None] = _anywhere) -> int:
    """A descriptor of the directory, to open what is in it. It is made, with mode 0750, where there is none.

    `may_make_in` gets the descriptor of a directory before one is made in it, and raises where that must not be.
    Symbolic links on the way are followed if they are ours or root's. Raise Unsafe where another one is met, where the
    directory belongs to another user, or is root's and anybody can write to it, and OSError as open(2) and mkdir(2) do.
    """
    # Not from the working directory, where the path does not begin there: that may be closed to us
    directory = os.open(path.anchor or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        ahead, links = [*reversed(path.parts)], 0
        while ahead:
            entry = _entry(directory, ahead.pop(), may_make_in)
            if stat.S_ISLNK(os.fstat(entry).st_mode):
                ahead += reversed(Path(_target(entry)).parts)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            else:
                os.close(directory)
                directory = entry
        _check_directory(os.fstat(directory))
    except BaseException:
        os.close(directory)
        raise
    return directory


def open_file(directory: int, name: str) -> int:
    """A descriptor to append to this file of the directory with; it is made, with mode 0640, where there is none.

    Raise Unsafe where it is not a regular file that has this name only, or where others can write to the directory and
    it is not ours, and OSError as open(2) does.
    """
    # O_NONBLOCK: a named pipe would otherwise wait here for its reader
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        file = os.open(name, flags, 0o640, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unsafe(f"{name} in it is a symbolic link", _MOVE_IT) from None
        if error.errno in (errno.ENXIO, errno.EISDIR):  # a socket, or a device that is not there; a directory
            raise Unsafe(f"{name} in it is not a regular file", _MOVE_IT) from None
        raise
    try:
        _check_file(os.fstat(file), os.fstat(directory), name)
    except BaseException:
        os.close(file)
        raise
    return file


def open_file_of(directory: Path, name: str) -> int:
    """A descriptor to append to this file of the directory with, as open_directory() and open_file() make both."""
    opened = open_directory(directory)
    try:
        return open_file(opened, name)
    finally:
        os.close(opened)


def _entry(directory: int, name: str, may_make_in: Callable[[int], None]) -> int:
    """A descriptor of a directory, or of a symbolic link, in this one; a directory is made where there is nothing."""
    flags = os.O_PATH | os.O_NOFOLLOW
    try:
        entry = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        may_make_in(directory)
        with suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=directory)
        entry = os.open(name, flags, dir_fd=directory)
    kind = os.fstat(entry).st_mode
    if not stat.S_ISDIR(kind) and not stat.S_ISLNK(kind):
        os.close(entry)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return entry


def _target(link: int) -> str:
    """Where a symbolic link leads; its descriptor is closed."""
    try:
        owner = os.fstat(link).st_uid
        if owner not in (_ROOT, os.geteuid()):
            raise Unsafe(f"a symbolic link of user {owner} leads there", _ANOTHER_DIRECTORY)
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def _check_directory(directory: os.stat_result) -> None:
    if directory.st_uid == os.geteuid():
        return
    if directory.st_uid != _ROOT:
        raise Unsafe(f"it belongs to user {directory.st_uid}", _ANOTHER_DIRECTORY)
    if directory.st_mode & stat.S_IWOTH:
        raise Unsafe("anybody can write to it", _ANOTHER_DIRECTORY)


def _check_file(file: os.stat_result, directory: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise Unsafe(f"{name} in it is not a regular file", _MOVE_IT)
    if file.st_nlink > 1:
        raise Unsafe(f"{name} in it is a file with other names (hard links)", _MOVE_IT)
    if file.st_uid != os.geteuid() and directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unsafe(f"{name} in it belongs to user {file.st_uid}", _MOVE_IT)
