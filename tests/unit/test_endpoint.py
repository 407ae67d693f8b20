"""What is secret in a URL is in nothing that is shown, and in nothing that others say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.export.otlp.endpoint import error_line, hidden, host_and_port, secrets_of, shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://c:4318/v1/logs", "http://c:4318/v1/logs"),
        ("https://[::1]:4318/in", "https://[::1]:4318/in"),
        ("http://user:s3cret@c:4318/in?key=s3cret#s3cret", "http://c:4318/in"),
        ("http://s3cret@c", "http://c"),
        ("http://user:s3@cret@c/in", "http://c/in"),
        ("http://user:s3/cret@c/in", "http://..."),
        ("http://user:1/s3cret@c/in", "http://..."),
        ("http://user:1?s3cret@c/in", "http://..."),
        ("http://user:1#s3cret@c/in", "http://..."),
        ("http://[s3cret", "..."),
    ],
)
def test_shown(url: str, text: str) -> None:
    assert shown(url) == text


def test_host_and_port() -> None:
    assert host_and_port("http://user:s3cret@[::1]:4318/in") == "[::1]:4318"
    assert host_and_port("http://c") == "c"


_SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_~!$&'()*+,;=:/?#@%. ", min_size=4, max_size=12)


@given(user=_SECRET, password=_SECRET, key=_SECRET)
def test_no_part_of_what_is_secret_is_shown(user: str, password: str, key: str) -> None:
    """However it is written: percent-encoded or not."""
    text = shown(f"http://{user}:{password}@127.0.0.1/?key={key}")
    assert text in ("...", "http://...", "http://127.0.0.1/"), text


@pytest.mark.parametrize(
    "said",
    [
        "Max retries exceeded with url: /in?key=s3cr%2Fet (Caused by x)",
        "Failed to parse: http://user:pass%20word@c/in?key=s3cr%2Fet",
        "no such key: s3cr/et",
        "bad login user:pass word",
        "401 for Basic dXNlcjpwYXNzIHdvcmQ=",
        "token abcdefgh has expired",
        "'authorization': 'Bearer abcdefgh'",
        "<a href='https://x:pass%20word@d/?t=abcdefgh'>",
    ],
)
def test_what_others_repeat_is_hidden(said: str) -> None:
    secrets = secrets_of("http://user:pass%20word@c/in?key=s3cr%2Fet", {"authorization": "Bearer abcdefgh"})
    left = hidden(said, secrets)
    for part in ("pass%20word", "pass word", "s3cr", "dXNlcjpwYXNz", "abcdefgh"):
        assert part not in left, left
    assert left != said


def test_what_is_shown_anyway_and_what_is_short_is_kept() -> None:
    secrets = secrets_of("http://collector:4318/in", {"x-tenant": "collector", "x-number": "1"})
    assert hidden("collector:4318 has 1", secrets) == "collector:4318 has 1"


def test_the_error_of_a_library() -> None:
    error = ValueError("no\nproxy \x1b http://user:s3cret@c:1")
    assert error_line(error) == "ValueError: no proxy \ufffd http://c:1"
