"""Networks between two actors: loopback or a veth pair, in namespaces of their own where packets are to be dropped."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.actor import Actor
from tests.support.forkserver import ForkServer
from tests.support.proc_net import tcp_counters
from tests.support.sock_diag import Diag, Ends, settle

_HARDWARE = ("02:00:00:00:00:01", "02:00:00:00:00:02")


class Namespace:
    """A network namespace, the tests' own if it is made by nobody; a made one is gone with its last process."""

    def __init__(self, maker: Actor | None = None) -> None:
        self._proc = Path(f"/proc/{maker.pid}" if maker else "/proc/self")
        self.path = self._proc / "ns/net"
        self.inode = self.path.stat().st_ino
        self.own = maker is None
        self._diag, self._lock = Diag(self.path), threading.Lock()

    def run(self, *commands: str) -> str:
        """Run shell commands in it, one after the other; return what they say."""
        enter = ["nsenter", f"--net={self.path}", "--", "sh", "-ec", "\n".join(commands)]
        return subprocess.run(enter, check=True, stdout=subprocess.PIPE, text=True).stdout

    def sysctl(self, **values: int | str) -> None:
        """Set parameters of /proc/sys/net/ipv4."""
        self.run(*(f"echo {value} > /proc/sys/net/ipv4/{name}" for name, value in values.items()))

    def tame(self) -> None:
        """Have no session bear on a later one, and none wait for more than a second before it sends something again.

        The kernel gives up after a number of these waits, and one that is closed where they are as long as can be; so
        they may be many, for a machine that is slow to let packets through again.
        """
        self.sysctl(tcp_no_metrics_save=1, icmp_ratelimit=0)
        self.run("echo 0 > /proc/sys/net/ipv6/icmp/ratelimit")
        if self.run("ls /proc/sys/net/ipv4").split().count("tcp_rto_max_ms"):  # since Linux 6.15
            names = ("tcp_syn_retries", "tcp_synack_retries", "tcp_orphan_retries", "tcp_retries2")
            self.sysctl(tcp_rto_max_ms=1000, **dict.fromkeys(names, 100))

    @contextmanager
    def tuned(self, **values: int | str) -> Generator[None]:
        """Parameters of /proc/sys/net/ipv4 are others in this block."""
        before = self.run(*(f"cat /proc/sys/net/ipv4/{name}" for name in values)).splitlines()
        self.sysctl(**values)
        try:
            yield
        finally:
            self.sysctl(**dict(zip(values, before)))

    def filter(self, *rules: str, hook: str = "input") -> None:
        """Have nftables treat the packets that come in, or those of another hook, by these rules, and no others."""
        table = f"table inet matrix {{ chain {hook} {{ type filter hook {hook} priority 0; }}; }}"
        added = "".join(f"; add rule inet matrix {hook} {rule}" for rule in rules)
        self.run(f"nft '{table}; flush chain inet matrix {hook}{added}'")

    @contextmanager
    def filtering(self, *rules: str, hook: str = "input") -> Generator[None]:
        """Packets are treated by these rules in this block."""
        self.filter(*rules, hook=hook)
        try:
            yield
        finally:
            self.filter(hook=hook)

    def wait_state(self, ends: Ends, state: str) -> None:
        """Wait until that socket is in this state; empty for gone."""
        with self._lock:
            while self._diag.state(ends) != state:
                time.sleep(0.001)
        if not state:
            settle()

    def destroy(self, ends: Ends) -> None:
        """Abort a socket, as `ss -K` does."""
        with self._lock:
            self._diag.destroy(ends)

    def counters(self) -> Counter[str]:
        """What has happened in it so far."""
        return Counter(tcp_counters(self._proc))


@dataclass(frozen=True)
class Family:
    """How the two ends address each other."""

    name: str
    network_type: str
    any: str
    """What the server listens on, where it listens on all addresses."""


IPV4 = Family("IPv4", "ipv4", "0.0.0.0")
IPV6 = Family("IPv6", "ipv6", "::")
MAPPED = Family("mapped", "ipv4", "::")
FAMILIES = (IPV4, IPV6, MAPPED)


