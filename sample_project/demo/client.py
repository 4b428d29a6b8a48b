"""Browsers and attackers: plain HTTP against the sample site, from an address of their choice."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from http.cookies import SimpleCookie
from statistics import median
from urllib.parse import urlencode

TIMEOUT_SECONDS = 30
AGENT = "Mozilla/5.0 (compatible; secguard-demo)"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, with the times (in seconds of a monotonic clock) when it was asked for and complete."""

    status: int
    headers: Message
    started: float
    ended: float

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.started) * 1000

    @property
    def refused(self) -> bool:
        """Refused by secguard: a denial by the site itself names no time to come back."""
        return self.status in (403, 429) and "Retry-After" in self.headers


@dataclass(slots=True)
class Visitor:
    """A client at ``address``, with cookies. The demo's own connection is the trusted proxy before it."""

    port: int
    address: str
    cookies: dict[str, str]

    def get(self, path: str) -> Reply:
        return self._send("GET", path)

    def open_login_page(self) -> Reply:
        """Fetch the form, and with it the CSRF token that an attempt has to bring."""
        return self.get("/login/")

    def log_in(self, username: str, password: str) -> Reply:
        token = self.cookies.get("csrftoken", "")
        form = {"csrfmiddlewaretoken": token, "username": username, "password": password}
        return self._send("POST", "/login/", urlencode(form))

    def _send(self, method: str, path: str, body: str | None = None) -> Reply:
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, self._headers(body))
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        self._remember(response.headers)
        return Reply(response.status, response.headers, started, time.perf_counter())

    def _headers(self, body: str | None) -> dict[str, str]:
        headers = {"X-Forwarded-For": self.address, "User-Agent": AGENT, "Accept": "text/html"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return headers

    def _remember(self, headers: Message) -> None:
        for line in headers.get_all("Set-Cookie", []):
            self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})


def median_ms(replies: Sequence[Reply]) -> float | None:
    """The median latency in milliseconds; None if there is nothing to measure."""
    return median(reply.milliseconds for reply in replies) if replies else None


def at_once(calls: Sequence[Callable[[], Reply]], report: Callable[[Reply], None]) -> list[Reply]:
    """Make all calls at the same moment, one thread each; the replies come in the order of completion.

    Raises the first exception of a call, after all of them have ended.
    """
    start = threading.Barrier(len(calls))
    lock = threading.Lock()
    replies: list[Reply] = []
    failures: list[Exception] = []

    def run(call: Callable[[], Reply]) -> None:
        start.wait(TIMEOUT_SECONDS)
        try:
            reply = call()
        except Exception as error:
            failures.append(error)
            return
        with lock:
            replies.append(reply)
            report(reply)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return replies
