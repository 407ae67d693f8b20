"""A file of lines that is kept whole, of bounded size, and where its name says, whatever others do to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from otel_tcplife.delivery_options import FILE_BYTES, FILE_KEEP
from otel_tcplife.environment_variables import OTEL_PYTHON_TCPLIFE_FILE_KEEP
from otel_tcplife.export.otlp.own_files import open_directory, open_file
from otel_tcplife.log import logger
from otel_tcplife.option import Scope


@dataclass(frozen=True)
class FileLimits:
    """How much there is of a file at most: `most_bytes`, and `kept` older ones of as many."""

    most_bytes: int = FILE_BYTES.default[Scope.HOST]
    kept: int = FILE_KEEP.default[Scope.HOST]


def file_limits(environ: Mapping[str, str] = os.environ) -> FileLimits:
    """Those of the variables OTEL_PYTHON_TCPLIFE_FILE_*. Raise BadUsage where one cannot be what was meant."""
    return FileLimits(FILE_BYTES.read(environ), FILE_KEEP.read(environ))


class LineFile:
    """Appends lines to a file; one thread does.

    A file that would become too large is renamed to `<name>.1`, that one to `<name>.2` and so on, and the last of those
    that are kept is gone. A file that somebody else has renamed or deleted is left, and made anew.
    """

    def __init__(self, directory: Path, name: str, limits: FileLimits) -> None:
        """Make the file and its directory if need be. Raise OSError where that cannot be, Unsafe where it must not.

        The first time that older lines are deleted, which were written well, that is said.
        """
        self._path = directory / name
        self._limits = limits
        self._directory = self._file = -1
        self._must_reopen = False
        self._has_deleted = False
        self._open()

    def reopen(self) -> None:
        """Open the file anew before the next line, as a signal may ask for. Any thread may call it."""
        self._must_reopen = True

    def append(self, line: bytes) -> None:
        """Write the whole line, which ends with a newline, or nothing of it and raise OSError.

        With errno EFBIG, the line alone is larger than this process may make a file (setrlimit(2)).
        """
        if self._must_reopen or not self._is_where_its_name_says():
            self._must_reopen = False
            self._open()
        size = os.fstat(self._file).st_size
        if size and size + len(line) > self._limits.most_bytes:
            self._rotate()
        try:
            self._write(line)
        except OSError as error:
            if error.errno != errno.EFBIG or not os.fstat(self._file).st_size:
                raise
            self._rotate()
            self._write(line)

    def _write(self, line: bytes) -> None:
        """Write the line; one that was broken off before, as by a power cut, is ended, so that it spoils no other."""
        start = os.fstat(self._file).st_size
        left = line if not start or os.pread(self._file, 1, start - 1) == b"\n" else b"\n" + line
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, start)
            raise

    def _is_where_its_name_says(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._file))
        except OSError:
            return False

    def _open(self) -> None:
        """Open what has our name now. Where that fails, there is no file until it has been tried again."""
        self._close()
        self._directory = open_directory(self._path.parent)
        self._file = open_file(self._directory, self._path.name)

    def _close(self) -> None:
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1

    def _rotate(self) -> None:
        name, kept = self._path.name, self._limits.kept
        # First of all what may be refused, as of a file that chattr(1) has made append-only: the others stay then
        if not os.path.lexists(f"{self._path}.0"):  # which an earlier run did not come to give its number
            self._rename(name, f"{name}.0")
        if not self._has_deleted and (not kept or os.path.lexists(f"{self._path}.{kept}")):
            self._has_deleted = True
            kept_files = f"{OTEL_PYTHON_TCPLIFE_FILE_KEEP}={kept}"
            logger.warning("the oldest lines of %s are deleted from now on: %s", self._path, kept_files)
        for number in range(kept - 1, -1, -1):
            with suppress(FileNotFoundError):
                self._rename(f"{name}.{number}", f"{name}.{number + 1}")
        if not kept:
            os.unlink(f"{name}.0", dir_fd=self._directory)
        self._open()

    def _rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self._directory, dst_dir_fd=self._directory)
