"""A program under the agent, and all that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from typing_extensions import Self

from tests.support.bpf_objects import BpfObject
from tests.support.helpers import helpers_of
from tests.support.otlp_receiver import FileReceiver
from tests.support.patience import PATIENCE
from tests.support.process_states import what_processes_wait_for
from tests.support.received import ReceivedLog, ReceivedPoint, read_otlp_json_lines

_BINARIES = Path(sys.executable).parent
_PROJECT = Path(__file__).parents[2]

Told = dict[str, Any]


class SessionEnd(NamedTuple):
    """One end of a session."""

    pid: int
    role: str | None
    local_port: int
    peer_port: int
    sent: int
    received: int


class Receiver(FileReceiver):
    """Where all processes of a test export to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = self.server_port

    def logs(self) -> list[ReceivedLog]:
        """What came so far of sessions, less those of the exporters."""
        logs = read_otlp_json_lines(self.directory / "logs.jsonl", growing=True).logs
        return [log for log in logs if log.ports[1] != self.port]

    def ends(self) -> list[SessionEnd]:
        """The ends of sessions that were reported so far."""
        return [_end(log) for log in self.logs() if log.event_name == "tcplife.session.closed"]

    def points(self) -> list[ReceivedPoint]:
        """The data points that came so far."""
        return read_otlp_json_lines(self.directory / "metrics.jsonl", growing=True).points

    def wait_for(self, ends: Collection[SessionEnd]) -> None:
        """Wait until all of them were reported."""
        wait_until(lambda: not set(ends) - set(self.ends()), lambda: f"not reported: {set(ends) - set(self.ends())}")


def _end(log: ReceivedLog) -> SessionEnd:
    role, attributes = log.attributes.get("tcplife.role"), log.attributes
    ports = int(attributes["network.local.port"]), int(attributes["network.peer.port"])
    sizes = int(attributes["tcplife.bytes.sent"]), int(attributes["tcplife.bytes.received"])
    return SessionEnd(int(attributes["process.pid"]), None if role is None else str(role), *ports, *sizes)


def differences(
    made: Iterable[SessionEnd], reported: Iterable[SessionEnd]
) -> tuple[list[SessionEnd], list[SessionEnd]]:
    """The ends that were not reported, and what was reported too often or of none that was made."""
    made, reported = Counter(made), Counter(reported)
    return sorted((made - reported).elements()), sorted((reported - made).elements())


def wait_until(reached: Callable[[], object], otherwise: Callable[[], str]) -> None:
    """Wait for it, and fail with what to say if that never comes."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.02)


class Traced:
    """A Python program that runs under the agent inside its `with` block; it tells what it does in lines of JSON.

    It and all that it starts end when their standard input does.
    """

    def __init__(
        self,
        *program: str,
        receiver: Receiver,
        environ: Mapping[str, str] = {},
        within: Sequence[str] = (),
        export: str = "providers",
        python: Path = Path(sys.executable),
    ) -> None:
        """`within` is a command that runs it in some place, as the process that it is itself.

        The agent is that of the environment of `python`, or ours where that has none.
        """
        installed = python.with_name("opentelemetry-instrument")
        launch = [str(installed)] if installed.exists() else [sys.executable, str(_BINARIES / installed.name)]
        agent = [*launch, str(python)]
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *within, *agent, *program]
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_PYTHON_TCPLIFE_EXPORT": export,
            "PYTHONFAULTHANDLER": "1",
            **environ,
        }
        self.told: list[Told] = []
        self.said: list[str] = []
        """Lines on standard error."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=self._environ,
            cwd=_PROJECT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stderr
        self._readers = [
            _reading(self._process.stdout, self._take),
            _reading(self._process.stderr, self.said.append),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error != (None, None, None):
                self._show_why()
            self._close_input()
            if error == (None, None, None):
                self._wait_for_all()
        finally:
            if not self._has_ended:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _show_why(self) -> None:
        """Show what it told, and where each of its processes is: in the kernel, and in Python, which ends it."""
        print(*what_processes_wait_for(self.pid), sep="\n")
        for helper in helpers_of(self.pid):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                print(*what_processes_wait_for(os.getsid(helper)), sep="\n")
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGABRT)
        for reader in self._readers:
            reader.join(5)
        print(self._all())

    def _take(self, line: str) -> None:
        """What it tells; other programs print something else."""
        if line.startswith("{"):
            self.told.append(json.loads(line))

    def go(self) -> None:
        """Let a process of it go on that waits for that."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait_for(self, what: str, count: int = 1) -> list[Any]:
        """What it tells by this name, once that has come so often."""
        wait_until(lambda: len(self.all_told(what)) >= count or self._has_ended, self._all)
        assert len(self.all_told(what)) >= count, self._all()
        return self.all_told(what)

    def all_told(self, what: str) -> list[Any]:
        """What it told by this name so far."""
        return [told[what] for told in self.told if what in told]

    def ends(self) -> list[SessionEnd]:
        """The ends of the sessions that its processes told of."""
        return [SessionEnd(told["pid"], *told["end"]) for told in self.told if "end" in told]

    def bpf(self) -> set[BpfObject]:
        """What its processes told that they hold."""
        return {BpfObject(*each) for held in self.all_told("bpf") for each in held}

    def wait(self) -> int:
        """Wait until the program has ended, and return its exit code; what it started may go on."""
        return self._process.wait(PATIENCE)

    def end(self, number: int = 0) -> int:
        """Have all end, the program by this signal if not of itself, and return its exit code."""
        if number:
            self._process.send_signal(number)
        else:
            self._close_input()
        code = self.wait()
        self._close_input()
        self._wait_for_all()
        return code

    def _close_input(self) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _wait_for_all(self) -> None:
        for reader in self._readers:  # to the end of what the last of them had open
            reader.join(PATIENCE)
        assert self._has_ended, self._all()

    @property
    def _has_ended(self) -> bool:
        return not any(reader.is_alive() for reader in self._readers)

    def _all(self) -> str:
        return "\n".join([*self.said, *map(str, self.told)])


def _reading(stream: IO[str], take: Callable[[str], None]) -> threading.Thread:
    def read() -> None:
        for line in stream:
            take(line.rstrip("\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread
