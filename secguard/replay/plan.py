"""The detector's rules as a log can tell them: for each kind of subject, what an attempt adds and what is counted.

Nothing is decided here. Streams, windows, thresholds and conditions are those that the detector compiled for the
stores; ``windows`` counts them entry by entry, since a log brings a hundred thousand attempts a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from secguard.detection import Detector, Rule
from secguard.detection.conditions import Condition
from secguard.detection.detector import ACTORS_PARTNER, Feed
from secguard.detection.store import Panel, Watch, streams_of
from secguard.events import EventType

#: What is known of an attempt's people, by place: the address, its network, the account, both, and what nobody knows.
ADDRESS, NETWORK, ACCOUNT, PAIR, NONE = range(5)
Who = tuple[str | None, str | None, str | None, str | None, None]

FAILED, PASSED = EventType.LOGIN_FAILED.value, EventType.LOGIN_SUCCESS.value
AFTER_ATTACK = EventType.SUCCESS_AFTER_ATTACK.value
#: The events that a log of attempts tells, or that follow from it.
EVENTS = (FAILED, PASSED, AFTER_ATTACK)

#: Kinds of subject that can be told from an attempt. An actor whose user nobody knows is the address.
_SUBJECTS = {"address": ADDRESS, "network": NETWORK, "account": ACCOUNT, "pair": PAIR, "actor": ADDRESS}
_PARTS = {"address": ADDRESS, "network": NETWORK, "account": ACCOUNT, ACTORS_PARTNER: ACCOUNT}


class Gauge(NamedTuple):
    """Something that is counted: entries of these tracks, or different values of theirs, within a window (µs)."""

    tracks: tuple[int, ...]
    distinct: bool
    window: int


class Judged(NamedTuple):
    """A rule whose number alone opens a threat. ``gauge``: its place among the plan's."""

    rule: Rule
    gauge: int
    threshold: int
    window: int


class Weighed(NamedTuple):
    """A rule over more than one number. ``values``, ``events``, ``successes``: places of gauges."""

    condition: Condition
    values: int
    events: int
    successes: int | None
    window: int

    @property
    def rule(self) -> Rule:
        return self.condition.rule


class Entry(NamedTuple):
    """What an event of one type adds to a record, and what is looked at then.

    ``pieces``: (track, the place of the value in a ``Who``). ``tracks``: those that are counted. ``least``: with fewer
    entries there no rule can trip.
    """

    pieces: tuple[tuple[int, int], ...]
    judged: tuple[Judged, ...]
    weighed: tuple[Weighed, ...]
    tracks: tuple[int, ...]
    least: int
    forgives: bool
    silent: bool


class Plan:
    """One kind of subject. ``place``: where in a ``Who`` it stands. Times are in microseconds."""

    def __init__(self, detector: Detector, kind: str) -> None:
        self.kind, self.place = kind, _SUBJECTS[kind]
        feeds = {event: _feed(detector, event, kind) for event in EVENTS}
        self._tracks: dict[bytes, int] = {}
        for feed in filter(None, feeds.values()):
            for stream, _ in feed.streams:
                self._tracks.setdefault(stream, len(self._tracks))
        success = detector.success_entry(kind)
        if success is not None:
            self._tracks.setdefault(success[0], len(self._tracks))
        #: Where a success is written, to be compared with failures, and the place of its value.
        self.success = None if success is None else (self._tracks[success[0]], _PARTS.get(success[1], NONE))
        # Limits are those for clients that may be refused.
        panel = next(feed.panels[True] for feed in feeds.values() if feed)
        self.cap, self.horizon = panel.cap, panel.horizon_ms * 1000
        self.gauges: list[Gauge] = []
        self.limits: list[Judged] = []
        self.entries = {
            event: self._entry(feed, panel, detector.rules, detector.conditions(kind))
            for event, feed in feeds.items()
            if feed
        }
        self.limits = [
            Judged(detector.rules[watch.rule], self._gauge(watch), watch.threshold, watch.window_ms * 1000)
            for watch in panel.watches
            if watch.limiting
        ]
        #: One event writes more than one entry: who forgives one of them forgives all.
        self.is_owned = any(len(entry.pieces) > 1 for entry in self.entries.values())
        #: By track, the gauges that it enters.
        self.gauges_of = [
            [at for at, gauge in enumerate(self.gauges) if track in gauge.tracks] for track in range(self.track_count)
        ]

    @property
    def track_count(self) -> int:
        return len(self._tracks)

    def _entry(self, feed: Feed, panel: Panel, rules: dict[str, Rule], conditions: Iterable[Condition]) -> Entry:
        mine = {stream for stream, _ in feed.streams}
        judged = [
            Judged(rules[watch.rule], self._gauge(watch), watch.threshold, watch.window_ms * 1000)
            for watch in panel.watches[: len(panel.names)]
            if not rules[watch.rule].is_conditional and mine & set(streams_of(watch))
        ]
        weighed = [
            self._weighed(each, panel) for each in conditions if mine & set(streams_of(panel.watches[each.events]))
        ]
        gauges = [each.gauge for each in judged] + [each.values for each in weighed]
        thresholds = [each.threshold for each in judged] + [each.rule.threshold for each in weighed]
        return Entry(
            tuple((self._tracks[stream], _PARTS.get(part, NONE)) for stream, part in feed.streams),
            tuple(judged),
            tuple(weighed),
            tuple(sorted({track for gauge in gauges for track in self.gauges[gauge].tracks})),
            min(thresholds, default=1),
            feed.forgives,
            feed.silent,
        )

    def _weighed(self, condition: Condition, panel: Panel) -> Weighed:
        values, events = (self._gauge(panel.watches[at]) for at in (condition.values, condition.events))
        successes = None if condition.successes is None else self._gauge(panel.watches[condition.successes])
        return Weighed(condition, values, events, successes, condition.rule.window_ms * 1000)

    def _gauge(self, watch: Watch) -> int:
        tracks = tuple(self._tracks[stream] for stream in streams_of(watch) if stream in self._tracks)
        gauge = Gauge(tracks, watch.distinct, watch.window_ms * 1000)
        if gauge not in self.gauges:
            self.gauges.append(gauge)
        return self.gauges.index(gauge)


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
