"""What all processes count together: in the store, or each for itself where there is none that they share.

Only the thread that sends alerts asks. A store that is away means alerts that come twice, never silence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache

from secguard.alert_options import AlertOptions, Trigger
from secguard.conf import get_settings
from secguard.detection.identity import NO_VALUE, keyed_digest
from secguard.detection.store import FAIL, GRANTED, ID_SIZE, READ, RESERVE, RESET, Op, Panel, Reply, Store, Watch
from secguard.failures import report_failure
from secguard.pipeline import get_store
from secguard.stores import MemoryStore
from secguard.stores.breaker import Breaker

#: What is counted of an alert: that it was told, and that it came again.
_TOLD, _AGAIN = b"AT", b"AR"
_NEVER = 2**31


class Turn(NamedTuple):
    """May it be told? ``repeats``: how often it came, and was not told, since the last time."""

    granted: bool
    repeats: int = 0


class Counters:
    """Counts for the triggers, and decides which process tells. Not thread-safe: one thread uses it.

    ``shared``: a function that finds the store of all processes, or None; ``local``: what counts instead.
    """

    def __init__(
        self,
        options: AlertOptions,
        shared: Callable[[], Store | None] | None = None,
        local: Store | None = None,
    ) -> None:
        self._shared = shared or shared_store
        self._local = MemoryStore() if local is None else local
        self._breaker = Breaker()
        self._digest = keyed_digest(get_settings().hmac_key)
        self._quiet = _panel((_TOLD, options.quiet, 1, True), (_AGAIN, 4 * options.quiet, _NEVER, False))
        self._hour = _panel((_TOLD, 3_600, options.per_hour, True))
        self._counted = {
            trigger.name: _panel((_AGAIN, trigger.window, trigger.threshold, False), cap=_cap(trigger))
            for trigger in options.triggers
        }

    def count(self, trigger: Trigger, number: int) -> int:
        """So many more events of a trigger. → how many there were in its window, of more than twice the threshold
        (or a hundred) about so many"""
        panel, key = self._counted[trigger.name], self._key("count", trigger.name)
        ops = [_op(FAIL, key, panel, _AGAIN) for _ in range(min(number, panel.cap))]
        return self._execute(ops)[-1].counts[0]

    def ask(self, key: tuple[str, ...]) -> Turn:
        """Is it this process's to tell this alert now? In a quiet period it is once, for one process."""
        record = self._key("alert", *key)
        before, reply = self._execute([Op(READ, record, self._quiet), _op(RESERVE, record, self._quiet, _TOLD)])
        if reply.status != GRANTED:
            self._execute([_op(FAIL, record, self._quiet, _AGAIN)])
            return Turn(False)
        repeats = before.counts[1]
        if repeats:  # they are told now
            self._execute([Op(RESET, record, self._quiet), _op(RESERVE, record, self._quiet, _TOLD)])
        return Turn(True, repeats)

    def wait(self) -> float:
        """Seconds until another message may be sent in this hour. 0: one may be, and is counted as sent."""
        (reply,) = self._execute([_op(RESERVE, self._key("hour"), self._hour, _TOLD)])
        return 0.0 if reply.status == GRANTED else max(reply.retry_after_ms / 1000, 1.0)

    def _key(self, *parts: str) -> bytes:
        return b"sg:l:" + self._digest("alerts", *parts).hex().encode()

    def _execute(self, ops: Sequence[Op]) -> list[Reply]:
        try:
            store = self._shared()
            if store is not None and self._breaker.may_try():
                replies = store.execute(ops)
                self._breaker.succeeded()
                return replies
        except Exception:
            self._breaker.failed()
            report_failure("the store of alerts is away: each process decides for itself")
        return self._local.execute(ops)


def _cap(trigger: Trigger) -> int:
    """Entries that a record keeps: each question costs the store as much as there are."""
    return max(2 * trigger.threshold, 100)


def _panel(*watches: tuple[bytes, float, int, bool], cap: int = 1_000) -> Panel:
    # A lease of a millisecond: what was told is never given back.
    return Panel(
        [
            Watch(stream.decode(), stream, False, int(window * 1000), threshold, limiting)
            for stream, window, threshold, limiting in watches
        ],
        lease_ms=1,
        cap=cap,
    )


def _op(code: bytes, key: bytes, panel: Panel, stream: bytes) -> Op:
    return Op(code, key, panel, os.urandom(ID_SIZE), stream + NO_VALUE)


def shared_store() -> Store | None:
    """The counters' store, if all processes share it, it answers, and it needs no database."""
    store = get_store()
    if not store.shared or store.degraded:
        return None
    settings = get_settings()
    if not settings.redis_url and isinstance(caches[settings.cache_alias], BaseDatabaseCache):
        return None
    return store.primary
