"""What a thread may do, as its file in /proc has it, and changing nothing by the calls that change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_tcplife.capabilities import Capability, ThreadCapabilities, ambient, capabilities_of, prctl, set_capabilities

_STATUS = """Name:\tx
CapInh:\t0000000000000000
CapPrm:\t000000c000000000
CapEff:\t0000008000000000
CapBnd:\t000001fffeffffff
CapAmb:\t0000004000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1
"""


def test_a_status_is_read(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(_STATUS)
    loading, bpf, perfmon = 3 << 38, Capability.BPF, Capability.PERFMON
    expected = ThreadCapabilities(0, loading, bpf, 0x1FFFEFFFFFF, perfmon, no_new_privs=True, is_filtered=True)
    assert capabilities_of(tmp_path / "status") == expected


def test_what_a_thread_has_it_may_set() -> None:
    own = capabilities_of()
    set_capabilities(permitted=own.permitted, effective=own.effective, inheritable=own.inheritable)
    with ambient(0):
        assert capabilities_of() == own
    assert capabilities_of() == own


def test_a_refusal_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=os.strerror(22)):
        prctl(-1)
    own = capabilities_of()
    with pytest.raises(PermissionError):  # effective has to be within permitted
        set_capabilities(permitted=0, effective=own.bounding or 1)
