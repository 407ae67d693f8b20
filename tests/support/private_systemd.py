"""The real service manager, as init of namespaces of its own, with one unit: what the unit's directives do is seen.

It reads nothing of the host's configuration and changes nothing of the host: its root, /proc/sys and all but its own
cgroup are read only.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from tests.support.place import cgroup

_SYSTEMD = Path("/lib/systemd/systemd")
_ROOT = Path(__file__).parents[2]
UID = 987
"""Of the user of the unit."""

# Installed as the unit has it, below /opt, whoever can read where it is from
_BOOT = """
set -e
files=$1 python=$2 checkout=$3 packages=$4
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$files" /mnt
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir /opt/python /opt/checkout /opt/packages /opt/otel-tcplife /opt/otel-tcplife/bin
mount --bind "$python" /opt/python
mount --bind "$checkout" /opt/checkout
mount --bind "$packages" /opt/packages
cp /mnt/command /opt/otel-tcplife/bin/otel-tcplife
for file in passwd group; do mount --bind "/mnt/$file" "/etc/$file"; done
mount --bind /mnt/units /etc/systemd/system
mount -o remount,bind,ro /
for directory in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs $directory; done
mount --bind /mnt/cache /var/cache
for directory in /tmp /var/tmp; do mount -t tmpfs tmpfs $directory; done
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin "$0" --system --log-target=null --show-status=no \
    --unit=otel-tcplife.service
"""

_COMMAND = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/checkout:/opt/packages
exec /opt/python/bin/python3 -m otel_tcplife "$@"
"""

_DROP_IN = """[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Restart=no
StandardError=append:/mnt/said
"""


class PrivateSystemd:
    """A manager of this unit, inside its `with` block, with these lines added to the unit's [Service]."""

    def __init__(self, unit: Path, files: Path, *lines: str) -> None:
        self._unit = unit
        self._files = files
        self._lines = lines
        self._place = cgroup("manager")
        self.cache = files / "cache" / unit.stem
        """What the unit has as its directory below /var/cache."""

    def __enter__(self) -> Self:
        self._write_files()
        directory = self._place.__enter__()
        self._service = directory / "system.slice" / self._unit.name / "cgroup.procs"
        namespaces = ["--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--propagation", "private"]
        python = Path(sys.base_prefix)
        join = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(directory / "cgroup.procs")]
        boot = ["sh", "-c", _BOOT, str(_SYSTEMD), *map(str, (self._files, python, _ROOT, site.getsitepackages()[0]))]
        # It joins the cgroup before that becomes the root of what the manager sees
        self._manager = subprocess.Popen(
            [*join, "setpriv", "--pdeathsig", "KILL", "--", "unshare", *namespaces, "--kill-child", *boot]
        )
        self._directory = directory
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.kill()
        self._manager.wait()
        print(*self.said, sep="\n")
        while "populated 1" in (self._directory / "cgroup.events").read_text():
            time.sleep(0.01)
        for path in sorted((path for path in self._directory.rglob("*") if path.is_dir()), reverse=True):
            path.rmdir()
        self._place.__exit__(kind, error, trace)

    @property
    def said(self) -> list[str]:
        """What the service has said on standard error so far."""
        return (self._files / "said").read_text().splitlines()

    @property
    def pid(self) -> int:
        """The process of the service, as this process sees it."""
        [pid] = self._service.read_text().split()
        return int(pid)

    def wait(self) -> None:
        """Wait until the service has ended, and the manager with it."""
        self._manager.wait()

    def wait_until_said(self, words: str) -> None:
        """Wait until the service has said so. Raise RuntimeError where it ends before."""
        while not any(words in line for line in self.said):
            if self._manager.poll() is not None:
                raise RuntimeError("\n".join(self.said))
            time.sleep(0.02)

    def _write_files(self) -> None:
        units = self._files / "units"
        drop_ins = units / f"{self._unit.name}.d"
        drop_ins.mkdir(parents=True)
        shutil.copy(self._unit, units)
        (units / "network-online.target").symlink_to("/dev/null")
        (drop_ins / "test.conf").write_text("\n".join([_DROP_IN, *self._lines, ""]))
        command = self._files / "command"
        command.write_text(_COMMAND)
        command.chmod(0o755)
        name = self._unit.stem
        for file, line in (("passwd", f"{name}:x:{UID}:{UID}::/:/bin/false"), ("group", f"{name}:x:{UID}:")):
            (self._files / file).write_text(Path("/etc", file).read_text() + line + "\n")
        (self._files / "said").touch()
        (self._files / "cache").mkdir()
