"""The first program of a virtual machine: it loads what the disks need, mounts the root, and puts the job there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT, MODULES, JOB, RESULTS = "vda", "vdb", "vdc", "vdd"
"""Its disks, in the order in which QEMU is given them."""

_INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /root
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
    /bin/busybox insmod "$module" || echo "test-kernels: $module is not loaded"
done
while [ ! -b /dev/{RESULTS} ]; do
    /bin/busybox sleep 0.1
done
/bin/busybox mount -t ext4 /dev/{ROOT} /root &&
/bin/busybox mkdir -p /root/usr/lib/modules &&
/bin/busybox mount -t ext4 -o ro /dev/{MODULES} /root/usr/lib/modules &&
/bin/busybox tar -x -f /dev/{JOB} -C /root &&
exec /bin/busybox switch_root /root /bin/sh /project/tests/kernels/inside/init.sh
echo "test-kernels: the root cannot be mounted"
/bin/busybox poweroff -f
"""


def make_initramfs(path: Path, programs: Path, modules: Sequence[Path]) -> None:
    """Make it of a busybox below `programs`, and of modules in the order in which they are to be loaded."""
    [busybox] = [each for each in programs.rglob("busybox") if each.is_file() and each.parent.name == "bin"]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("bin", "modules"):
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin/busybox")
        (root / "init").write_text(_INIT)
        (root / "init").chmod(0o755)
        for number, module in enumerate(modules):
            shutil.copy(module, root / "modules" / f"{number:02}-{module.name}")
        names = "\n".join(str(each.relative_to(root)) for each in sorted(root.rglob("*")))
        pack = ["cpio", "--create", "--quiet", "--format=newc", "--owner=+0:+0"]
        with path.open("wb") as archive:
            subprocess.run(pack, input=names.encode(), stdout=archive, cwd=root, check=True)
