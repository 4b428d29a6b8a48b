"""The detector's rules as a log can tell them: for each kind of subject, what an attempt adds and what is counted.

Nothing is decided here. Streams, windows, thresholds and conditions are those that the detector compiled for the
stores; ``windows`` counts many entries at once, since a log brings a hundred thousand attempts a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from secguard.detection import Detector, Rule
from secguard.detection.conditions import Condition
from secguard.detection.detector import ACTORS_PARTNER, Feed
from secguard.detection.store import Panel, Watch, streams_of
from secguard.events import EventType
from secguard.replay.attempts import ACCOUNT, ADDRESS, NETWORK, NONE, PAIR, Place

FAILED, PASSED = EventType.LOGIN_FAILED.value, EventType.LOGIN_SUCCESS.value
AFTER_ATTACK = EventType.SUCCESS_AFTER_ATTACK.value
#: The events that a log of attempts tells, or that follow from it.
EVENTS = (FAILED, PASSED, AFTER_ATTACK)

#: Kinds of subject that can be told from an attempt. An actor whose user nobody knows is the address.
_SUBJECTS: dict[str, Place] = {
    "address": ADDRESS,
    "network": NETWORK,
    "account": ACCOUNT,
    "pair": PAIR,
    "actor": ADDRESS,
}
_PARTS: dict[str, Place] = {"address": ADDRESS, "network": NETWORK, "account": ACCOUNT, ACTORS_PARTNER: ACCOUNT}


class Gauge(NamedTuple):
    """What a rule counts: entries of these tracks, or different values of theirs, within a window (µs). Successes that
    failures are compared with are on none: they are many, and seldom looked at."""

    tracks: tuple[int, ...]
    distinct: bool
    window: int


class Judged(NamedTuple):
    """A rule and its gauge. ``condition``: what has to hold besides the number, and ``events`` and ``successes``, the
    gauges it is asked about. ``limits``: attempts are refused at the threshold. ``place``: among the plan's."""

    rule: Rule
    gauge: Gauge
    threshold: int
    limits: bool
    place: int
    condition: Condition | None = None
    events: Gauge | None = None
    successes: Gauge | None = None


class Entry(NamedTuple):
    """What an event of one type adds to a record, and which rules it may trip.

    ``pieces``: (track, the place of the value in an attempt). ``least``: with fewer entries no rule can trip.
    ``longest``: among the plan's, the place of a rule that counts different values in the longest window of all.
    """

    pieces: tuple[tuple[int, Place], ...]
    judged: tuple[Judged, ...]
    least: int
    forgives: bool
    silent: bool
    longest: int | None


class Plan:
    """One kind of subject. ``place``: where in an attempt it stands. Times are in microseconds.

    ``is_simple``: an event adds one entry, and a rule counts one kind of entry, as all do that secguard ships.
    """

    def __init__(self, detector: Detector, kind: str) -> None:
        self.kind, self.place = kind, _SUBJECTS[kind]
        feeds = {event: feed for event in EVENTS if (feed := _feed(detector, event, kind)) is not None}
        self._tracks: dict[bytes, int] = {}
        for feed in feeds.values():
            for stream, _ in feed.streams:
                self._track(stream)
        success = detector.success_entry(kind)
        #: Where failures are compared with successes, the place of a success's value.
        self.success: Place | None = None if success is None else _PARTS.get(success[1], NONE)
        panel = next(iter(feeds.values())).panels[True]  # for clients that may be refused
        self.cap, self.horizon = panel.cap, panel.horizon_ms * 1000
        #: So many rules are judged: each has a window of its own in a record.
        self.judged_count = 0
        self.entries = {
            event: self._entry(feed, panel, detector.rules, detector.conditions(kind)) for event, feed in feeds.items()
        }
        self.is_simple = all(
            len(entry.pieces) == 1 and all(map(_is_simple, entry.judged)) for entry in self.entries.values()
        )
        failed = self.entries.get(FAILED)
        self.limits = [each for each in failed.judged if each.limits] if failed else []
        #: By track, the entry of the event that fills it.
        self.entry_of = {at: entry for entry in self.entries.values() for at, _ in entry.pieces}

    @property
    def track_count(self) -> int:
        return len(self._tracks)

    def _track(self, stream: bytes) -> int:
        return self._tracks.setdefault(stream, len(self._tracks))

    def _entry(self, feed: Feed, panel: Panel, rules: dict[str, Rule], conditions: Iterable[Condition]) -> Entry:
        mine = {stream for stream, _ in feed.streams}
        judged = [
            self._judged(rules[watch.rule], watch, watch.limiting)
            for watch in panel.watches[: len(panel.names)]
            if not rules[watch.rule].is_conditional and mine & set(streams_of(watch))
        ]
        judged += [
            self._weighed(each, panel.watches)
            for each in conditions
            if mine & set(streams_of(panel.watches[each.events]))
        ]
        return Entry(
            tuple((self._tracks[stream], _PARTS.get(part, NONE)) for stream, part in feed.streams),
            tuple(judged),
            min((each.threshold for each in judged), default=1),
            feed.forgives,
            feed.silent,
            next((each.place for each in judged if each.gauge.distinct and each.gauge.window >= self.horizon), None),
        )

    def _judged(self, rule: Rule, watch: Watch, limits: bool) -> Judged:
        self.judged_count += 1
        return Judged(rule, self._gauge(watch), rule.threshold, limits, self.judged_count - 1)

    def _weighed(self, condition: Condition, watches: Sequence[Watch]) -> Judged:
        found = self._judged(condition.rule, watches[condition.values], False)
        successes = None if condition.successes is None else self._gauge(watches[condition.successes])
        return found._replace(condition=condition, events=self._gauge(watches[condition.events]), successes=successes)

    def _gauge(self, watch: Watch) -> Gauge:
        tracks = tuple(self._tracks[stream] for stream in streams_of(watch) if stream in self._tracks)
        return Gauge(tracks, watch.distinct, watch.window_ms * 1000)


def _is_simple(judged: Judged) -> bool:
    return len(judged.gauge.tracks) == 1 and (judged.gauge.distinct or judged.condition is None)


def _feed(detector: Detector, event: str, kind: str) -> Feed | None:
    return next((feed for feed in detector.feeds(event) if feed.kind == kind), None)


def plans_for(detector: Detector) -> list[Plan]:
    """In the order in which the detector touches their records."""
    kinds = dict.fromkeys(feed.kind for event in EVENTS for feed in detector.feeds(event))
    return [Plan(detector, kind) for kind in kinds if kind in _SUBJECTS]


def is_told(rule: Rule) -> bool:
    """Can a log of attempts say what this rule counts?"""
    return (
        rule.subject in _SUBJECTS
        and any(event in EVENTS for event in rule.events)
        and (rule.distinct is None or rule.distinct in _PARTS)
    )
