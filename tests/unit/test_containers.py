"""The container on the path of a cgroup, as each runtime makes such paths."""

from __future__ import annotations

import numpy as np
import pytest

from otel_tcplife.host import THE_HOST, Entity
from otel_tcplife.probe import bpf, containers
from otel_tcplife.probe.containers import Cgroup, Containers, entity_at
from otel_tcplife.session import SessionBatch, empty

_ID = "5f9b7a3c" * 8
_OTHER = "0123abcd" * 8
_POD = "kubepods-burstable-pod8a1f6d8e_6c7e_4f5c_9d0d_d3a2e5b8c111.slice"


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{_ID}",  # Docker, cgroupfs
        f"/system.slice/docker-{_ID}.scope",  # Docker, systemd
        f"/docker/{_ID}/system.slice/nginx.service",  # systemd within a container
        f"/docker/{_OTHER}/docker/{_ID}",  # Docker within Docker
        f"/default/{_ID}",  # containerd
        f"/system.slice/nerdctl-{_ID}.scope",
        f"/kubepods/burstable/pod8a1f6d8e-6c7e-4f5c-9d0d-d3a2e5b8c111/{_ID}",  # Kubernetes, cgroupfs
        f"/kubepods.slice/kubepods-burstable.slice/{_POD}/cri-containerd-{_ID}.scope",
        f"/kubepods.slice/{_POD}/crio-{_ID}.scope",
        f"/kubepods.slice/{_POD}/docker-{_ID}.scope",
        f"/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:{_ID}",
        f"/machine.slice/libpod-{_ID}.scope",  # Podman
        f"/machine.slice/libpod-{_ID}.scope/container",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{_ID}.scope/container",
        f"/libpod_parent/libpod-{_ID}",
        f"/ecs/8a1f6d8e6c7e4f5c9d0dd3a2e5b8c111/{_ID}",
    ],
)
def test_the_innermost_container(path: str) -> None:
    assert entity_at(path).container_id == _ID


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/system.slice/nginx.service",
        "/user.slice/user-0.slice/session-1.scope",
        "/init.scope",
        f"/machine.slice/libpod-conmon-{_ID}.scope",
        f"/system.slice/crio-conmon-{_ID}.scope",
        f"/system.slice/{_ID[:-1]}.scope",
        f"/system.slice/{_ID}0.scope",
        f"/system.slice/{_ID.upper()}.scope",
        f"/kubepods.slice/{_POD}",
    ],
)
def test_outside_of_any(path: str) -> None:
    assert entity_at(path).container_id == ""


