"""A start with the compiled program of an earlier one: it needs no compiler, and finds out the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_tcplife.options import Scope, read_options
from otel_tcplife.probe.cache import ProgramCache
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.loader import possible_cpus
from otel_tcplife.probe.program import chosen_text
from tests.live import seccomp_main, without_processes_main
from tests.support.actor import run_actor
from tests.support.for_all_users import NOBODY, directory_of, in_reach_of_all
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.pins import PIN, Pinned
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import read_otlp_json_lines

_CACHE = "OTEL_PYTHON_TCPLIFE_CACHE"
_WITHOUT_PROCESSES = [sys.executable, without_processes_main.__file__]
_WITHOUT_BCC = "mount -t tmpfs none \"$(/usr/bin/python3 -Ic 'import bcc; print(bcc.__path__[0])')\""
_WITHOUT_BTF = "mount -t tmpfs none /sys/kernel/btf"
_REFUSED = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])
"""An exit without a result, which no verifier lets pass."""
_TIMES = {"tcplife.session.duration", "tcplife.handshake.duration"}
"""Each program reads the clock by itself."""


def _agent(cache: Path | str, output: Path, *, run: Sequence[str] = (), env: Mapping[str, str] = {}) -> HostAgent:
    variables = {_CACHE: str(cache), "OTEL_LOG_LEVEL": "debug", **env}
    return HostAgent(["--otlp-file", str(output), "--no-table"], variables, run=run)


def _compiled(agent: HostAgent) -> bool:
    """Whether it has run the compiler, which says something."""
    return not any("cache: the BPF program is that of" in line for line in agent.said)


def _hidden(hide: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$0" "$@"']


def _facts(output: Path, session: Session) -> list[dict[str, Any]]:
    ports = session.client_port, session.server_port
    logs = read_otlp_json_lines(output / "logs.jsonl").logs
    ends = [log for log in logs if log.ports in (ports, ports[::-1]) and not log.is_elsewhere]
    said = [log.attributes for log in sorted(ends, key=lambda log: log.ports)]
    return [{name: value for name, value in each.items() if name not in _TIMES} for each in said]


def test_it_starts_no_process_and_finds_out_the_same(tmp_path: Path) -> None:
    """Of a session that was open before, and of one that was not; both trace the host at once."""
    cache, compiled, cached = (tmp_path / name for name in ("cache", "compiled", "cached"))
    with _agent(cache, tmp_path / "first") as first:
        pass
    assert _compiled(first)
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        sessions = [Session(family, client, server) for family in FAMILIES[:2]]
        sessions[0].open()
        with _agent("none", compiled), _agent(cache, cached, run=_WITHOUT_PROCESSES) as agent:
            assert "libbcc" not in Path(f"/proc/{agent.pid}/maps").read_text()
            for session in sessions:
                if session is sessions[1]:
                    session.open()
                session.exchange(1000, 70)
                client.tell("close", "c")
                assert server.tell("receive", "s", 1) == 0
                server.tell("close", "s")
    assert not _compiled(agent)
    for session in sessions:
        facts = _facts(cached, session)
        assert len(facts) == 2
        assert facts == _facts(compiled, session)


@pytest.mark.parametrize("hide", [_WITHOUT_BCC, _WITHOUT_BTF])
def test_it_needs_nothing_that_only_compiling_does(hide: str, tmp_path: Path) -> None:
    with _agent(tmp_path / "cache", tmp_path):
        pass
    with _agent(tmp_path / "cache", tmp_path, run=_hidden(hide)) as agent:
        pass
    assert not _compiled(agent)


def test_check_says_what_is_needed(tmp_path: Path) -> None:
    variables = {**os.environ, _CACHE: str(tmp_path / "cache")}
    said: list[list[str]] = []
    for run in ([], _hidden(f"{_WITHOUT_BCC} && {_WITHOUT_BTF}")):
        done = subprocess.run(
            [*run, COMMAND, "--check"], capture_output=True, text=True, check=False, cwd=tmp_path, env=variables
        )
        assert (done.returncode, done.stderr) == (0, "")
        said.append(done.stdout.splitlines())
    place = tmp_path / "cache"
    needed = f"not needed, as the compiled program is in {place}"
    assert not any(needed in line for line in said[0])
    assert f"ok       cache: the compiled program is in {place} now: the next start compiles nothing" in said[0]
    assert [line.split()[1] for line in said[1] if line.endswith(needed)] == ["BTF:", "bcc:"]
    assert f"ok       cache: the compiled program was in {place}: a start compiles nothing" in said[1]


@pytest.mark.parametrize("changed", [{"RING_BYTES": "65536"}, {"INTERIM": "5"}, {"IP_VERSION": "6"}])
def test_other_options_are_another_program(changed: dict[str, str], tmp_path: Path) -> None:
    env = {f"OTEL_PYTHON_TCPLIFE_{name}": value for name, value in changed.items()}
    with _agent(tmp_path / "cache", tmp_path):
        pass
    with _agent(tmp_path / "cache", tmp_path, env=env) as agent:
        pass
    assert _compiled(agent)


def _cache_of(cache: Path) -> ProgramCache:
    """Where the program is of an agent with no other options than HostAgent gives it."""
    options = read_options({"scope": Scope.HOST, "ring_bytes": 64 << 20}, {})
    return ProgramCache(cache, chosen_text(options, cpus=possible_cpus()))


def _with_hook(program: CompiledProgram, name: str, **changed: Any) -> CompiledProgram:
    """With another code or target of one of its hooks."""
    return replace(program, hooks={**program.hooks, name: program.hooks[name]._replace(**changed)})


def _refused_scan(program: CompiledProgram) -> CompiledProgram:
    return replace(program, scan=program.scan._replace(code=_REFUSED))


def _refused_hook(program: CompiledProgram) -> CompiledProgram:
    return _with_hook(program, "inet_sock_set_state", code=_REFUSED)


def _missing_tracepoint(program: CompiledProgram) -> CompiledProgram:
    hooks = {**program.hooks, "no_such_tracepoint": program.hooks["sched_process_exit"]}
    changed = replace(program, hooks=hooks)
    return _with_hook(changed, "no_such_tracepoint", target=1) if program.has_typed_pointers else changed


def _other_target(program: CompiledProgram) -> CompiledProgram:
    return replace(program, scan=program.scan._replace(target=1))


def _impossible_map(program: CompiledProgram) -> CompiledProgram:
    return replace(program, maps={**program.maps, "flows": program.maps["flows"]._replace(type=9999)})


_STALE = [_refused_scan, _refused_hook, _missing_tracepoint, _other_target, _impossible_map]


def _cache_gone_stale(
    stale: Callable[[CompiledProgram], CompiledProgram], directory: Path
) -> tuple[ProgramCache, CompiledProgram]:
    """The cache of an agent, and what was right in it before it was made stale."""
    with _agent(directory / "cache", directory):
        pass
    cache = _cache_of(directory / "cache")
    right = cache.read()
    assert right
    cache.keep(stale(right))
    return cache, right


@pytest.mark.parametrize("stale", _STALE)
def test_what_the_kernel_does_not_take_is_compiled_anew_and_replaced(stale: Any, tmp_path: Path) -> None:
    cache, right = _cache_gone_stale(stale, tmp_path)
    with _agent(tmp_path / "cache", tmp_path) as agent:
        pass
    assert any("the kernel does not take the program" in line and "from" in line for line in agent.said)
    assert cache.read() == right


def test_where_that_cannot_be_compiled_the_refusal_is_told(tmp_path: Path) -> None:
    _cache_gone_stale(_refused_scan, tmp_path)
    env = {"OTEL_LOG_LEVEL": "info"}
    with (
        pytest.raises(RuntimeError) as refused,
        _agent(tmp_path / "cache", tmp_path, run=_hidden(_WITHOUT_BCC), env=env),
    ):
        pass
    assert str(refused.value) == "otel-tcplife: cannot trace: bpf: loading scan: Permission denied"


@pytest.mark.parametrize("place", ["/proc/cache", "/dev/null/cache", "/sys"])
def test_where_nothing_can_be_kept_it_traces_all_the_same(place: str, tmp_path: Path) -> None:
    with _agent(place, tmp_path) as agent:
        pass
    assert any(f"cache: nothing is kept in {place}: " in line for line in agent.said)


def test_on_a_full_disk_it_traces_all_the_same_and_leaves_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k,mode=0755", "none", str(cache)], check=True)
    try:
        with _agent(cache, tmp_path) as agent:
            pass
        left = [*cache.iterdir()]
    finally:
        subprocess.run(["umount", str(cache)], check=True)
    assert any(line.endswith(f"cache: nothing is kept in {cache}: No space left on device") for line in agent.said)
    assert not left


def test_a_user_with_two_capabilities_has_a_cache_of_its_own() -> None:
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    capabilities = [f"--{kind}=-all,+bpf,+perfmon" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    of_user = [*in_reach_of_all(), "setpriv", *ids, *capabilities]
    with directory_of(NOBODY) as home:
        env = {"HOME": str(home), "CACHE_DIRECTORY": ""}
        for run in ([], _WITHOUT_PROCESSES):
            with _agent("", home / "output", run=[*of_user, *run], env=env) as agent:
                pass
            assert _compiled(agent) == (not run)
        [file] = (home / ".cache/otel-tcplife").iterdir()
        assert file.stat().st_uid == NOBODY
        # Root takes nothing from a user who is not root
        with _agent(file.parent, home / "other") as agent:
            pass
        assert any(
            line.endswith(f"cache: nothing is taken from {file.parent}: it belongs to user {NOBODY}")
            for line in agent.said
        )


def test_a_missing_right_is_told_as_ever(tmp_path: Path) -> None:
    """It is not taken for a program that has to be compiled anew."""
    with _agent(tmp_path / "cache", tmp_path):
        pass
    run, env = [sys.executable, seccomp_main.__file__, *_WITHOUT_PROCESSES], {"OTEL_LOG_LEVEL": "info"}
    with pytest.raises(RuntimeError) as refused, _agent(tmp_path / "cache", tmp_path, run=run, env=env):
        pass
    [line] = str(refused.value).splitlines()
    assert "Operation not permitted; have its seccomp filter let bpf(2) through" in line


def test_a_program_that_stays_is_replaced_without_the_compiler(pinned: Pinned, tmp_path: Path) -> None:
    of_both = {_CACHE: str(tmp_path / "cache"), "OTEL_LOG_LEVEL": "debug"}
    for interim in ("5", "6"):
        with _agent(tmp_path / "cache", tmp_path, env={"OTEL_PYTHON_TCPLIFE_INTERIM": interim}):
            pass
    for interim in ("5", "6"):
        variables = {**of_both, PIN: str(pinned.pins), "OTEL_PYTHON_TCPLIFE_INTERIM": interim}
        with pinned.agent(variables, run=_WITHOUT_PROCESSES) as agent:
            pass
        assert not _compiled(agent)
