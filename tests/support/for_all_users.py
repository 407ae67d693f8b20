"""What a test needs to run the command as another user than the one who has installed Python."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
"""A user who has no files, and no rights to those of others."""

LOCKED_MEMORY = ("sh", "-c", 'ulimit -l unlimited 2>/dev/null; exec "$0" "$@"')
"""A command that runs another with as much locked memory as maps take, where they count as that: before Linux 5.11.

Elsewhere it may be refused, and does not matter.
"""

_VFS_CAP_REVISION_2, _EFFECTIVE = 0x02000000, 1

# In mounts of its own, the closed directory has nothing in it but Python, and is open
_OPEN = """
set -e
closed=$1 python=$2 aside=$(mktemp -d)
shift 2
mount --bind "$python" "$aside"
mount -t tmpfs -o mode=755 tmpfs "$closed"
mkdir -p "$python"
mount --move "$aside" "$python"
rmdir "$aside"
exec "$@"
"""


def in_reach_of_all() -> list[str]:
    """A command that runs another, as the process that it is itself, where every user can read this Python."""
    python = Path(sys.base_prefix)
    closed = next((each for each in reversed(python.parents) if not each.stat().st_mode & 1), None)
    if closed is None:
        return []
    private = ["unshare", "--mount", "--propagation", "private"]
    return [*private, "sh", "-c", _OPEN, "sh", str(closed), str(python)]


def as_nobody(*options: str) -> list[str]:
    """A command that runs another as that user, without a capability but those that the file of its program has."""
    # A shell, as setpriv itself still has those of root
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *options]
    return [*in_reach_of_all(), *LOCKED_MEMORY, *become, "sh", "-c", 'exec "$0" "$@"']


@contextmanager
def directory_of(uid: int) -> Generator[Path]:
    """A directory of this user; those of pytest are closed to all but the one who runs it."""
    directory = Path(tempfile.mkdtemp())
    try:
        os.chown(directory, uid, uid)
        yield directory
    finally:
        shutil.rmtree(directory)


def capability_of_file(permitted: int, *, effective: bool = True) -> bytes:
    """The attribute security.capability (struct vfs_cap_data in include/uapi/linux/capability.h), as of setcap +ep."""
    low, high = permitted & 2**32 - 1, permitted >> 32
    return struct.pack("<5I", _VFS_CAP_REVISION_2 | _EFFECTIVE * effective, low, 0, high, 0)


@contextmanager
def copied_python() -> Generator[Path]:
    """A Python like this one, a copy that all users can read, as in an environment of venv --copies."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        python = directory / "bin" / os.path.basename(os.path.realpath(sys.executable))
        python.parent.mkdir()
        shutil.copy(os.path.realpath(sys.executable), python)
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", directory)
        (directory / "lib").symlink_to(Path(sys.prefix) / "lib")
        yield python
    finally:
        shutil.rmtree(directory)


@contextmanager
def python_with_capabilities(permitted: int, *, effective: bool = True) -> Generator[Path]:
    """A Python like this one, whose file has these capabilities."""
    with copied_python() as python:
        os.setxattr(python, "security.capability", capability_of_file(permitted, effective=effective))
        yield python
