"""Processes that collect the sessions of the host."""

from __future__ import annotations

UNABLE_TO_SEE_OTHERS = ["setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all,+bpf,+perfmon"]
"""Runs a command that may trace, but not see whether others collect: it does then, whatever they do."""
