"""sshd, scp and ssh, with keys made for the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.servers.ends import Session, Side
from tests.live.servers.program import Client, Process, Server, children, eventually, names_itself, path_of
from tests.support.expected_end import ExpectedEnd

FILE_SIZE = 10 << 20
_SFTP_SERVER = "/usr/lib/openssh/sftp-server"

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile {directory}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
Subsystem sftp {directory}/sftp
"""

# It wants /run/sshd, which only the installed service makes, and a root that is not locked: both for it alone.
_START = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount --bind "$0" /etc/shadow && exec "$@"'
_SHADOW = "root:*:19000:0:99999:7:::\n"

# What sshd starts for a session says which child of the listener it was started by, and for which connection. From
# OpenSSH 10 on, there is another process between the two.
_SFTP = """#!/bin/sh
sshd=$PPID
parent() {{ cut -d " " -f 4 /proc/$sshd/stat; }}
while [ "$(parent)" != "$(cat {listener})" ]; do sshd=$(parent); done
echo $sshd "$(cat /proc/$sshd/comm)" "$(readlink /proc/$sshd/exe)" "$SSH_CONNECTION" > {said}
exec {sftp_server}
"""

# scp starts ssh, which has the connection.
_SSH = """#!/bin/sh
echo $$ > {said}
exec {ssh} "$@"
"""


@dataclass(frozen=True)
class Openssh:
    """A running sshd: its listener, port and directory."""

    server: Server
    port: int
    directory: Path


def play(directory: Path, port: int) -> list[ExpectedEnd]:
    """Every scenario, one after the other."""
    directory.mkdir()
    for name in ("host_key", "user_key"):
        subprocess.run(
            [path_of("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True, timeout=20
        )
    configuration = directory / "sshd_config"
    configuration.write_text(_CONFIGURATION.format(directory=directory, port=port))
    (directory / "shadow").write_text(_SHADOW)
    listener = directory / "sshd.pid"
    sftp = _SFTP.format(listener=listener, said=directory / "session", sftp_server=_SFTP_SERVER)
    _script(directory / "sftp", sftp)
    _script(directory / "ssh", _SSH.format(said=directory / "client", ssh=path_of("ssh")))
    command = ["unshare", "--mount", "sh", "-c", _START, directory / "shadow"]
    sshd = [path_of("sshd"), "-D", "-e", "-f", configuration]
    with Server([*command, *sshd], directory / "sshd.log", [port], signal.SIGTERM) as server:
        names_itself(server, listener)
        openssh = Openssh(server, port, directory)
        return [*_copies(openssh), *_nobody(openssh)]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _options(openssh: Openssh) -> list[str]:
    settings = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": openssh.directory / "user_key",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": openssh.directory / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "Port": openssh.port,
    }
    return ["-F", "/dev/null", *(f"-o{name}={value}" for name, value in settings.items())]


def _copies(openssh: Openssh) -> list[ExpectedEnd]:
    directory = openssh.directory
    (directory / "file").write_bytes(os.urandom(FILE_SIZE))
    up = _copy(openssh, "sshd upload", [directory / "file", f"root@127.0.0.1:{directory}/uploaded"], "client")
    down = _copy(openssh, "sshd download", [f"root@127.0.0.1:{directory}/uploaded", directory / "downloaded"], "server")
    assert (directory / "downloaded").read_bytes() == (directory / "file").read_bytes()
    return [*up, *down]


def _copy(openssh: Openssh, scenario: str, files: Sequence[str | Path], sender: Side) -> list[ExpectedEnd]:
    """A file in one session, whose owner is the process that the listener of sshd has started for the connection.

    It has another, without privileges, that talks to the client until it has logged in. It leaves the closing of the
    connection to its end, which is the last of all.
    """
    directory = openssh.directory
    with Client([path_of("scp"), *_options(openssh), "-S", directory / "ssh", *files]) as scp:
        scp.finish()
    ssh = Process(int((directory / "client").read_text()), "ssh", "ssh")
    pid, comm, executable, address, client_port, _, server_port = (directory / "session").read_text().split()
    assert comm.startswith("sshd")
    assert (address, server_port) == ("127.0.0.1", str(openssh.port))
    sshd = Process(int(pid), comm, os.path.basename(executable))
    receiver = "client" if sender == "server" else "server"
    session = Session(
        scenario, ssh, sshd, int(client_port), openssh.port,
        at_least={
            sender: {"tcplife.bytes.sent": FILE_SIZE},
            receiver: {"tcplife.bytes.received": FILE_SIZE},
        },
    )  # fmt: skip
    return session.ends()


def _nobody(openssh: Openssh) -> list[ExpectedEnd]:
    """A client that leaves before it logs in: the process without privileges has the connection, too."""
    with socket.create_connection(("127.0.0.1", openssh.port), timeout=20) as client, client.makefile("rb") as stream:
        greeting = b"SSH-2.0-test\r\n"
        client.sendall(greeting)
        answer = stream.readline() + stream.read(4)
        answer += stream.read(int.from_bytes(answer[-4:], "big"))  # its key exchange begins
        assert answer.startswith(b"SSH-2.0-OpenSSH")
        eventually(lambda: len(children(openssh.server.pid)) == 1, "end of the sessions before")
        [pid] = children(openssh.server.pid)
        [unprivileged] = children(pid)
        sshd = Process.of(pid)
        assert Process.of(unprivileged).uid != sshd.uid == 0
        client_port: int = client.getsockname()[1]
    session = Session(
        "sshd left at once", Process.of(os.getpid()), sshd, client_port, openssh.port,
        by_client=len(greeting), by_server=len(answer), closes_first="client",
    )  # fmt: skip
    return session.ends()
