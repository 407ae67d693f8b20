"""What is known on this kernel is what README says of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_tcplife.capabilities import LOADING, Capability
from otel_tcplife.probe.btf import read_kernel_btf
from otel_tcplife.probe.diagnosis import kernel_version
from tests.kernels.facts import EXECUTABLE_OF_ALL, MAPS_NEED_NO_CAPABILITY, MEMORY_IS_OF_CGROUP, TIMEOUTS
from tests.support.actor import run_actor
from tests.support.for_all_users import NOBODY, directory_of
from tests.support.host_agent import HostAgent
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import read_otlp_json_lines
from tests.support.thread_status import threads_of

_SMALL = 65536
"""The limit of locked memory that Linux had as its default for long."""


def test_locked_memory() -> None:
    run = [
        *("prlimit", f"--memlock={_SMALL}:{_SMALL}"),
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--{kind}=-all,+bpf,+perfmon" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
    ]
    with directory_of(NOBODY) as directory:
        agent = HostAgent(["--otlp-file", str(directory), "--no-table"], cwd=directory, run=run)
        if MEMORY_IS_OF_CGROUP.holds(kernel_version()):
            with agent:
                pass
            assert agent.stop() == 0
        else:
            with pytest.raises(RuntimeError, match="locked memory"):
                agent.__enter__()


def test_capabilities_that_are_kept_with_another_user() -> None:
    with directory_of(NOBODY) as directory:
        agent = HostAgent(["--user", str(NOBODY), "--otlp-file", str(directory), "--no-table"])
        with agent:
            permitted = {thread.permitted for thread in threads_of(agent.pid)}
    assert permitted == {0 if MAPS_NEED_NO_CAPABILITY.holds(kernel_version()) else LOADING & Capability.BPF}


def test_timeouts_are_counted() -> None:
    assert read_kernel_btf().has("tcp_sock", "total_rto") == TIMEOUTS.holds(kernel_version())


@pytest.mark.parametrize("ends_by", ["leave", "kill"])
@pytest.mark.parametrize("began", ["before tracing", "while tracing"])
def test_the_executable_of_a_process_that_exits(began: str, ends_by: str, tmp_path: Path) -> None:
    """Of few processes, so that it is known on every kernel."""
    with ExitStack() as stack:
        agent = HostAgent(["--otlp-file", str(tmp_path), "--no-table"])
        if began == "while tracing":
            stack.enter_context(agent)
        client, server = stack.enter_context(run_actor(CLIENT)), stack.enter_context(run_actor(SERVER))
        session = Session(FAMILIES[0], client, server)
        if began == "before tracing":
            stack.enter_context(agent)
        session.open()
        getattr(server, ends_by)()
        client.tell("close", "c")
        assert agent.stop() == 0
    ports = session.server_port, session.client_port
    [log] = [log for log in read_otlp_json_lines(tmp_path / "logs.jsonl").logs if log.ports == ports]
    assert (log.attributes["process.pid"], log.attributes["process.executable.name"]) == (server.pid, server.executable)


def test_how_the_executables_of_processes_that_exit_are_known() -> None:
    """From what the kernel tells when one exits; before, from a map that has room for so many."""
    told = read_kernel_btf().has("trace_event_raw_sched_process_exit", "group_dead")
    assert told == EXECUTABLE_OF_ALL.holds(kernel_version())
