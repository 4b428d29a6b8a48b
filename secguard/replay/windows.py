"""One subject's entries, and what stands in the windows of its rules.

It answers what ``stores.memory`` answers to the same operations (a property test holds it to that), but looks at a
record's new entries together: a window is where it begins in the list, and how often each value stands in it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from secguard.detection import Rule
from secguard.detection.catalogue import SUCCESS_AFTER_ATTACK
from secguard.replay.attempts import Attempt, Moment
from secguard.replay.plan import Entry, Gauge, Judged, Plan

#: A list is cleared of what has left all windows when it is this long, and then when it has doubled.
_FIRST_TRIM = 16
#: Before every log.
BEGINNING: Moment = -(1 << 62)
_AFTER_ATTACK = SUCCESS_AFTER_ATTACK.name
#: Of records that need none: nothing is ever put in.
NO_OWNERS: list[int] = []


@dataclass(slots=True)
class Threat:
    """A rule that tripped. ``closes_at``: one window after the last event at or above the threshold."""

    rule: Rule
    subject: str
    opened_at: Moment
    closes_at: Moment
    peak: int


class Tripped(NamedTuple):
    """What one event did: ``level`` is the count then. ``opened``: else the threat was open, and stays so."""

    threat: Threat
    level: int
    opened: bool


#: When somebody got in, and the value by which he is told from others.
Passed: TypeAlias = "list[tuple[Moment, str | None]]"


class Track:
    """Entries of one kind, oldest first. ``seen``: so many of them were judged. Further ones were not, or are so few
    that they could trip nothing: to judge them again would change nothing.

    ``owners``: whose event each was, where one event writes several.
    """

    __slots__ = ("owners", "seen", "times", "trim_at", "values")

    def __init__(self) -> None:
        self.times: list[Moment] = []
        self.values: list[str | None] = []
        self.owners: list[int] = []
        self.seen = 0
        self.trim_at = _FIRST_TRIM


class Window:
    """Where a rule's window begins, and how often each value stands in it, where different ones count.

    It may begin too early, until somebody needs to know.
    """

    __slots__ = ("start", "values")

    def __init__(self, values: dict[str, int] | None) -> None:
        self.start = 0
        self.values = values


class Record(Track):
    """One subject. It is itself the track that nearly all entries go to, that of failures where there are any.

    ``windows`` are made when there are entries enough to trip a rule. ``passed``: by subject, the successes that
    failures are compared with.
    """

    __slots__ = ("confirmed", "further", "is_waiting", "passed", "plan", "serial", "subject", "threats", "windows")

    def __init__(self, plan: Plan, subject: str, passed: dict[str, Passed]) -> None:
        self.times, self.values, self.owners = [], [], NO_OWNERS if plan.is_simple else []
        self.seen = self.serial = 0
        #: To be judged with others, at the end of a batch.
        self.is_waiting = False
        self.trim_at = _FIRST_TRIM
        self.plan, self.subject, self.passed = plan, subject, passed
        self.further: list[Track] | None = None
        self.windows: list[Window] | None = None
        self.threats: dict[str, Threat] | None = None
        self.confirmed: dict[str, Moment] | None = None

    def track(self, at: int) -> Track:
        if at == 0:
            return self
        if self.further is None:
            self.further = [Track() for _ in range(1, self.plan.track_count)]
        return self.further[at - 1]

    @property
    def tracks(self) -> list[Track]:
        """Those there are."""
        return [self, *(self.further or ())]

    # -- what happens ------------------------------------------------------------------------------------

    def add(self, entry: Entry, now: Moment, who: Attempt, tripped: list[Tripped], *, acts: bool = True) -> None:
        """An event, judged at once. ``tripped``: takes the threats that it opened and, for whoever ``acts``, those
        that it kept open."""
        if self.plan.is_simple:
            at, part = entry.pieces[0]
            track = self if at == 0 else self.track(at)
            track.times.append(now)
            track.values.append(who[part])
            if len(track.times) >= entry.least:
                self.judge(track, entry, tripped, acts)
            return
        self.serial += 1
        for at, part in entry.pieces:
            track = self.track(at)
            track.times.append(now)
            track.values.append(who[part])
            track.owners.append(self.serial)
        self._judge_anew(entry, now, tripped, acts)

    def forgive(self, entry: Entry, value: str | None) -> None:
        """Drop the events whose first piece has this value. They were judged."""
        first = self.track(entry.pieces[0][0])
        if value not in first.values:
            return
        if self.plan.is_simple:
            _keep(first, [at for at, each in enumerate(first.values) if each != value])
        else:
            gone = {owner for owner, each in zip(first.owners, first.values, strict=True) if each == value}
            for track in self.tracks:
                _keep(track, [at for at, owner in enumerate(track.owners) if owner not in gone])
        self.windows = None

    # -- threats -----------------------------------------------------------------------------------------

    def is_under_attack(self, now: Moment) -> bool:
        """Is a threat open that is not itself about a success?"""
        threats = self.threats or {}
        return any(each.closes_at > now and name != _AFTER_ATTACK for name, each in threats.items())

    def shrink(self, now: Moment) -> bool:
        """Drop what no rule can see any more. Is nothing left?"""
        oldest, is_empty = now - self.plan.horizon, True
        for track in self.tracks:
            if track.times and track.times[0] <= oldest:
                self._trim(track, now)
            is_empty = is_empty and not track.times
        return is_empty and (not self.threats or all(each.closes_at <= now for each in self.threats.values()))

    def is_at_limit(self, limit: Judged, now: Moment) -> bool:
        """Would the next attempt be refused?"""
        return self._level(limit.gauge, now) >= limit.threshold

    def _trip(self, rule: Rule, level: int, now: Moment, window: int) -> Tripped:
        threat = self.threats.get(rule.name) if self.threats else None
        if threat is not None and threat.closes_at > now:
            threat.closes_at = now + window
            if level > threat.peak:
                threat.peak = level
            return Tripped(threat, level, False)
        threat = Threat(rule, self.subject, now, now + window, level)
        if self.threats is None:
            self.threats = {}
        self.threats[rule.name] = threat
        return Tripped(threat, level, True)

    def _weigh(self, judged: Judged, values: int, events: int, now: Moment) -> Tripped | None:
        """A rule over more than one number, whose threshold is reached. As ``Detector`` does: while the threat is open
        one look in a tenth of the window is enough."""
        rule, condition = judged.rule, judged.condition
        if condition is None:
            return self._trip(rule, values, now, judged.gauge.window)
        # As a store's reply has them, by their places there.
        counts = {condition.values: values, condition.events: events}
        if not condition.may_hold(counts):
            return None
        threat = self.threats.get(rule.name) if self.threats else None
        if threat is not None and threat.closes_at > now < self._looks_again(judged):
            threat.peak = max(threat.peak, values)
            return Tripped(threat, values, False)
        if condition.successes is not None and judged.successes is not None:
            counts[condition.successes] = self._passed(judged.successes, now)
        if not condition.holds(counts):
            return None
        if self.confirmed is None:
            self.confirmed = {}
        self.confirmed[rule.name] = now
        return self._trip(rule, values, now, judged.gauge.window)

    # -- all new entries of a track together -----------------------------------------------------------------

    def judge(self, track: Track, entry: Entry, tripped: list[Tripped], acts: bool = False) -> None:
        """Go on to what has been added to the track. Only for simple plans."""
        if track.seen == len(track.times):
            return
        if self.windows is None:
            self._trim(track, track.times[track.seen])
            if len(track.times) < entry.least:
                track.seen = len(track.times)
                return
            self._measure()
        end = len(track.times)
        for judged in entry.judged:
            if judged.gauge.distinct:
                self._judge_values(track, judged, tripped, acts)
            else:
                self._judge_events(track, judged, tripped, acts)
        track.seen = end
        if end >= track.trim_at:
            self._trim(track, track.times[-1])

    def _judge_events(self, track: Track, judged: Judged, tripped: list[Tripped], acts: bool) -> None:
        window, least, cap = self.windows[judged.place], judged.threshold, self.plan.cap  # type: ignore[index]
        times, start, end, span, rule = track.times, window.start, len(track.times), judged.gauge.window, judged.rule
        threat = self.threats.get(rule.name) if self.threats else None
        for at in range(max(track.seen, start + least - 1), end):
            now = times[at]
            while times[start] <= now - span:
                start += 1
            level = at - start + 1
            if level < least:
                continue
            if level > cap:
                start, level = at + 1 - cap, cap
            if threat is not None and threat.closes_at > now and not acts:
                threat.closes_at = now + span
                if level > threat.peak:
                    threat.peak = level
                continue
            found = self._trip(rule, level, now, span)
            threat = found.threat
            tripped.append(found)
        window.start = start

    def _judge_values(self, track: Track, judged: Judged, tripped: list[Tripped], acts: bool) -> None:
        window, least, cap = self.windows[judged.place], judged.threshold, self.plan.cap  # type: ignore[index]
        counted: dict[str, int] = window.values  # type: ignore[assignment] # a gauge of different values has them
        times, values, start, span = track.times, track.values, window.start, judged.gauge.window
        rule, condition = judged.rule, judged.condition
        threat = self.threats.get(rule.name) if self.threats else None
        closes, peak = (threat.closes_at, threat.peak) if threat is not None and not acts else (BEGINNING, 0)
        unconfirmed = self._looks_again(judged)
        for at in range(track.seen, len(times)):
            value = values[at]
            if value is not None:
                counted[value] = counted.get(value, 0) + 1
            if len(counted) < least:
                continue
            now = times[at]
            outside, first = now - span, at + 1 - cap
            while times[start] <= outside or start < first:
                gone = values[start]
                start += 1
                if gone is not None:
                    left = counted[gone] - 1
                    if left:
                        counted[gone] = left
                    else:
                        del counted[gone]
            level = len(counted)
            if level < least:
                continue
            if now < closes and level <= peak:
                # Nothing new of a threat that is open: it goes on, at most.
                if condition is None:
                    threat.closes_at = closes = now + span  # type: ignore[union-attr] # it closes some time
                    continue
                if now < unconfirmed:
                    continue
            found = self._weigh(judged, level, at - start + 1, now)
            if found is not None:
                threat = found.threat
                if not acts:
                    closes, peak, unconfirmed = threat.closes_at, threat.peak, self._looks_again(judged)
                if found.opened or acts:
                    tripped.append(found)
        window.start = start

    def _looks_again(self, judged: Judged) -> Moment:
        """Until when a rule's threat, while it is open, is not looked at again."""
        confirmed = self.confirmed.get(judged.rule.name) if self.confirmed else None
        return BEGINNING if confirmed is None else confirmed + judged.gauge.window // 10

    def _measure(self) -> None:
        """Make the windows, around everything that was judged."""
        self.windows = [Window(None) for _ in range(self.plan.judged_count)]
        for at, entry in self.plan.entry_of.items():
            track = self.track(at)
            for judged in entry.judged:
                if judged.gauge.distinct:
                    values = self.windows[judged.place].values = {}
                    for value in track.values[: track.seen]:
                        if value is not None:
                            values[value] = values.get(value, 0) + 1

    def _trim(self, track: Track, now: Moment) -> None:
        """Drop what has left all windows of whoever looks from ``now`` on: when the first entry was added that is not
        judged yet."""
        gone = max(bisect_right(track.times, now - self.plan.horizon), track.seen - self.plan.cap)
        if gone > 0:
            self._drop(track, gone)
        track.trim_at = 2 * len(track.times) + _FIRST_TRIM

    def _drop(self, track: Track, gone: int) -> None:
        if self.windows is not None:
            for at, entry in self.plan.entry_of.items():
                if self.track(at) is track:
                    for judged in entry.judged:
                        self._leave(self.windows[judged.place], track, gone)
        del track.times[:gone], track.values[:gone]
        if track.owners:
            del track.owners[:gone]
        track.seen = max(0, track.seen - gone)

    @staticmethod
    def _leave(window: Window, track: Track, gone: int) -> None:
        counted = window.values
        if counted is not None:
            # What was not judged yet was not counted.
            for value in track.values[window.start : min(gone, track.seen)]:
                if value is not None:
                    counted[value] -= 1
                    if not counted[value]:
                        del counted[value]
        window.start = max(0, window.start - gone)

    # -- one event, of rules over several kinds of entries -----------------------------------------------------

    def _judge_anew(self, entry: Entry, now: Moment, tripped: list[Tripped], acts: bool) -> None:
        for judged in entry.judged:
            level = self._level(judged.gauge, now)
            if level >= judged.threshold:
                events = level if judged.events is None else self._level(judged.events, now)
                found = self._weigh(judged, level, events, now)
                if found is not None and (found.opened or acts):
                    tripped.append(found)
        for track in self.tracks:
            if len(track.times) >= track.trim_at:
                track.seen = len(track.times)
                self._trim(track, now)

    def _level(self, gauge: Gauge, now: Moment) -> int:
        """What a gauge counts in (now - window, now], looked at anew: exact up to the cap."""
        outside, count, values = now - gauge.window, 0, set()
        for at in gauge.tracks:
            track = self.track(at)
            first = max(bisect_right(track.times, outside), len(track.times) - self.plan.cap)
            count += len(track.times) - first
            if gauge.distinct:
                values.update(track.values[first:])
        return len(values - {None}) if gauge.distinct else count

    def _passed(self, gauge: Gauge, now: Moment) -> int:
        """How many got in: of the latest, up to the cap."""
        latest = self.passed.get(self.subject, [])[-self.plan.cap :]
        inside = [value for at, value in latest if at > now - gauge.window]
        return len(set(inside) - {None}) if gauge.distinct else len(inside)


def _keep(track: Track, places: list[int]) -> None:
    track.times = [track.times[at] for at in places]
    track.values = [track.values[at] for at in places]
    if track.owners:
        track.owners = [track.owners[at] for at in places]
    track.seen = len(places)
