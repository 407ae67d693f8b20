"""What more than one file of live tests asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.elsewhere import Elsewhere, network_elsewhere
from tests.support.pins import Pinned, bpffs
from tests.support.traffic import Traffic


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    """Sessions of this process with itself."""
    made = Traffic()
    yield made
    made.close()


@pytest.fixture
def pinned(tmp_path: Path) -> Iterator[Pinned]:
    """Agents whose program stays in a bpffs of the test's own."""
    with bpffs(tmp_path / "bpf") as directory:
        yield Pinned(directory / "tcplife", tmp_path / "output")


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Sessions that are not on loopback."""
    with network_elsewhere() as made:
        yield made
