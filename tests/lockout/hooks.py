"""What the tests put into SECGUARD["ON_MAX_CONSECUTIVE_FAILURES"]."""

from __future__ import annotations

from typing import Any

called: list[tuple[Any, str, int]] = []


def note(user: Any, account: str, count: int) -> None:
    called.append((user, account, count))


def crash(user: Any, account: str, count: int) -> None:
    raise RuntimeError("the hook is broken")
