"""The smallest applications of some frameworks: each answers, or connects, in the process that does the work.

They run in an environment of their own; of this project they need nothing.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedFunctionDecorator=false, reportUnknownLambdaType=false

from __future__ import annotations

import os
import socket
import sys
from typing import Any


def create_flask() -> Any:
    """For `flask run`, whose server has a thread for each request."""
    from flask import Flask

    application = Flask(__name__)
    application.add_url_rule("/", "pid", lambda: str(os.getpid()))
    return application


def create_fastapi() -> Any:
    """For uvicorn."""
    from fastapi import FastAPI, Response

    application = FastAPI()

    async def pid() -> Any:
        return Response(str(os.getpid()), media_type="text/plain")

    application.add_api_route("/", pid, response_class=Response, response_model=None)
    return application


def run_django(port: str) -> None:
    """Django's own server, in this process."""
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.http import HttpResponse
    from django.urls import path

    urls = (path("", lambda _request: HttpResponse(str(os.getpid()))),)
    settings.configure(DEBUG=True, SECRET_KEY="none", ALLOWED_HOSTS=["*"], ROOT_URLCONF=urls)
    execute_from_command_line(["manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}"])


def create_celery() -> Any:
    """With a task that has a session with a listener, in a worker that has been forked."""
    from celery import Celery

    application = Celery("frameworks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])

    def connect(port: int) -> list[int]:
        with socket.create_connection(("127.0.0.1", port)) as client:
            return [os.getpid(), client.getsockname()[1]]

    application.task(name="connect")(connect)
    return application


if __name__ == "__main__":
    run_django(sys.argv[1])
elif "BROKER" in os.environ:
    celery = create_celery()