@dataclass(frozen=True)
class Network:
    """Where a session takes place."""

    name: str
    client: Namespace
    server: Namespace
    addresses: dict[str, tuple[str, str]]
    """Of the client and of the server, by network type."""

    @property
    def namespaces(self) -> set[Namespace]:
        """One or two."""
        return {self.client, self.server}

    def target(self, family: Family) -> str:
        """What the client connects to."""
        address = self.addresses[family.network_type][1]
        return f"::ffff:{address}" if family is MAPPED else address

    def cut(self, link_of: Namespace | None = None) -> None:
        """Let nothing through any more; as if the cable were pulled at one end, if there is a cable."""
        if link_of and self.client is not self.server:
            link_of.run("ip link set eth0 down")
            return
        for namespace in self.namespaces:
            namespace.filter("meta l4proto tcp drop")

    def heal(self) -> None:
        """Let everything through again."""
        for namespace in self.namespaces:
            namespace.filter()
            if self.client is not self.server:
                namespace.run("ip link set eth0 up")
        self.introduce()

    def introduce(self) -> None:
        """Have the ends of a cable know each other, so that none has to ask for the other's hardware address."""
        if self.client is not self.server:
            self._neighbours(*(f"lladdr {hardware} nud permanent" for hardware in _HARDWARE))

    def estrange(self) -> None:
        """Have all packets wait until the ends of a cable know each other again."""
        self._neighbours("nud incomplete", "nud incomplete")

    def _neighbours(self, *known_as: str) -> None:
        for namespace, end in ((self.client, 1), (self.server, 0)):
            namespace.run(
                *(f"ip neigh replace {ends[end]} {known_as[end]} dev eth0" for ends in self.addresses.values())
            )

    @contextmanager
    def impatient(self) -> Generator[None]:
        """Retransmissions are given up after less than a second."""
        with ExitStack() as stack:
            for namespace in self.namespaces:
                stack.enter_context(namespace.tuned(tcp_retries2=1, tcp_orphan_retries=1))
            yield


def own_loopback(number: int) -> Network:
    """Loopback of the namespace that the tests run in, where nothing can be cut."""
    here = Namespace()
    address = f"127.77.{number}.1"
    return Network("loopback", here, here, {"ipv4": ("127.0.0.1", address), "ipv6": ("::1", "::1")})


def made_loopback(fork_server: ForkServer) -> Network:
    """Loopback of a new namespace."""
    made = Namespace(fork_server.actor("act-namespace", kind="namespace"))
    made.run("ip link set lo up")
    made.tame()
    made.filter()
    return Network("made loopback", made, made, {"ipv4": ("127.0.0.1", "127.0.0.1"), "ipv6": ("::1", "::1")})


def veth(fork_server: ForkServer, number: int) -> Network:
    """Two new namespaces with a cable between them; no two numbers have an address in common."""
    client, server = (Namespace(fork_server.actor("act-namespace", kind="namespace")) for _ in range(2))
    client.run(
        f"ip link add eth0 address {_HARDWARE[0]} type veth"
        f" peer name eth0 address {_HARDWARE[1]} netns {server.path.parts[2]}"
    )
    addresses = {"ipv4": tuple(f"10.77.{number}.{end}" for end in (1, 2)),
                 "ipv6": tuple(f"fd77:{number:x}::{end}" for end in (1, 2))}  # fmt: skip
    for end, namespace in enumerate((client, server)):
        namespace.run(
            "echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down",
            f"ip address add {addresses['ipv4'][end]}/24 dev eth0",
            f"ip address add {addresses['ipv6'][end]}/64 dev eth0 nodad",
            "ip link set lo up",
            "ip link set eth0 up",
        )
        namespace.tame()
        namespace.filter()
    network = Network("veth", client, server, {kind: (ends[0], ends[1]) for kind, ends in addresses.items()})
    network.introduce()
    return network
