"""Who comes by while something is broken: an attacker, somebody who is blocked already, and honest users."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sample_project.accounts import PASSWORD
from tests.end_to_end.serving import Served, get, gunicorn, post, uvicorn

HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
SERVERS = ("gunicorn", "uvicorn")
LIMIT = 5


@dataclass
class Traffic:
    """Requests to a site, all of whose answers are kept. ``views``: which kind of the test site's views."""

    port: int
    views: str
    statuses: Counter[int] = field(default_factory=Counter)

    def guess(self, address: str, times: int, account: str = "dave") -> list[int]:
        return [self._log_in(address, account, f"guess {number}") for number in range(times)]

    def honest(self, network: str, times: int) -> tuple[list[int], list[float]]:
        """Right logins, each from an address of its own. → statuses, and how many milliseconds they took."""
        answers, took = [], []
        for number in range(times):
            began = time.perf_counter()
            answers.append(self._log_in(f"{network}.{number}", "alice", PASSWORD))
            took.append((time.perf_counter() - began) * 1_000)
        return answers, took

    def page(self, address: str) -> int:
        return self._kept(get(self.port, f"/{self.views}/home/", address))

    def denied(self, address: str) -> int:
        """Ask for what is nobody's."""
        return self._kept(get(self.port, f"/{self.views}/deny/", address))

    def _log_in(self, address: str, username: str, password: str) -> int:
        return self._kept(post(self.port, f"/{self.views}/log_in/", address, username=username, password=password))

    def _kept(self, status: int) -> int:
        self.statuses[status] += 1
        return status


@contextmanager
def one_process(server: str, served: Served, **secguard: object) -> Iterator[Traffic]:
    """The test site in one process, whose own counters are then all there are beside the store's."""
    if server == "gunicorn":
        with gunicorn(served, hasher=HASHER, workers=1, threads=4, **secguard) as port:
            yield Traffic(port, "sync")
    else:
        with uvicorn(served, hasher=HASHER, **secguard) as port:
            yield Traffic(port, "async")
