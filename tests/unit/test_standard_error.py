"""What the command shows of what is logged: one line for each warning, and for debugging all that this package logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from otel_tcplife.standard_error import log_to_standard_error

OURS, LIBRARY = "otel_tcplife", "urllib3"


@pytest.fixture(autouse=True)
def loggers_kept() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("otel_tcplife")
    kept = [*root.handlers], ours.level
    yield
    root.handlers, ours.level = kept
    logging.getLogger(LIBRARY).setLevel(logging.NOTSET)


def _shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("level", [{}, {"OTEL_LOG_LEVEL": ""}, {"OTEL_LOG_LEVEL": "info"}])
def test_warnings_alone_are_shown_each_in_one_line(level: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    log_to_standard_error(level)
    logging.getLogger(OURS).debug("not shown")
    logging.getLogger(LIBRARY).warning("of two\n  lines, to http://user:secret@host/")
    [line] = _shown(capsys)
    assert line.startswith("otel-tcplife: urllib3: of two lines, to http://")
    assert "secret" not in line


@pytest.mark.parametrize("level", ["debug", " DEBUG "])
def test_for_debugging_all_that_we_log_is_shown_line_by_line(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_standard_error({"OTEL_LOG_LEVEL": level})
    long = "x" * 1000
    logging.getLogger(OURS).debug("it said:\n    indented\n\tby a tab\n\x1b[2J\n%s", long)
    assert _shown(capsys) == [
        f"otel-tcplife: {line}" for line in ("it said:", "    indented", "        by a tab", "\ufffd[2J", long)
    ]


def test_for_debugging_nothing_more_is_shown_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    """Which may say at that level what should not be seen, such as headers."""
    log_to_standard_error({"OTEL_LOG_LEVEL": "debug"})
    logging.getLogger(LIBRARY).setLevel(logging.DEBUG)
    logging.getLogger(LIBRARY).debug("Authorization: secret")
    logging.getLogger("otel_tcplife_of_others").info("nor this")
    logging.getLogger(LIBRARY).warning("this")
    assert _shown(capsys) == ["otel-tcplife: urllib3: this"]
