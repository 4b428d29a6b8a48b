"""A worker of the test site in a process of its own: answers one JSON line for each JSON command on standard input.

Requests go through all of Django's handler, so that the guard's own middleware decides, polls and saves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django


class Worker:
    """What a test can ask a process for."""

    def __init__(self) -> None:
        from django.test import Client

        self._client = Client(raise_request_exception=False)

    def visit(self, address: str, path: str) -> int:
        """→ the status of the answer."""
        return self._client.get(path, REMOTE_ADDR=address).status_code

    def guess(self, address: str, times: int) -> int:
        """Log in with wrong passwords. → the status of the last answer."""
        status = 0
        for _ in range(times):
            form = {"username": "anna", "password": "wrong"}
            status = self._client.post("/sync/log_in/", form, REMOTE_ADDR=address).status_code
        return status

    def block(self, network: str, by: str, duration: float | None = None) -> str:
        from secguard import records

        return records.block_network(network, duration=duration, by=by).reference

    def unblock(self, network: str, by: str) -> int:
        from secguard import records

        return records.unblock_network(network, by=by)

    def waiting(self) -> int:
        """How many decisions this process has not saved yet."""
        from secguard import records

        return len(records.get_synchroniser().unsaved)

    def clear_cache(self) -> None:
        from django.core.cache import cache

        cache.clear()


def main() -> None:
    # Standard output carries the protocol: whatever else prints goes to standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    django.setup()
    worker = Worker()
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        try:
            answer = {"value": getattr(worker, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
