"""A compiled program comes out of the cache as it went in, or not at all, whatever others or a crash left there."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.probe import cache
from otel_tcplife.probe.cache import ProgramCache, cache_directory
from otel_tcplife.probe.compiled import CompiledProgram, Function
from otel_tcplife.probe.kernel_objects import MapDefinition

_STRANGER = 12345
"""A user id that nobody here has."""

_LOAD_FIRST_MAP = bytes([0x18, 0x11, 0, 0, 0, 0, 0, 0]) + bytes(8)
_EXIT = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])
_PROGRAM = CompiledProgram(
    maps={"ring": MapDefinition(27, 0, 0, 4096, 0), "flows": MapDefinition(1, 8, 184, 65536, 0)},
    hooks={"inet_sock_set_state": Function(_LOAD_FIRST_MAP + _EXIT, 5), "sched_process_exit": Function(_EXIT, 6)},
    scan=Function(_EXIT, 7),
)

Damage = Callable[[Path], None]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One in which the program is."""
    made = tmp_path / "cache"
    ProgramCache(made, "text").keep(_PROGRAM)
    return made


def _read(directory: Path, chosen: str = "text") -> CompiledProgram | None:
    return ProgramCache(directory, chosen).read()


def _file(directory: Path) -> Path:
    [file] = directory.iterdir()
    return file


def test_it_comes_out_as_it_went_in(directory: Path) -> None:
    assert _read(directory) == _PROGRAM
    assert _file(directory).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o022 == 0


def test_another_program_is_not_there(directory: Path) -> None:
    assert _read(directory, "text of other options") is None


@pytest.mark.parametrize("name", ["__version__", "_FORMAT", "kernel_build"])
def test_nor_is_that_of_another_version_or_kernel(name: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = (lambda: ["x86_64", "7.0", "#1", "00"]) if name == "kernel_build" else "another"
    monkeypatch.setattr(cache, name, other)
    assert _read(directory) is None
    ProgramCache(directory, "text").keep(_PROGRAM)
    assert len([*directory.iterdir()]) == 2


def test_a_file_that_was_given_another_name_is_not_read(directory: Path) -> None:
    ProgramCache(directory, "other").keep(_PROGRAM)
    one, other = directory.iterdir()
    shutil.copy(one, other)
    assert [_read(directory, chosen) for chosen in ("text", "other")].count(None) == 1


@given(st.data())
def test_what_is_cut_off_or_changed_anywhere_is_not_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("cache")
    ProgramCache(directory, "text").keep(_PROGRAM)
    whole = _file(directory).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for damaged in (whole[:at], changed, whole + whole[:at] if at else b"", whole[at:] if at else b"\0"):
        _file(directory).write_bytes(damaged)
        assert _read(directory) is None
    ProgramCache(directory, "text").keep(_PROGRAM)
    assert _read(directory) == _PROGRAM


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b"null",
        b'{"name": "%s"}',
        b'{"name": "%s", "maps": {}, "functions": {}, "targets": {"bpf_iter__task_file": 1}}',
        b'{"name": "%s", "maps": {"a": [1]}, "functions": {"bpf_iter__task_file": "lQAAAAAAAAA="}, %t}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "AAAA"}, %t}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "GBEAAAAAAAA="}, %t}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "lQAAAAAAAAA="}, "targets": []}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "lQAAAAAAAAA="}, "targets": {}}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "lQAAAAAAAAA="}, '
        b'"targets": {"bpf_iter__task_file": "x"}}',
        b'{"name": "%s", "maps": {}, "functions": {"bpf_iter__task_file": "lQAAAAAAAAA=", '
        b'"hook__a": "lQAAAAAAAAA=", "hook__b": "lQAAAAAAAAA="}, "targets": {"bpf_iter__task_file": 1, "hook__a": 2}}',
    ],
)
def test_what_is_whole_but_no_program_is_not_read(content: bytes, directory: Path) -> None:
    file = _file(directory)
    content = content.replace(b"%t", b'"targets": {"bpf_iter__task_file": 1}').replace(b"%s", file.name.encode())
    file.write_bytes(cache._digest(content).encode() + b"\n" + content)  # pyright: ignore[reportPrivateUsage]
    assert _read(directory) is None


def _of_another(path: Path) -> None:
    os.chown(path, _STRANGER, -1, follow_symlinks=False)


