"""What another user may have laid out is refused, and nothing that it leads to is touched."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_tcplife.cli import main
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.files import OtlpFiles
from tests.unit.test_cli_errors import RECORDING

_STRANGER = 12345
"""A user id that nobody here has."""

_MOVE = "move it away, or give --otlp-file another directory"
_ANOTHER = "give --otlp-file a directory of yours"


def _files(directory: Path | str) -> OtlpFiles:
    return OtlpFiles(str(directory))


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """Gives a file to another user, or where that takes root, lets us be one; returns whose it is then."""

    def give(path: Path) -> int:
        if os.geteuid() == 0:
            os.chown(path, _STRANGER, -1, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: _STRANGER)
        return os.lstat(path).st_uid

    return give


def _symbolic_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nothing"))


def _hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def _named_pipe(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))  # a name for it is short


def _directory(path: Path, _victim: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("name", ["logs.jsonl", "metrics.jsonl"])
@pytest.mark.parametrize(
    ("lay", "told"),
    [
        (_symbolic_link, "is a symbolic link"),
        (_dangling_link, "is a symbolic link"),
        (_hard_link, "is a file with other names (hard links)"),
        (_named_pipe, "is not a regular file"),
        (_socket, "is not a regular file"),
        (_directory, "is not a regular file"),
    ],
)
def test_a_file_that_leads_elsewhere(
    lay: Callable[[Path, Path], None], told: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("kept")
    directory = tmp_path / "data"
    directory.mkdir()
    lay(directory / name, victim)
    with pytest.raises(BadUsage) as raised:
        _files(directory)
    assert str(raised.value) == f"cannot write to the directory {directory}: {name} in it {told}; {_MOVE}"
    assert victim.read_text() == "kept"
    assert not (tmp_path / "nothing").exists()


def test_a_device(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.mknod(tmp_path / "logs.jsonl", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(BadUsage, match=r"logs\.jsonl in it is not a regular file"):
        _files(tmp_path)


def test_a_directory_of_another_user(give_away: Callable[[Path], int], tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    owner = give_away(directory)
    with pytest.raises(BadUsage) as raised:
        _files(directory)
    assert str(raised.value) == f"cannot write to the directory {directory}: it belongs to user {owner}; {_ANOTHER}"
    assert list(directory.iterdir()) == []


def test_a_symbolic_link_of_another_user_on_the_way(give_away: Callable[[Path], int], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    owner = give_away(link)
    for directory in (link, link / "below"):
        with pytest.raises(BadUsage) as raised:
            _files(directory)
        told = f"a symbolic link of user {owner} leads there"
        assert str(raised.value) == f"cannot write to the directory {directory}: {told}; {_ANOTHER}"
    assert list(target.iterdir()) == []


def test_our_own_symbolic_links_on_the_way_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "relative").symlink_to("target/../target")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    monkeypatch.chdir(tmp_path)
    for directory in ("absolute", "relative", "absolute/below/..", "target"):
        _files(directory)
    _files(tmp_path / "absolute" / "below")
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == ["below", "logs.jsonl", "metrics.jsonl"]
    assert len(list((tmp_path / "target" / "below").iterdir())) == 2


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(BadUsage, match="Too many levels of symbolic links"):
        _files(tmp_path / "circle" / "data")


def test_a_directory_of_ours_where_others_may_have_theirs(tmp_path: Path) -> None:
    """As in /tmp: it is ours as soon as it is made."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    _files(shared / "data")
    assert stat.S_IMODE((shared / "data").stat().st_mode) == 0o750
    _files(shared / "data")


def test_a_file_of_another_user_where_others_can_write(give_away: Callable[[Path], int], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the directory would be that of another user as well")
    (tmp_path / "logs.jsonl").touch()
    owner = give_away(tmp_path / "logs.jsonl")
    _files(tmp_path)  # nobody but us can have let it be here
    tmp_path.chmod(0o1777)
    with pytest.raises(BadUsage, match=rf"logs.jsonl in it belongs to user {owner}; move it away"):
        _files(tmp_path)


@pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept")
def test_it_is_bad_usage_in_one_line_without_otlp_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recording.csv").write_text(RECORDING)
    (tmp_path / "otel-tcplife-data").mkdir()
    os.mkfifo(tmp_path / "otel-tcplife-data" / "logs.jsonl")
    monkeypatch.chdir(tmp_path)
    assert main(["--replay", "recording.csv"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "otel-tcplife: cannot write to the directory ./otel-tcplife-data: logs.jsonl in it is not a regular file; "
        f"{_MOVE}\n"
    )
