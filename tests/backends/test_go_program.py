"""Programs are built once, and where they cannot be, it is said why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.go_program import go_program

_PACKAGE = "example.org/made-up/app/program"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no programs but those of the system, and what a test makes."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    go_program.cache_clear()
    return tmp_path / "cache" / "otel-tcplife"


def _go(tmp_path: Path, script: str) -> None:
    go = tmp_path / "bin" / "go"
    go.write_text(f"#!/bin/sh\n{script}\n")
    go.chmod(0o755)


def test_a_program_is_built_once(cache: Path, tmp_path: Path) -> None:
    _go(tmp_path, 'echo "$@" >>"$XDG_CACHE_HOME/calls"; touch "$GOBIN/program"')
    for _ in range(2):
        assert go_program(_PACKAGE, "v1.2.3") == cache / "program-v1.2.3"
        go_program.cache_clear()
    [call] = (cache.parent / "calls").read_text().splitlines()
    assert call.endswith(f" {_PACKAGE}@v1.2.3")
    assert [each.name for each in cache.iterdir()] == ["program-v1.2.3"]


def test_a_go_that_is_too_old_is_none(cache: Path, tmp_path: Path) -> None:
    _go(tmp_path, "echo 'requires go >= 1.26.6 (running go 1.24; GOTOOLCHAIN=local)' >&2; exit 1")
    assert go_program(_PACKAGE, "v1.2.3") is None
    assert not list(cache.iterdir())


def test_a_build_that_fails_says_why(cache: Path, tmp_path: Path) -> None:
    _go(tmp_path, "echo 'no such module' >&2; exit 1")
    with pytest.raises(RuntimeError, match="no such module"):
        go_program(_PACKAGE, "v1.2.3")
    assert not list(cache.iterdir())