def _group_writes(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def _all_write(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def _link_to_the_same(path: Path) -> None:
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to(aside)


def _link_of_another(path: Path) -> None:
    _link_to_the_same(path)
    _of_another(path)


def _named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _too_large(path: Path) -> None:
    os.truncate(path, (4 << 20) + 1)


def _directory_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


_OF_FILES: list[Damage] = [
    _of_another, _group_writes, _all_write, _link_to_the_same, _named_pipe, _too_large, _directory_in_its_place,
]  # fmt: skip


@pytest.mark.parametrize("damage", _OF_FILES)
def test_a_file_that_others_may_have_written_is_not_read(damage: Damage, directory: Path) -> None:
    if os.geteuid() and damage is _of_another:
        pytest.skip("only root gives files away")
    damage(_file(directory))
    opened = os.listdir("/proc/self/fd")
    assert _read(directory) is None
    assert os.listdir("/proc/self/fd") == opened
    if damage is not _directory_in_its_place:
        ProgramCache(directory, "text").keep(_PROGRAM)
        assert _read(directory) == _PROGRAM, "another takes its place"


@pytest.mark.parametrize("damage", [_of_another, _group_writes, _all_write, _link_of_another])
def test_a_directory_that_others_may_write_to_is_not_used(damage: Damage, directory: Path) -> None:
    if os.geteuid() and damage in (_of_another, _link_of_another):
        pytest.skip("only root gives directories away")
    before = _file(directory).stat()
    damage(directory)
    assert _read(directory) is None
    ProgramCache(directory, "text").keep(_PROGRAM)
    assert _file(directory).stat() == before


@pytest.mark.parametrize("call", ["open", "write", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_changes_nothing(
    call: str, number: int, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_arguments: object, **_further: object) -> None:
        raise OSError(number, os.strerror(number))

    if call == "write":
        monkeypatch.setattr(cache, "open", refuse, raising=False)
    else:
        monkeypatch.setattr(os, call, refuse)
    with caplog.at_level(logging.DEBUG, "otel_tcplife"):
        ProgramCache(directory, "other").keep(_PROGRAM)
    monkeypatch.undo()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert os.strerror(number) in caplog.text
    assert _file(directory)  # and no other one
    assert _read(directory) == _PROGRAM


def test_what_was_killed_while_it_wrote_is_not_read_and_goes_in_time(directory: Path) -> None:
    begun = directory / _file(directory).name.replace(".program", ".new.00")
    begun.write_bytes(b"beginning")
    os.utime(begun, (1, 1))
    mine = directory / "of-somebody-else"
    mine.touch()
    os.utime(mine, (1, 1))
    for number in range(40):
        ProgramCache(directory, str(number)).keep(_PROGRAM)
    assert not begun.exists()
    assert mine.exists()
    assert len([*directory.iterdir()]) == 16 + 1
    assert [_read(directory, str(number)) for number in range(24, 40)] == [_PROGRAM] * 16


def test_several_at_the_same_time_are_no_trouble(tmp_path: Path) -> None:
    """Nobody reads a half, also while others remove the oldest."""
    read: list[CompiledProgram | None] = []

    def use(number: int) -> None:
        for _ in range(20):
            of_all, own = ProgramCache(tmp_path, "text"), ProgramCache(tmp_path, str(number))
            of_all.keep(_PROGRAM)
            own.keep(_PROGRAM)
            read.extend([of_all.read(), own.read()])

    users = [threading.Thread(target=use, args=[number]) for number in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert read == [_PROGRAM] * 160


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_PYTHON_TCPLIFE_CACHE", "CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    ("environ", "uid", "directory"),
    [
        ({}, 0, "/var/cache/otel-tcplife"),
        ({}, 1000, "/home/somebody/.cache/otel-tcplife"),
        ({"XDG_CACHE_HOME": "/caches"}, 1000, "/caches/otel-tcplife"),
        ({"XDG_CACHE_HOME": "relative"}, 1000, "/home/somebody/.cache/otel-tcplife"),
        ({"XDG_CACHE_HOME": "/caches"}, 0, "/var/cache/otel-tcplife"),
        ({"CACHE_DIRECTORY": "/var/cache/one:/var/cache/two"}, 1000, "/var/cache/one"),
        ({"OTEL_PYTHON_TCPLIFE_CACHE": "/x", "CACHE_DIRECTORY": "/y"}, 0, "/x"),
        ({"OTEL_PYTHON_TCPLIFE_CACHE": "none", "CACHE_DIRECTORY": "/y"}, 0, None),
    ],
)
def test_where_it_is(environ: dict[str, str], uid: int, directory: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert cache_directory(environ) == (Path(directory) if directory else None)


def test_without_a_directory_nothing_is_read_or_kept() -> None:
    nowhere = ProgramCache(None, "text")
    nowhere.keep(_PROGRAM)
    assert nowhere.read() is None
