"""A file of lines, whatever is done to it meanwhile: each line is whole, and in the file of its name at that time."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.line_file import FileLimits, LineFile, file_limits
from otel_tcplife.export.otlp.own_files import Unsafe

BYTES, KEEP = "OTEL_PYTHON_TCPLIFE_FILE_BYTES", "OTEL_PYTHON_TCPLIFE_FILE_KEEP"


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_nobody_else_can_read_what_is_made(tmp_path: Path) -> None:
    LineFile(tmp_path / "made" / "below", "lines", FileLimits()).append(b"one\n")
    assert contents(tmp_path / "made" / "below") == {"lines": "one\n"}
    assert (tmp_path / "made" / "below" / "lines").stat().st_mode & 0o777 == 0o640
    for directory in (tmp_path / "made", tmp_path / "made" / "below"):
        assert directory.stat().st_mode & 0o777 == 0o750


def test_the_mode_of_a_file_that_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "lines").touch()
    (tmp_path / "lines").chmod(0o604)
    LineFile(tmp_path, "lines", FileLimits()).append(b"one\n")
    assert (tmp_path / "lines").stat().st_mode & 0o777 == 0o604


@pytest.mark.usefixtures("logged")
def test_a_file_that_would_become_too_large_is_kept_under_a_number(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=8, kept=3))
    for number in range(10):
        file.append(b"%03d\n" % number)
    assert contents(tmp_path) == {
        "lines": "008\n009\n",
        "lines.1": "006\n007\n",
        "lines.2": "004\n005\n",
        "lines.3": "002\n003\n",
    }


def test_a_line_larger_than_a_file_may_be_has_one_for_itself(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=8, kept=5))
    for line in (b"1\n", b"0123456789\n", b"abcdefghij\n", b"2\n", b"3\n"):
        file.append(line)
    assert contents(tmp_path) == {
        "lines": "2\n3\n",
        "lines.1": "abcdefghij\n",
        "lines.2": "0123456789\n",
        "lines.3": "1\n",
    }


@pytest.mark.usefixtures("logged")
def test_none_is_kept(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=4, kept=0))
    for number in range(3):
        file.append(b"%03d\n" % number)
    assert contents(tmp_path) == {"lines": "002\n"}


@pytest.mark.parametrize(("kept", "rotations"), [(0, 1), (1, 2), (3, 4)])
def test_it_is_said_once_that_lines_are_deleted(kept: int, rotations: int, tmp_path: Path, logged: list[str]) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=4, kept=kept))
    for _ in range(rotations):
        assert logged == []
        file.append(b"000\n")
    for _ in range(3):
        file.append(b"000\n")
        assert logged == [
            f"the oldest lines of {tmp_path / 'lines'} are deleted from now on: OTEL_PYTHON_TCPLIFE_FILE_KEEP={kept}"
        ]


def test_a_file_that_may_not_be_renamed_costs_none_of_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=4, kept=2))
    for number in range(3):
        file.append(b"%03d\n" % number)
    rename_it = os.rename

    def refuse(name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if name == "lines":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        rename_it(name, to, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", refuse)
    for _ in range(3):
        with pytest.raises(OSError, match="Operation not permitted"):
            file.append(b"003\n")
    assert contents(tmp_path) == {"lines": "002\n", "lines.1": "001\n", "lines.2": "000\n"}


def test_a_rotation_that_was_broken_off_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "lines.0").write_text("000\n")
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=4, kept=3))
    for number in range(1, 4):
        file.append(b"%03d\n" % number)
    assert contents(tmp_path) == {"lines": "003\n", "lines.1": "001\n002\n", "lines.2": "000\n"}


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("before\n")
    (tmp_path / "lines.1").write_text("long before\n")
    LineFile(tmp_path, "lines", FileLimits(most_bytes=8, kept=2)).append(b"one\n")
    assert contents(tmp_path) == {"lines": "one\n", "lines.1": "before\n", "lines.2": "long before\n"}


def rename(directory: Path) -> None:
    os.rename(directory / "lines", directory / "lines.renamed")


def delete(directory: Path) -> None:
    os.unlink(directory / "lines")


def replace(directory: Path) -> None:
    (directory / "other").write_text("other\n")
    os.rename(directory / "other", directory / "lines")


def rename_directory(directory: Path) -> None:
    os.rename(directory, directory.with_name("renamed"))


def delete_directory(directory: Path) -> None:
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("do", "after"),
    [
        (rename, {"lines.renamed": "one\ntwo\n", "lines": "three\nfour\n"}),
        (delete, {"lines": "three\nfour\n"}),
        (replace, {"lines": "other\nthree\nfour\n"}),
        (rename_directory, {"lines": "three\nfour\n"}),
        (delete_directory, {"lines": "three\nfour\n"}),
    ],
)
def test_lines_go_where_the_name_says(do: Callable[[Path], None], after: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    file = LineFile(directory, "lines", FileLimits())
    file.append(b"one\n")
    file.append(b"two\n")
    do(directory)
    file.append(b"three\n")
    file.append(b"four\n")
    assert contents(directory) == after
    if do is rename_directory:
        assert contents(tmp_path / "renamed") == {"lines": "one\ntwo\n"}


def test_a_file_that_others_cut_goes_on_from_its_end(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits())
    file.append(b"one\n")
    os.truncate(tmp_path / "lines", 0)  # as logrotate's copytruncate does
    file.append(b"two\n")
    assert contents(tmp_path) == {"lines": "two\n"}


def test_it_is_opened_anew_once_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path, "lines", FileLimits())
    opened: list[str] = []
    open_it = os.open

    def noted(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(str(path))
        return open_it(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", noted)
    file.append(b"one\n")
    assert opened == []
    file.reopen()
    file.append(b"two\n")
    assert opened.count("lines") == 1
    file.append(b"three\n")
    assert opened.count("lines") == 1
    assert contents(tmp_path) == {"lines": "one\ntwo\nthree\n"}


@pytest.mark.usefixtures("logged")
def test_descriptors_do_not_pile_up(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits(most_bytes=4, kept=1))
    file.append(b"000\n")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        file.append(b"000\n")
        file.reopen()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("before", ["", "one\n", "broken off"])
def test_a_line_that_cannot_be_written_leaves_nothing_behind(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines").write_text(before)
    file = LineFile(tmp_path, "lines", FileLimits())
    write = os.write
    room = 3

    def write_some(descriptor: int, line: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room -= (written := write(descriptor, line[:room]))
        return written

    monkeypatch.setattr(os, "write", write_some)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left on device"):
            file.append(b"second\n")
        assert contents(tmp_path) == {"lines": before}
        room = 2
    room = 100
    file.append(b"second\n")
    whole = before if before.endswith("\n") or not before else before + "\n"
    assert contents(tmp_path) == {"lines": whole + "second\n"}


def test_what_cannot_be_taken_back_is_ended_as_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path, "lines", FileLimits())
    write = os.write

    def half(descriptor: int, line: bytes) -> int:
        write(descriptor, line[:3])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(_descriptor: int, _length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="Input/output error"):
            file.append(b"first\n")
    file.append(b"second\n")
    assert contents(tmp_path) == {"lines": "fir\nsecond\n"}


def test_what_must_not_be_written_to_is_not_while_it_stands_there(tmp_path: Path) -> None:
    file = LineFile(tmp_path, "lines", FileLimits())
    file.append(b"one\n")
    rename(tmp_path)
    (tmp_path / "victim").write_text("")
    (tmp_path / "lines").symlink_to("victim")
    for _ in range(2):
        with pytest.raises(Unsafe, match="lines in it is a symbolic link"):
            file.append(b"two\n")
    os.unlink(tmp_path / "lines")
    file.append(b"two\n")
    assert contents(tmp_path) == {"lines.renamed": "one\n", "lines": "two\n", "victim": ""}


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, FileLimits(104857600, 5)),
        ({BYTES: "", KEEP: " "}, FileLimits()),
        ({BYTES: " 1 "}, FileLimits(most_bytes=1)),
        ({BYTES: str(1 << 40), KEEP: "0"}, FileLimits(1 << 40, 0)),
        ({KEEP: "1000"}, FileLimits(kept=1000)),
    ],
)
def test_limits(environ: dict[str, str], limits: FileLimits) -> None:
    assert file_limits(environ) == limits


@pytest.mark.parametrize("bad", ["x", "-1", "1.5", "1e6", "100M", "0x10", "9" * 5000])
@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (BYTES, "a size; give a number from 1 to 1099511627776"),
        (KEEP, "a number of files; give a number from 0 to 1000"),
    ],
)
def test_no_limits(variable: str, told: str, bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        file_limits({variable: bad})
    assert str(raised.value) == f"{variable}: {bad!r} is not {told}"


def test_a_file_of_no_bytes_is_none() -> None:
    with pytest.raises(BadUsage, match=f"^{BYTES}: '0' is not a size; "):
        file_limits({BYTES: "0"})
