"""Rates: so many requests of one client in a sliding window, counted exactly in the store. No security rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from secguard.blocking.refusals import Episode
from secguard.conf import get_settings
from secguard.context import RequestContext, context_for
from secguard.detection.identity import NO_VALUE
from secguard.detection.rule import MAX_WINDOW, RECORD_CAP
from secguard.detection.store import ID_SIZE, REFUSED, RESERVE, Op, Panel, Reply, Watch
from secguard.doors.denials import known_user
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.logging import get_event_logger
from secguard.pipeline import fail_mode, get_store, note_rate_limited

_PERIODS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_STREAM = b"th"
#: What a throttle may be keyed by, besides a function (request) → text or None.
KEYS = ("address", "user")

Key = str | Callable[[HttpRequest], Any]


class Rate(NamedTuple):
    """``limit`` requests in any ``seconds``."""

    limit: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.limit}/{self.seconds}s"


@lru_cache(maxsize=256)
def parse_rate(text: str) -> Rate:
    """ "10/m", "100/hour", "5/30s" → Rate. Raises ImproperlyConfigured, which says what was found."""
    count, slash, period = text.partition("/") if isinstance(text, str) else ("", "", "")
    digits = period.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = period[len(digits) :][:1]
    usable = slash and count.isdecimal() and (not digits or digits.isdecimal()) and unit in _PERIODS
    limit, seconds = (int(count), int(digits or 1) * _PERIODS[unit]) if usable else (0, 0)
    if not (1 <= limit <= RECORD_CAP and 1 <= seconds <= MAX_WINDOW):
        raise ImproperlyConfigured(
            f"the rate {text!r:.40} is none: give a number from 1 to {RECORD_CAP}, a slash and a period of at most "
            f"{MAX_WINDOW // 86_400} days, such as '10/m', '100/hour' or '5/30s'"
        )
    return Rate(limit, seconds)


class Excess(NamedTuple):
    """A request too many. ``retry_after``: seconds until there is room."""

    retry_after: int
    episode: Episode


class Throttle:
    """One rate for one kind of request. ``scope``: the name of what is limited; those of one scope share it.

    ``key``: "address", "user" (the user's key, else the address), or a function (request) → text, or None for
    whom nothing is limited. Raises ImproperlyConfigured for a rate or key that is none.
    """

    def __init__(self, rate: str, *, key: Key = "address", scope: str) -> None:
        self.rate, self.key, self.scope = parse_rate(rate), key, scope
        if not callable(key) and key not in KEYS:
            choices = ", ".join(map(repr, KEYS))
            raise ImproperlyConfigured(
                f"the throttle's key is {key!r:.80}: use {choices} or a function (request) → text"
            )
        watch = Watch(scope[:64], _STREAM, False, self.rate.seconds * 1_000, self.rate.limit, True)
        # No lease: whoever was let in has used his place, whatever became of the request.
        self._panel = Panel([watch], lease_ms=0, cap=RECORD_CAP)

    def op_for(self, context: RequestContext, request: HttpRequest) -> Op | None:
        """What to ask the store, or None where nothing is limited."""
        if get_settings().mode == "off":
            return None
        subject = self._subject(context, request)
        if not subject:
            return None
        digest = get_event_logger().pipeline.detector.digest("throttle", self.scope, str(self.rate), subject)
        return Op(RESERVE, b"sg:t:" + digest.hex().encode(), self._panel, os.urandom(ID_SIZE), _STREAM + NO_VALUE)

    def _subject(self, context: RequestContext, request: HttpRequest) -> str:
        """Whom it counts; empty for nobody: an unknown address, or somebody whom nothing may refuse."""
        if callable(self.key):
            found = self.key(request)
            # Whoever has no value (an empty header, a missing name) shares no limit with all the others.
            return "" if found in (None, "") else f"own {found}"
        user = known_user(context.request) or getattr(request, "user", None) if self.key == "user" else None
        if user is not None and user.is_authenticated:
            return f"user {user.pk}"
        return context.address.subject

    def excess(self, context: RequestContext, reply: Reply) -> Excess | None:
        """What the reply says: None if the request may pass."""
        if reply.status != REFUSED or self._passes_all_the_same():
            return None
        if not get_event_logger().pipeline.observe(context, context.address, None).lockable and get_settings().enforces:
            return None  # allowed, allowlisted, a trusted proxy, or exempt
        retry_after = max(1, ceil(reply.retry_after_ms / 1_000))
        context.denied = context.denied or get_settings().enforces
        episode = note_rate_limited(
            context,
            context.address.subject or "unknown",
            scope=self.scope,
            rate=str(self.rate),
            retry_after=retry_after,
            enforced=get_settings().enforces,
        )
        get_event_logger().count(EventType.RATE_LIMIT_EXCEEDED, request=context.request)
        return Excess(retry_after, episode) if get_settings().enforces else None

    @staticmethod
    def _passes_all_the_same() -> bool:
        """FAIL_MODE "closed" refuses logins while the store is away, not pages."""
        return get_store().degraded and fail_mode() == "closed"

    def hit(self, request: HttpRequest) -> Excess | None:
        """Count a request. → what is to be refused, or None. Never raises for what a request holds."""
        try:
            context = context_for(request)
            op = self.op_for(context, request)
            return None if op is None else self.excess(context, get_store().execute([op])[0])
        except Exception:
            report_failure("the throttle %r failed; the request passes", self.scope)
            return None
