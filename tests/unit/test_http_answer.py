"""The timeout is that of the whole answer, however little comes at a time."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from otel_tcplife.export.otlp.reply import Retryable, Success
from tests.support.otlp_receiver import HttpHandler, HttpReceiver
from tests.support.tls import Tls
from tests.support.transports import IMPATIENCE, Connect

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"], ids=["head", "body"])
@pytest.mark.parametrize("over_tls", [False, True])
def test_an_answer_in_drops_is_cut_at_the_timeout(
    answer: bytes, over_tls: bool, http_receiver: HttpReceiver, tls: Tls, connect: Connect
) -> None:
    """Each drop comes well before the timeout of a single reading would be over."""
    is_cut = threading.Event()

    def act(handler: HttpHandler) -> None:
        handler.wfile.write(answer or b"HTTP/1.1 200 OK\r\nX: ")
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b".")
                time.sleep(IMPATIENCE / 30)
        is_cut.set()

    if over_tls:
        http_receiver.speak_tls(tls)
    http_receiver.act = act
    transport = connect(f"http{'s' * over_tls}://{http_receiver.address}", CERTIFICATE=str(tls.ca))
    reply = transport.send(b"one", IMPATIENCE)
    transport.close()
    # The status alone says that all was taken
    assert reply == (Success() if answer else Retryable(f"no answer from {http_receiver.address} within 0.3 s"))
    is_cut.wait()
