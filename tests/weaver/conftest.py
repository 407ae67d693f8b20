"""What these tests have in common with those of tests/live/."""

from __future__ import annotations

from tests.live.conftest import traffic

__all__ = ["traffic"]
