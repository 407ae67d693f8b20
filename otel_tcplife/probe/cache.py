"""Compiled programs on disk, so that only the first start on a kernel has to compile.

Whoever writes there chooses what is loaded into the kernel. So nothing is read but what root or this user alone can
have written, see docs/privileges.md. A cache is a help and no more: whatever is wrong with it is logged for debugging,
and the program is compiled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from otel_tcplife.export.otlp.own_files import open_directory
from otel_tcplife.log import logger
from otel_tcplife.options import CACHE
from otel_tcplife.probe.compiled import CompiledProgram, decoded
from otel_tcplife.probe.kernel_build import kernel_build
from otel_tcplife.version import __version__

_FORMAT = 2
"""Of the files. One of another format has another name, and is not read."""
_OF_ROOT = Path("/var/cache/otel-tcplife")
_MOST_BYTES = 4 << 20
_MOST_FILES = 16
_FILE = re.compile(r"otel-tcplife-[0-9a-f]{64}\.(?:program|new\.[0-9a-f]+)")
"""What is ours in the directory, which others may use as well; the second form is of a file that is being written."""


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The option's; or the one that systemd gives (CacheDirectory=); or the system's, or the user's own. None is none.

    A user's own is that of the XDG Base Directory Specification.
    """
    chosen = CACHE.read(environ)
    if chosen is not None:
        return Path(chosen) if chosen else None
    if of_service := environ.get("CACHE_DIRECTORY"):
        return Path(of_service.split(":")[0])
    if os.geteuid() == 0:
        return _OF_ROOT
    caches = environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")
    return next((Path(each) / "otel-tcplife" for each in caches if os.path.isabs(each)), None)


class ProgramCache:
    """What is in one directory for one program."""

    def __init__(self, directory: Path | None, chosen: str, *, typed_pointers: bool = True) -> None:
        """`chosen` is the program as chosen_text() has it, with all options that it was made with.

        `typed_pointers` is whether it may have these; it has none where the kernel does not take them.
        """
        self._directory = directory
        self._name = ""
        try:
            parts = [_FORMAT, __version__, *kernel_build(), typed_pointers, chosen]
        except OSError as error:
            logger.debug("cache: which kernel this is cannot be read: %s", error)
            self._directory = None
            return
        self._name = f"otel-tcplife-{_digest(json.dumps(parts).encode())}.program"

    @property
    def shown(self) -> str:
        """Where it is, for messages."""
        return str(self._directory)

    def read(self) -> CompiledProgram | None:
        """The program; None where there is none that may be used."""
        if not self._directory:
            return None
        try:
            directory = open_directory(self._directory, _make_nothing)
            try:
                _check(directory, "the directory")
                return _program(_content(directory, self._name), self._name)
            finally:
                os.close(directory)
        except FileNotFoundError:
            logger.debug("cache: %s has no program for this kernel and these options", self.shown)
        except (OSError, ValueError, RecursionError) as error:
            logger.debug("cache: nothing is taken from %s: %s", self.shown, _said(error))
        return None

    def keep(self, program: CompiledProgram) -> None:
        """Have the program there at the next start, in the place of whatever is there now, if that can be."""
        if not self._directory:
            return
        try:
            directory = open_directory(self._directory)
            try:
                _check(directory, "the directory")
                _write(directory, self._name, _text(program, self._name))
                _remove_oldest(directory)
            finally:
                os.close(directory)
        except OSError as error:
            logger.debug("cache: nothing is kept in %s: %s", self.shown, _said(error))


def _make_nothing(_directory: int) -> None:
    """Where only to read, no directory is made."""
    raise FileNotFoundError


def _check(descriptor: int, what: str) -> os.stat_result:
    """Raise PermissionError where others than root and this user can write."""
    status = os.fstat(descriptor)
    if status.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{what} belongs to user {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others can write to {what}")
    return status


def _content(directory: int, name: str) -> bytes:
    # O_NONBLOCK: a named pipe would otherwise wait here for its writer
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=directory)
    try:
        status = _check(file, "the file")
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError("it is not a regular file")
        if status.st_size > _MOST_BYTES:
            raise ValueError("the file is too large")
        return os.read(file, status.st_size)
    finally:
        os.close(file)


def _text(program: CompiledProgram, name: str) -> bytes:
    """A line with the digest of the next one, which has the name that the file must have, and the program."""
    content = json.dumps({"name": name, **program.encoded()}).encode()
    return f"{_digest(content)}\n".encode() + content


def _program(text: bytes, name: str) -> CompiledProgram:
    """Raise ValueError where it is not whole, or not the one of this name."""
    digest, _, content = text.partition(b"\n")
    if digest != _digest(content).encode():
        raise ValueError("the file is damaged")
    fields: Any = json.loads(content)
    if not isinstance(fields, dict) or fields.get("name") != name:
        raise ValueError("the file is that of another program")
    return decoded(fields)


def _write(directory: int, name: str, text: bytes) -> None:
    """Under another name first, so that a file is whole or not there, whatever ends this process."""
    new = f"{name.removesuffix('program')}new.{os.urandom(8).hex()}"
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as opened:
            opened.write(text)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=directory)
        raise


def _remove_oldest(directory: int) -> None:
    """Keep as many files as there may be; what was not finished counts as well, and so goes in time."""
    listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    try:
        ages: dict[str, int] = {}
        for name in filter(_FILE.fullmatch, os.listdir(listed)):
            with suppress(FileNotFoundError):  # another process removes them, too
                ages[name] = os.stat(name, dir_fd=listed, follow_symlinks=False).st_mtime_ns
        for name in sorted(ages, key=lambda name: -ages[name])[_MOST_FILES:]:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=listed)
    finally:
        os.close(listed)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
