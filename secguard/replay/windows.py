"""One subject's entries, and what stands in the windows of its rules.

It answers what ``stores.memory`` answers to the same operations (a property test holds it to that), but looks at a
record's new entries together: a window is where it begins in the list, and how often each value stands in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from secguard.detection import Rule
from secguard.detection.catalogue import SUCCESS_AFTER_ATTACK
from secguard.replay.attempts import Attempt, Moment
from secguard.replay.plan import Entry, Gauge, Judged, Plan

#: A list is cleared of what has left all windows when it is this long, and then when it has doubled.
_FIRST_TRIM = 16
#: So many entries are dropped one by one; of more, the others are copied.
_MANY = 32
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
    """Where a rule's window begins, perhaps too early, until somebody needs to know. ``counted``: where different
    values count and were counted one by one, how often each stands between ``start`` and what was judged."""

    __slots__ = ("counted", "start")

    def __init__(self) -> None:
        self.start = 0
        self.counted: dict[str, int] | None = None


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
        if self.plan.is_simple:
            self._forget(first, entry, value)
        elif gone := _places(first.values, value):
            owners = {first.owners[at] for at in gone}
            for track in self.tracks:
                _keep(track, [at for at, owner in enumerate(track.owners) if owner not in owners])
            self.windows = None

    def _forget(self, track: Track, entry: Entry, value: str | None) -> None:
        """Drop the events with this value; only for simple plans."""
        longest = None if entry.longest is None or self.windows is None else self.windows[entry.longest]
        first, count = 0, None
        if longest is not None and longest.counted is not None and value and track.seen == len(track.times):
            # What is in no window any more may stay.
            first, count = longest.start, longest.counted.get(value, 0)
        gone = _places(track.values, value, first, count)
        if not gone:
            return
        if self.windows is not None:
            for window in [self.windows[judged.place] for judged in entry.judged]:
                self._move(window, track, first)
                window.start -= bisect_left(gone, window.start)
                if window.counted is not None and value is not None:
                    window.counted.pop(value, None)
        track.seen -= bisect_left(gone, track.seen)
        if len(gone) > _MANY:
            dropped = set(gone)
            _keep(track, [at for at in range(len(track.times)) if at not in dropped])
        else:
            for at in reversed(gone):
                del track.times[at], track.values[at]

    # -- threats -----------------------------------------------------------------------------------------

    def is_under_attack(self, now: Moment) -> bool:
        """Is a threat open that is not itself about a success?"""
        threats = self.threats or {}
        return any(each.closes_at > now and name != _AFTER_ATTACK for name, each in threats.items())

    def is_idle(self, now: Moment) -> bool:
        """Is there nothing that a rule can still see, and no threat open?"""
        oldest = now - self.plan.horizon
        if any(track.times and track.times[-1] > oldest for track in self.tracks):
            return False
        return not self.threats or all(each.closes_at <= now for each in self.threats.values())

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
            self.windows = [Window() for _ in range(self.plan.judged_count)]
        end = len(track.times)
        for judged in entry.judged:
            if end < judged.threshold:
                self.windows[judged.place].counted = None
            elif judged.gauge.distinct:
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
        times, values, new, span = track.times, track.values, track.seen, judged.gauge.window
        counted = window.counted
        if counted is None:
            window.start = max(bisect_right(times, times[new] - span, window.start), new + 1 - cap)
            counted = window.counted = dict(Counter(values[window.start : new]))
            counted.pop(None, None)  # type: ignore[call-overload]
        start, rule, condition = window.start, judged.rule, judged.condition
        crowded = rule.max_per_value
        threat = self.threats.get(rule.name) if self.threats else None
        closes, peak = (threat.closes_at, threat.peak) if threat is not None and not acts else (BEGINNING, 0)
        unconfirmed = BEGINNING if condition is None else self._looks_again(judged)
        oldest = times[start]
        for at, value in enumerate(values[new:], new):
            if value is not None:
                counted[value] = counted.get(value, 0) + 1
            if len(counted) < least:
                continue
            now = times[at]
            outside = now - span
            while oldest <= outside or at - start >= cap:
                gone = values[start]
                start += 1
                oldest = times[start]
                if gone is not None:
                    left = counted[gone] - 1
                    if left:
                        counted[gone] = left
                    else:
                        del counted[gone]
            level = len(counted)
            # The condition's first half, without a call: of many entries most come here.
            if level < least or (crowded is not None and at - start + 1 > crowded * level):
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
                        window = self.windows[judged.place]
                        self._move(window, track, gone)
                        window.start -= gone
        del track.times[:gone], track.values[:gone]
        if track.owners:
            del track.owners[:gone]
        track.seen = max(0, track.seen - gone)

    @staticmethod
    def _move(window: Window, track: Track, start: int) -> None:
        """Let it begin there, unless it begins later already."""
        if window.counted is not None:
            # What was not judged yet was not counted.
            for value in track.values[window.start : min(start, track.seen)]:
                if value is not None:
                    window.counted[value] -= 1
                    if not window.counted[value]:
                        del window.counted[value]
        window.start = max(window.start, start)

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


def _places(values: list[str | None], value: str | None, first: int = 0, count: int | None = None) -> list[int]:
    """Where it stands: everywhere, or from ``first`` on, where it is known to do so ``count`` times."""
    found: list[int] = []
    for _ in range(values.count(value) if count is None else count):
        found.append(values.index(value, first))
        first = found[-1] + 1
    return found


def _keep(track: Track, places: list[int]) -> None:
    track.times = [track.times[at] for at in places]
    track.values = [track.values[at] for at in places]
    if track.owners:
        track.owners = [track.owners[at] for at in places]
        track.seen = len(places)
