"""The directory in which a program stays: what is refused, what is mended, and how it is emptied."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_tcplife.probe import bpf, kernel_objects
from tests.support.bpf_objects import held_by, wait_until_gone
from tests.support.host_agent import COMMAND
from tests.support.pins import PIN, Pinned, bpffs
from tests.support.traffic import Traffic

_STRANGER = 12345
_ANOTHER = "give a directory of yours in a bpffs, such as /sys/fs/bpf/otel-tcplife"


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[Pinned]:
    with bpffs(tmp_path / "bpf") as directory:
        yield Pinned(directory / "tcplife", tmp_path / "output")


def _run(pins: Path | None, *arguments: str) -> tuple[int, str, str]:
    """Run the command until it ends by itself; its exit code, and what it printed and logged."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ |= {PIN: str(pins)} if pins else {}
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, env=environ)
    return done.returncode, done.stdout.rstrip("\n"), done.stderr.rstrip("\n").removeprefix("otel-tcplife: ")


def _no_bpffs(pins: Path) -> tuple[Path, str]:
    path = pins.parents[1] / "elsewhere" / "tcplife"
    return path, f"it is not in a bpffs; mount one (mount -t bpf bpf /sys/fs/bpf), and {_ANOTHER}"


def _a_strangers(pins: Path) -> tuple[Path, str]:
    pins.mkdir()
    os.chown(pins, _STRANGER, -1)
    return pins, f"it belongs to user {_STRANGER}; {_ANOTHER}"


def _a_strangers_link(pins: Path) -> tuple[Path, str]:
    pins.symlink_to(pins.parent / "target")
    os.chown(pins, _STRANGER, -1, follow_symlinks=False)
    return pins, f"a symbolic link of user {_STRANGER} leads there; {_ANOTHER}"


def _a_strangers_set(pins: Path) -> tuple[Path, str]:
    (pins / "otel_tcplife_7").mkdir(parents=True)
    os.chown(pins / "otel_tcplife_7", _STRANGER, -1)
    return pins, f"otel_tcplife_7 in it belongs to user {_STRANGER}; {_ANOTHER}"


def _a_link_for_a_set(pins: Path) -> tuple[Path, str]:
    pins.mkdir()
    (pins / "otel_tcplife_new").symlink_to("/tmp")
    return pins, "otel_tcplife_new in it is no directory; move it away, or give another directory"


def _dots(pins: Path) -> tuple[Path, str]:
    return pins.with_name("tcp.life"), f"a name in a bpffs has no dots; {_ANOTHER}"


@pytest.mark.parametrize(
    "lay_out", [_no_bpffs, _a_strangers, _a_strangers_link, _a_strangers_set, _a_link_for_a_set, _dots]
)
def test_a_directory_that_cannot_be_used_is_refused(
    lay_out: Callable[[Path], tuple[Path, str]], pinned: Pinned
) -> None:
    path, reason = lay_out(pinned.pins)
    before = sorted(pinned.pins.parents[1].rglob("*"))
    assert _run(path) == (2, "", f"{PIN}: {path}: {reason}")
    code, lines, _ = _run(path, "--check")
    assert (code, f"missing  pins: {PIN}: {path}: {reason}" in lines.splitlines()) == (1, True)
    assert sorted(pinned.pins.parents[1].rglob("*")) == before


def test_check_says_how_it_is_used(pinned: Pinned) -> None:
    def said() -> str:
        code, lines, _ = _run(pinned.pins, "--check")
        assert code == 0
        [line] = [line for line in lines.splitlines() if " pins: " in line]
        return line

    assert said() == f"ok       pins: {pinned.pins} will be made"
    assert not pinned.pins.exists()
    with pinned.agent():
        assert said() == f"ok       pins: an otel-tcplife that runs now uses {pinned.pins}"
    assert said() == f"ok       pins: a BPF program stays in {pinned.pins}"


def test_unpin_leaves_nothing_in_the_kernel_and_what_is_others(pinned: Pinned) -> None:
    nothing = f"nothing of otel-tcplife is pinned in {pinned.pins}"
    assert _run(None, "--unpin") == (
        2,
        "",
        f"--unpin: {PIN} is not set; set it to the directory in which the program stays",
    )
    assert _run(pinned.pins, "--unpin") == (0, nothing, "")
    assert not pinned.pins.exists()
    with pinned.agent() as agent:
        foreign = kernel_objects.make_array("foreign", 1)
        directory = os.open(pinned.pins, os.O_RDONLY)
        bpf.pin(foreign, directory, "foreign")
        for descriptor in (foreign, directory):
            os.close(descriptor)
        held = held_by(agent.pid)
        running = f"{PIN}: another otel-tcplife runs with {pinned.pins}; stop that first"
        assert _run(pinned.pins, "--unpin") == (2, "", running)
    traffic = Traffic()
    made = traffic.sessions(3)
    traffic.close()
    code, printed, logged = _run(pinned.pins, "--unpin")
    done, _, unread = printed.partition("; ")
    assert (code, done, logged) == (0, f"removed the BPF program that stayed in {pinned.pins}", "")
    count, _, rest = unread.partition(" ")
    assert (int(count) >= made, rest) == (True, "records in its ring were not read")
    wait_until_gone(held)
    assert [path.name for path in pinned.pins.iterdir()] == ["foreign"]
    assert _run(pinned.pins, "--unpin") == (0, nothing, "")


def test_without_the_variable_nothing_stays(pinned: Pinned) -> None:
    with pinned.agent({PIN: ""}) as agent:
        held = held_by(agent.pid)
    wait_until_gone(held)
    assert not pinned.pins.exists()


def _without_a_link(pins: Path) -> None:
    (pins / "otel_tcplife_1" / "link_inet_sock_set_state").unlink()


def _without_a_stamp(pins: Path) -> None:
    (pins / "otel_tcplife_1" / "map_stamp").unlink()


def _with_another_stamp(pins: Path) -> None:
    directory = os.open(pins / "otel_tcplife_1", os.O_RDONLY)
    stamp = bpf.pinned(directory, "map_stamp")
    bpf.put_only(stamp, b'{"format": 0}'.ljust(bpf.map_info(stamp).value_size, b"\0"))
    os.close(stamp)
    os.close(directory)


def _not_renamed(pins: Path) -> None:
    (pins / "otel_tcplife_1").rename(pins / "otel_tcplife_new")


@pytest.mark.parametrize("damage", [_without_a_link, _without_a_stamp, _with_another_stamp, _not_renamed])
def test_a_set_that_is_not_whole_is_made_anew(damage: Callable[[Path], None], pinned: Pinned) -> None:
    traffic = Traffic()
    with pinned.agent() as first:
        held = held_by(first.pid)
        first.stop()
    damage(pinned.pins)
    with pinned.agent() as second:
        wait_until_gone(held)
        made = traffic.sessions(5)
        second.stop()
    traffic.close()
    assert len(traffic.of(pinned.logs())) == made
    removed = f"otel-tcplife: what was pinned in {pinned.pins} was not whole, and has been removed"
    assert second.said.count(removed) == 1
    assert len(list(pinned.pins.iterdir())) == 1
