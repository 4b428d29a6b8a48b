"""The WSGI environs of the requests that are measured."""

from __future__ import annotations

import io
import sys
from typing import Any
from urllib.parse import urlencode

TOKEN = "a" * 32


def get(address: str) -> dict[str, Any]:
    return {**_BASE, "REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": address, "wsgi.input": io.BytesIO()}


def login(address: str, user: str, password: str) -> dict[str, Any]:
    form = {"username": user, "password": password, "csrfmiddlewaretoken": TOKEN}
    body = urlencode(form).encode()
    return {
        **_BASE,
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/login/",
        "REMOTE_ADDR": address,
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }


_BASE: dict[str, Any] = {
    "SERVER_NAME": "testserver",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "testserver",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_COOKIE": "csrftoken=" + TOKEN,
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
