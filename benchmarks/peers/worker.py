"""One measured process of ``make bench-peers``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import redis

from benchmarks.environs import get, login
from benchmarks.peers.candidates import LIMIT
from benchmarks.peers.prepare import OWNER, PASSWORD
from benchmarks.processes import Handler, serve
from benchmarks.sends import counted_sends

VISITOR, REFUSED = "203.0.113.1", "203.0.113.66"
#: Requests before a chunk, not timed: the caches were somebody else's meanwhile.
WARM = 3
TRANSACTIONS = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT")
#: The question itself, and what a client says once a connection.
NOT_COUNTED = tuple(f"cmdstat_{name}" for name in ("info", "client", "hello", "select"))


class Peer(Handler):
    """The site in this process, and the requests that are made of it."""

    def __init__(self) -> None:
        super().__init__()
        self._strangers = count()
        self._repeaters = self._repeated()

    def measure(self, scenario: str, requests: int) -> dict[str, Any]:
        """Nanoseconds of each request, and which answers there were."""
        times, statuses = [], Counter[str]()
        for environ in self._environs(scenario, WARM):
            self.call(environ)
        for environ in self._environs(scenario, requests):
            times.append(self.call(environ))
            statuses[self.status] += 1
        return {"ns": times, "statuses": statuses}

    def count(self, scenario: str, requests: int) -> dict[str, float]:
        """Statements, trips to the store, and commands that the store ran, of one request on average."""
        from django.db import connection

        statements: list[str] = []
        sends: list[int] = []
        commands = 0

        def wrapper(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            statements.append(sql)
            return execute(sql, *rest)

        with redis.Redis.from_url(os.environ["PEERS_STORE"]) as store:
            for environ in self._environs(scenario, requests):
                before = _commands(store)
                with connection.execute_wrapper(wrapper), counted_sends(sends):
                    self.call(environ)
                commands += _commands(store) - before
        queries = [sql for sql in statements if not sql.startswith(TRANSACTIONS)]
        return {
            "sql": len(queries) / requests,
            "trips": len(sends) / requests,
            "commands": commands / requests,
        }

    def attack(self, attackers: int) -> dict[str, Any]:
        """So many addresses fail once, each at another account."""
        for environ in self._environs("failed", attackers):
            self.call(environ)
        return {}

    def database_bytes(self) -> int:
        from django.db import connection

        with connection.cursor() as cursor:
            pages, size = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def _environs(self, scenario: str, requests: int) -> Iterator[dict[str, Any]]:
        """One by one: what has to go before a request is done, untimed, right before it."""
        if scenario == "refused":
            for _ in range(LIMIT + 1):
                self.call(login(REFUSED, "victim", "wrong"))
        for _ in range(requests):
            yield self._environ(scenario)

    def _environ(self, scenario: str) -> dict[str, Any]:
        if scenario == "clean":
            return get(VISITOR)
        if scenario == "failed":
            return _failed(next(self._strangers))
        if scenario == "repeated":
            return next(self._repeaters)
        if scenario == "right":
            return login(_address(next(self._strangers)), OWNER, PASSWORD)
        return login(REFUSED, "victim", "wrong")

    def _repeated(self) -> Iterator[dict[str, Any]]:
        """The second to fourth failure of a stranger, whose first one is made here."""
        while True:
            number = next(self._strangers)
            self.call(_failed(number))
            for _ in range(LIMIT - 2):
                yield _failed(number)


def _commands(store: redis.Redis) -> int:
    told: dict[str, Any] = store.info("commandstats")
    return sum(of["calls"] for name, of in told.items() if not name.startswith(NOT_COUNTED))


def _failed(stranger: int) -> dict[str, Any]:
    return login(_address(stranger), f"user{stranger}", "wrong")


def _address(number: int) -> str:
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


if __name__ == "__main__":
    serve(Peer)
