"""Programs whose hooks load members of structs, and others that call a function of the kernel for each: both trace."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import CACHE, DEFAULT_SIZES, Options, Scope
from otel_tcplife.probe import compiler
from otel_tcplife.probe.btf import KERNEL_BTF, Btf, NotInKernel, read_kernel_btf
from otel_tcplife.probe.cache import ProgramCache
from otel_tcplife.probe.live import LiveSource, open_live_source, open_pinned_source
from otel_tcplife.probe.loader import possible_cpus
from otel_tcplife.probe.program import can_have_typed_pointers, chosen_text
from otel_tcplife.session import SESSION, Role, concatenated
from tests.support.old_kernel import OlderBtf
from tests.support.pins import bpffs


class _Kernel(Btf):
    """This one."""

    def __init__(self) -> None:
        super().__init__(KERNEL_BTF.read_bytes())


class _Refuses(_Kernel):
    """Its verifier takes no such program: here, as the tracepoints are none."""

    def tracepoint_id(self, name: str) -> int:
        """Of a tracepoint."""
        return self.function_id("tcp_v4_connect")


class _Lacks(_Kernel):
    """It has not all of the functions that such a program calls."""

    def enumerator(self, enum: str, name: str) -> int:
        """As there."""
        if name == "BPF_FUNC_skc_to_tcp_sock":
            raise NotInKernel(name)
        return super().enumerator(enum, name)


_CGROUP_IN_AN_INTEGER = {("sock_cgroup_data", "val"): ("sock_cgroup_data", "cgroup")}
"""As before Linux 5.15."""

_KERNELS: Mapping[str, Callable[[], Btf]] = {
    "this one": _Kernel,
    "one that refuses it": _Refuses,
    "one without a function": _Lacks,
    "one with the cgroup in an integer": lambda: OlderBtf(renamed=_CGROUP_IN_AN_INTEGER),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is empty."""
    monkeypatch.setenv(str(CACHE.variable), str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("kernel", _KERNELS)
def test_a_kernel_traces_by_the_program_that_it_takes(
    kernel: str, scope: Scope, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(scope, sizes=DEFAULT_SIZES[scope])
    btf = _KERNELS[kernel]()
    monkeypatch.setattr(compiler, "read_kernel_btf", lambda: btf)
    for _ in range(2):  # compiled, and from the cache
        with closing(open_live_source(options, hide_tracer=False)) as source:
            _check_session(source)
        monkeypatch.setattr(compiler, "read_kernel_btf", lambda: pytest.fail("it is compiled again"))
    chosen = chosen_text(options, cpus=possible_cpus(), hide_tracer=False)
    kept = ProgramCache(cache, chosen).read()
    assert kept
    assert kept.has_typed_pointers == (kernel == "this one" and can_have_typed_pointers(read_kernel_btf()))


@pytest.mark.parametrize("before", _KERNELS)
def test_a_program_that_stays_is_replaced_by_one_of_its_kind(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its hooks take no other kind: had a kernel refused the first one, it would refuse others of that kind, too."""
    monkeypatch.setenv(str(CACHE.variable), "none")
    sizes = DEFAULT_SIZES[Scope.HOST]
    with bpffs(tmp_path / "bpf") as pins:
        for kernel, options in ((before, Options(sizes=sizes)), ("this one", Options(sizes=sizes, interim=60.0))):
            btf = _KERNELS[kernel]()
            monkeypatch.setattr(compiler, "read_kernel_btf", lambda btf=btf: btf)
            with closing(open_pinned_source(str(pins / "tcplife"), options)) as source:
                for _ in source.open_sessions():  # the first scan makes this process the tracer
                    pass
                _check_session(source)


def test_where_only_one_of_the_other_kind_is_taken_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_have_typed_pointers(read_kernel_btf()):
        pytest.skip("this kernel has programs of one kind alone")
    monkeypatch.setenv(str(CACHE.variable), "none")
    sizes = DEFAULT_SIZES[Scope.HOST]
    with bpffs(tmp_path / "bpf") as pins:
        open_pinned_source(str(pins / "tcplife"), Options(sizes=sizes)).close()
        monkeypatch.setattr(compiler, "read_kernel_btf", _Refuses)
        with pytest.raises(CannotTrace) as refused:
            open_pinned_source(str(pins / "tcplife"), Options(sizes=sizes, interim=60.0))
        assert refused.value.remedy == "remove that one: otel-tcplife --unpin"
        monkeypatch.undo()
        with closing(open_pinned_source(str(pins / "tcplife"), Options(sizes=sizes))) as source:  # as it was
            for _ in source.open_sessions():
                pass
            _check_session(source)


def _check_session(source: LiveSource) -> None:
    """Make one of each family, and look at what is said of both ends."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((address, 0), family=family) as listener:
            child = os.fork()
            if not child:
                _exit_with_session(listener)
            assert os.waitpid(child, 0)[1] == 0
            ends = _ends(source, listener.getsockname()[1])
        assert [*ends] == [Role.CLIENT, Role.SERVER]
        [of_client, of_server] = ends.values()
        assert (of_client["bytes_sent"], of_client["bytes_received"]) == (1234, 0)
        assert (of_server["bytes_sent"], of_server["bytes_received"]) == (0, 1234)
        assert of_client["pid"] == child
        for name in ("pid", "comm", "executable", "netns", "created_at", "effective_uid", "ip_version", "uid"):
            assert of_client[name] == of_server[name], name
        assert bytes(of_client["local_address"]) == bytes(of_server["peer_address"])
        assert bytes(of_client["local_address"]).endswith(socket.inet_pton(family, address))
        assert of_client["local_port"] == of_server["peer_port"]


def _exit_with_session(listener: socket.socket) -> NoReturn:
    """Make a session of this process, a child, with itself: a tracer's own ones may be hidden."""
    try:
        client = socket.create_connection(listener.getsockname()[:2])
        accepted, _ = listener.accept()
        client.sendall(bytes(1234))
        received = len(accepted.recv(1234, socket.MSG_WAITALL))
        client.close()
        rest = accepted.recv(1)
        accepted.close()
        os._exit(received != 1234 or rest != b"")
    finally:
        os._exit(1)


def _ends(source: LiveSource, port: int) -> dict[Role, Mapping[str, Any]]:
    """Both ends of the session that has this server's port, the client's first."""
    batches, give_up = [source.read()], time.monotonic() + 20
    while True:
        found = concatenated(batches)
        found = found[(found["local_port"] == port) | (found["peer_port"] == port)]
        if len(found) >= 2 or time.monotonic() > give_up:
            rows = [dict(zip(SESSION.names or (), end)) for end in found]
            return {Role(row["role"]): row for row in sorted(rows, key=lambda row: row["role"])}
        time.sleep(0.01)
        batches.append(source.read())
