"""Counts what happens for Prometheus, into the default registry of prometheus_client.

Whoever shows that registry shows these too: django-prometheus, or a view of the project's own. With
PROMETHEUS_MULTIPROC_DIR all processes count together. Gauges are set after each poll for blocks, so that they need
nobody who asks: at most a SYNC_INTERVAL late in a process that serves requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from secguard import emit, signals
from secguard.conf import get_settings
from secguard.detection import Threat
from secguard.events import AT_WILL, VOCABULARY, Event, EventType
from secguard.failures import report_failure
from secguard.formatters.vocabulary import terms_of
from secguard.pipeline import get_locks, get_replica, get_store
from secguard.records import Synchroniser, after_poll
from secguard.stores.breaker import watchers

#: Types of the project's own that are told apart; the others are "other". A label must not grow without bound.
MAX_OWN_TYPES = 100
#: Seconds. A store nearby answers within one millisecond; STORE_TIMEOUT is fifty.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

EVENTS = Counter("secguard_events", "Security events, those that share a line included", ["type", "outcome"])
THREATS = Counter("secguard_threats", "Threats that opened", ["rule", "severity"])
REFUSED = Counter("secguard_refused_requests", "Requests and login attempts that were refused", ["reason"])
BLOCKS = Gauge("secguard_blocks_active", "Networks blocked", multiprocess_mode="livemostrecent")
LOCKS = Gauge("secguard_locks_active", "Accounts locked", multiprocess_mode="livemostrecent")
STORE_SECONDS = Histogram(
    "secguard_store_seconds", "How long a request waited for a call of the store", ["outcome"], buckets=BUCKETS
)
BREAKER_OPEN = Gauge(
    "secguard_store_breaker_open", "Is the store away, so that it is not asked?", multiprocess_mode="livemax"
)
DATABASE_FAILING = Gauge(
    "secguard_database_failing",
    "Did the database fail when it was last asked for blocks?",
    multiprocess_mode="livemax",
)
REPLICA_AGE = Gauge(
    "secguard_replica_age_seconds",
    "How old what is known of blocks was when this was last looked at; the oldest of all processes",
    multiprocess_mode="livemax",
)
UNSAVED = Gauge("secguard_unsaved_rows", "Decisions that wait for the database", multiprocess_mode="livesum")
DROPPED = Counter("secguard_dropped_rows", "Decisions that could not be saved and are given up")
LOST = Counter("secguard_lost_events", "Events that no log handler took")

METRICS = (
    *(EVENTS, THREATS, REFUSED, BLOCKS, LOCKS, STORE_SECONDS),
    *(BREAKER_OPEN, DATABASE_FAILING, REPLICA_AGE, UNSAVED, DROPPED, LOST),
)

#: Of these and of AT_WILL a line may stand for several, and says so in its count.
_AGGREGATED = AT_WILL | {
    EventType.REQUEST_BLOCKED,
    EventType.ATTEMPT_REFUSED,
    EventType.BLOCK_SUPPRESSED,
    EventType.RATE_LIMIT_EXCEEDED,
    EventType.NETWORK_PROPOSED,
    EventType.CLIENT_ADDRESS_UNKNOWN,
}


def install() -> None:
    """Count from now on. To install twice counts once."""
    _listen()
    if _watch not in watchers:
        watchers.append(_watch)
    if _look not in after_poll:
        after_poll.append(_look)
    # From nought: Prometheus sees no increase in a series that begins with its first threat.
    for rule in get_settings().rules:
        THREATS.labels(rule.name, rule.severity.value)


def _listen() -> None:
    """The one place that says how events reach the counts."""
    signals.event_logged.connect(_count_event, dispatch_uid="secguard.prometheus")
    signals.threat_detected.connect(_count_threat, dispatch_uid="secguard.prometheus")


def _count_event(event: Event, **more: Any) -> None:
    times = times_of(event)
    EVENTS.labels(_type_label(event.type), terms_of(event.type, event.category.value).outcome).inc(times)
    reason = _refusal(event)
    if reason:
        REFUSED.labels(reason).inc(times)


def times_of(event: Event) -> int:
    """How many the event stands for: lines of floods stand for several."""
    count = event.context.get("count")
    if event.type in _AGGREGATED and "reference" in event.context and type(count) is int and count > 0:
        return count
    return 1


def _refusal(event: Event) -> str:
    """Why somebody was refused, "" if nobody was."""
    if event.type == EventType.REQUEST_BLOCKED:
        return "threat" if "rules" in event.context else "block"
    if event.type == EventType.ATTEMPT_REFUSED:
        return "lock" if event.context.get("locked") is True else "limit"
    if event.type == EventType.RATE_LIMIT_EXCEEDED and event.context.get("enforced") is not False:
        return "rate"
    return ""


_own_types: set[str] = set()


def _type_label(event_type: str) -> str:
    if event_type in VOCABULARY or event_type in _own_types:
        return event_type
    if len(_own_types) >= MAX_OWN_TYPES:
        return "other"
    _own_types.add(event_type)
    return event_type


def _count_threat(threat: Threat, **more: Any) -> None:
    THREATS.labels(threat.rule.name, threat.rule.severity.value).inc()


def _harmless(measure: Callable[..., None]) -> Callable[..., None]:
    """What cannot be counted, because a disk is full perhaps, is no reason to refuse anybody anything."""

    def guarded(*args: Any) -> None:
        try:
            measure(*args)
        except Exception:
            report_failure("something could not be counted for Prometheus")

    return guarded


@_harmless
def _watch(seconds: float, answered: bool) -> None:
    STORE_SECONDS.labels("answered" if answered else "failed").observe(seconds)


@_harmless
def _look(synchroniser: Synchroniser) -> None:
    BLOCKS.set(len(get_replica()))
    LOCKS.set(len(get_locks()))
    BREAKER_OPEN.set(get_store().degraded)
    DATABASE_FAILING.set(synchroniser.failing)
    REPLICA_AGE.set(round(synchroniser.age, 3))
    UNSAVED.set(len(synchroniser.unsaved))
    _dropped.follow(synchroniser.lost_rows)
    _lost.follow(emit.lost_events)


class _Follower:
    """Takes over into a counter what somebody else counts. Where that begins anew, so does this."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._seen = 0

    def follow(self, total: int) -> None:
        self._counter.inc(max(total - self._seen, 0))
        self._seen = total


_dropped, _lost = _Follower(DROPPED), _Follower(LOST)