_UID = "8a1f6d8e-6c7e-4f5c-9d0d-d3a2e5b8c111"
_STATIC = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/kubepods/burstable/pod{_UID}/{_ID}", Entity(_ID, _UID)),  # cgroupfs
        (f"/kubepods/pod{_UID}/{_ID}", Entity(_ID, _UID)),  # of guaranteed quality of service
        (f"/kubepods.slice/kubepods-burstable.slice/{_POD}/cri-containerd-{_ID}.scope", Entity(_ID, _UID)),  # systemd
        (f"/kubepods.slice/{_POD}/crio-{_ID}.scope/container", Entity(_ID, _UID)),
        (f"/kubepods.slice/{_POD}", Entity("", _UID)),  # the pod's own
        (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-{_POD}/cri-containerd-{_ID}.scope", Entity(_ID, _UID)),
        (f"/system.slice/containerd.service/{_POD}:cri-containerd:{_ID}", Entity(_ID, _UID)),
        (f"/kubepods/besteffort/pod{_STATIC}/{_ID}", Entity(_ID, _STATIC)),  # of a file of the kubelet
        (f"/kubepods.slice/kubepods-pod{_STATIC}.slice/crio-{_ID}.scope", Entity(_ID, _STATIC)),
        (f"/docker/{_OTHER}/kubelet/kubepods/pod{_UID}/{_ID}", Entity(_ID, _UID)),  # a node that is a container
        (f"/docker/{_OTHER}/kubelet.slice/kubelet.service", Entity(_OTHER)),
        (f"/kubepods/pod{_UID}/{_OTHER}/docker/{_ID}", Entity(_ID, _UID)),  # Docker within a pod
        (f"/machine.slice/machine-libpod_pod_{_OTHER}.slice/libpod-{_ID}.scope", Entity(_ID)),  # a pod of Podman
        (f"/kubepods/pod{_UID[:-1]}/{_ID}", Entity(_ID)),
        (f"/kubepods/pod{_UID.upper()}/{_ID}", Entity(_ID)),
        (f"/system.slice/tripod{_UID}x.service", THE_HOST),
    ],
)
def test_the_pod(path: str, found: Entity) -> None:
    assert entity_at(path) == found


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/system.slice/nginx.service", "0::/system.slice/nginx.service"),
        (b"/user.slice/user-0.slice/session-1.scope", "0::/user.slice/user-0.slice/session-1.scope"),
        (f"/system.slice/crio-conmon-{_ID}.scope".encode(), f"0::/system.slice/crio-conmon-{_ID}.scope"),
        ("/caf\u00e9.service".encode(), "0::/caf\u00e9.service"),
        (b"/a\x1b[31m\xff.service", "0::/a\ufffd[31m\ufffd.service"),
        (b"/", None),
        (f"/docker/{_ID}".encode(), None),
        (f"/docker/{_ID}/system.slice/nginx.service".encode(), None),
        (b"/" + b"a" * 253, "0::/" + "a" * 253),
        (b"/" + b"a" * 254, None),  # the kernel may have cut it
    ],
)
def test_a_cgroup_outside_of_any_is_shown_as_proc_has_it(path: bytes, shown: str | None) -> None:
    assert Cgroup.at(path).shown == shown


def test_where_not_all_of_the_path_is_seen_it_is_not_shown() -> None:
    assert Cgroup.at(b"/system.slice/nginx.service", absolute=False) == Cgroup(THE_HOST, None)
    assert Cgroup.at(f"/docker/{_ID}".encode(), absolute=False).entity == Entity(_ID)


_OLD, _SERVICE, _PATH = 7, 8, "/system.slice/nginx.service"


def _no_path(_map_fd: int, _cgroup: int, _size: int) -> None:
    """As the kernel has it."""


@pytest.fixture
def old_container(monkeypatch: pytest.MonkeyPatch) -> Containers:
    """With one container that is older than tracing; the kernel has paths of none that are newer."""
    monkeypatch.setattr(containers, "_hierarchy", lambda: iter([(_OLD, f"/docker/{_ID}"), (_SERVICE, _PATH)]))
    monkeypatch.setattr(bpf, "lookup", _no_path)
    monkeypatch.setattr(containers, "_WALK_SHARE", float("inf"))  # it may look again at once, however slow this host is
    return Containers(-1)


def _batch(first: int, count: int) -> SessionBatch:
    batch = empty(count)
    batch["cgroup"] = np.arange(first, first + count)
    return batch


def test_a_batch_that_waits_keeps_its_container(old_container: Containers) -> None:
    old_container.learn(_batch(_OLD, 1))
    old_container.learn(_batch(1000, 70_000))
    assert old_container.entity_of(_OLD) == Entity(_ID)
    assert old_container.cgroup_of(_OLD) is None
    assert old_container.cgroup_of(_SERVICE) == "0::/system.slice/nginx.service"


@pytest.mark.parametrize("others", [65_535, 65_536, 70_000, 200_000])
def test_a_container_that_is_older_than_tracing_is_found_again(old_container: Containers, others: int) -> None:
    """However many others had sessions meanwhile: the first look went through them all before."""
    for first in range(1000, 1000 + others, 5000):
        old_container.learn(_batch(first, 5000))
    old_container.learn(_batch(_OLD, 1))
    assert old_container.entity_of(_OLD) == Entity(_ID)
    assert old_container.entity_of(1000 + others) == THE_HOST


def test_what_is_remembered_is_bounded(old_container: Containers) -> None:
    for first in range(1000, 400_000, 10_000):
        old_container.learn(_batch(first, 10_000))
    assert old_container.size <= 2 * 65_536
