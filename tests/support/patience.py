"""How long tests wait for what comes at once on a machine that has nothing else to do."""

from __future__ import annotations

PATIENCE = 300.0
"""Seconds after which something has hung, however slow the machine is."""
