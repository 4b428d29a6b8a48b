"""A candidate's site under gunicorn, and its visitors."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.environs import TOKEN
from benchmarks.peers.results import Login

START_SECONDS = 60
PATIENT = 120.0
HEADERS = {"Cookie": f"csrftoken={TOKEN}", "Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def running_site(log: Path, environment: Mapping[str, str], workers: int, threads: int) -> Iterator[int]:
    """→ its port. All of its visitors come from 127.0.0.1."""
    # Bound here and inherited, so that no other program can take the port in between.
    with closing(socket.socket()) as listener, log.open("wb") as errors:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        port: int = listener.getsockname()[1]
        options = [f"--bind=fd://{listener.fileno()}", f"--workers={workers}", f"--threads={threads}"]
        options += ["--worker-class=gthread", "--graceful-timeout=1", "--log-level=warning", "--no-control-socket"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "django.core.wsgi:get_wsgi_application()"],
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=errors,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(port, process, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)) as connection:
                connection.request("GET", "/")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"The site did not start:\n{log.read_text()[-3000:]}")


def log_in(port: int, username: str, password: str, patience: float = PATIENT) -> Login:
    """Try to; no status if there is no answer within ``patience`` seconds."""
    body = urlencode({"username": username, "password": password, "csrfmiddlewaretoken": TOKEN})
    began = time.monotonic()
    status = None
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=patience)) as connection:
        try:
            connection.request("POST", "/login/", body, HEADERS)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            pass
    return Login(status, time.monotonic() - began)
