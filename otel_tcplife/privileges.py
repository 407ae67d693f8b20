"""The command as a user without privileges (--user): only what loads the BPF program needs any.

Uids and gids are those of the process, as libc sets them in all threads (nptl(7)). Capabilities and no_new_privs are
those of one thread, so there must be no other one yet. docs/privileges.md says what goes on working, and why.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otel_tcplife.capabilities import Capability, capabilities_of, prctl, set_capabilities
from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.log import logger
from otel_tcplife.probe import bpf

_NO_GROUP = 65534
"""The group of a user who is only a number: what nobody has (DEFAULT_OVERFLOWGID of include/linux/highuid.h)."""

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 8, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_NO_OTHER_USER = "run as root, or leave --user out"


@dataclass(frozen=True)
class User:
    """Somebody to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """The supplementary ones, by which administrators give it access to files such as keys."""
    home: str

    @property
    def is_here(self) -> bool:
        """Whether this process is that user already, as under systemd's User=."""
        return os.getresuid() == (self.uid,) * 3 and os.getresgid() == (self.gid,) * 3


def find_user(text: str) -> User:
    """The user of this name or uid, whom this process may become. Raise BadUsage where it may not."""
    try:
        account = pwd.getpwuid(int(text)) if text.isascii() and text.isdigit() else pwd.getpwnam(text)
    except (KeyError, OverflowError, ValueError):
        user = _number(text)
    else:
        groups = tuple(os.getgrouplist(account.pw_name, account.pw_gid))
        user = User(account.pw_name, account.pw_uid, account.pw_gid, groups, account.pw_dir)
    if user.uid == 0:
        raise BadUsage(f"--user {text}: root's own files stay open to it", "name another user, or leave --user out")
    with acting_as(user):
        _check_that_modules_are_readable(user)
    _check_that_there_is_one_thread()
    return user


@contextmanager
def acting_as(user: User | None) -> Generator[None]:
    """Have files opened as this user would; nothing changes without one. Raise BadUsage where it cannot be become."""
    if user is None or user.is_here:
        yield
        return
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    try:
        os.setgroups(user.groups)
        os.setegid(user.gid)
        os.seteuid(user.uid)
    except OSError as error:
        raise BadUsage(f"--user {user.name}: {error.strerror}", _NO_OTHER_USER) from error
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def become(user: User | None, *, uses_maps: bool) -> None:
    """Become this user for good, in all ids and without capabilities; nothing changes without one.

    Where the kernel wants CAP_BPF of those who use the BPF maps that they have open, and `uses_maps`, that one stays.
    Raise CannotTrace where any thread keeps more.
    """
    if user is None:
        return
    try:
        kept = _drop(user, uses_maps=uses_maps)
    except OSError as error:  # a seccomp filter refuses a system call, as acting_as() shows what else may
        remedy = "leave --user out, or have its seccomp filter let setresuid(2), prctl(2) and capset(2) through"
        raise CannotTrace(f"cannot become the user {user.name}: {error.strerror}", remedy) from error
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)
    for status in Path("/proc/self/task").glob("*/status"):
        if not _has_dropped(status.read_text(errors="replace"), user, kept):
            problem = f"a thread has not become the user {user.name}"
            raise CannotTrace(problem, "leave --user out, or what has begun threads (such as a resource detector)")
    what = "with CAP_BPF alone, which this kernel wants of whoever reads maps" if kept else "without capabilities"
    logger.info("the user is %s from now on, %s", user.name, what)


def _drop(user: User, *, uses_maps: bool) -> int:
    """Become that user; return the capabilities that stay. Raise OSError."""
    _empty_bounding_set()
    if not user.is_here:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        prctl(_PR_SET_KEEPCAPS, 1)
        os.setresuid(user.uid, user.uid, user.uid)
        prctl(_PR_SET_KEEPCAPS, 0)
    prctl(_PR_SET_DUMPABLE, 0)  # others of that user may neither read our secrets nor take our descriptors
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    kept = _keep_what_maps_need() if uses_maps else 0
    set_capabilities(permitted=kept, effective=kept)
    return kept


def _number(text: str) -> User:
    """A uid that no account has, as there are in containers."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**32 - 1):
        raise BadUsage(f"--user: there is no user {text!r}", "name one that is there, or give its number")
    return User(text, int(text), _NO_GROUP, (), "/")


def _check_that_modules_are_readable(user: User) -> None:
    """Python's, those of packages and ours: some are imported only when a way out is opened."""
    for module in (os.__file__, np.__file__, __file__):
        if not os.access(module, os.R_OK, effective_ids=True):
            problem = f"--user {user.name}: that user cannot read {module}"
            raise BadUsage(problem, "install Python and otel-tcplife where all users can read them")


def _check_that_there_is_one_thread() -> None:
    """Others would be those of an agent, or of what it has loaded."""
    try:
        threads = os.listdir("/proc/self/task")
    except OSError as error:
        raise BadUsage("--user: /proc is not mounted", "mount it (mount -t proc proc /proc)") from error
    if len(threads) > 1:
        raise BadUsage("--user: other threads run in this process already", "run the command itself, without an agent")


def _keep_what_maps_need() -> int:
    """Until 5.18 the kernel refuses all of bpf(2) without CAP_BPF, unless kernel.unprivileged_bpf_disabled is 0; later
    ones only what makes something new (__sys_bpf() in kernel/bpf/syscall.c).
    """
    available = capabilities_of().permitted & Capability.BPF
    for kept in (0, available):
        set_capabilities(permitted=available, effective=kept)
        if not bpf.is_refused():
            return kept
    return 0


def _empty_bounding_set() -> None:
    """As far as CAP_SETPCAP allows; without it, no_new_privs keeps capabilities from coming back."""
    with suppress(OSError):
        for capability in range(64):
            prctl(_PR_CAPBSET_DROP, capability)


def _has_dropped(status: str, user: User, kept: int) -> bool:
    """Whether a thread is this user in all ids, and has these capabilities at most (proc_pid_status(5))."""
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    capabilities = (int(fields[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    return (
        {*fields["Uid"]} == {str(user.uid)}
        and {*fields["Gid"]} == {str(user.gid)}
        and fields["NoNewPrivs"] == ["1"]
        and not any(each & ~kept for each in capabilities)
    )
