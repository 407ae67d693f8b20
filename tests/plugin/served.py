"""The smallest applications of WSGI and of ASGI: they answer which process it is that answers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

_WHILE = 0.02
"""Seconds that an answer takes, so that others answer meanwhile."""


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """The application that gunicorn serves."""
    time.sleep(_WHILE)
    answer = str(os.getpid())
    start_response("200 OK", [("content-length", str(len(answer)))])
    return [answer.encode()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The application that uvicorn serves."""
    await asyncio.sleep(_WHILE)
    answer = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
