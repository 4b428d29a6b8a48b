"""One subject's entries, and what stands in the windows of its rules, kept up entry by entry.

It answers what ``stores.memory`` answers to the same operations (a property test holds it to that), without looking at
the whole record for each: a window is where it begins in the list, and how often each value stands in it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import NamedTuple

from secguard.detection import Rule
from secguard.detection.catalogue import SUCCESS_AFTER_ATTACK
from secguard.replay.attempts import Moment
from secguard.replay.plan import Entry, Judged, Plan, Weighed, Who

#: A list is cleared of what has left all windows when it is this long, and then when it has doubled.
_FIRST_TRIM = 16
_AFTER_ATTACK = SUCCESS_AFTER_ATTACK.name


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


class Track:
    """Entries of one kind, oldest first. ``owners``: whose event each was, where one writes several."""

    __slots__ = ("owners", "times", "trim_at", "values")

    def __init__(self) -> None:
        self.times: list[Moment] = []
        self.values: list[str | None] = []
        self.owners: list[int] = []
        self.trim_at = _FIRST_TRIM


class Window:
    """What a gauge counts: of each of its tracks the entries from ``starts`` on, or the different ``values`` there."""

    __slots__ = ("starts", "values")

    def __init__(self, starts: list[int], values: dict[str, int] | None) -> None:
        self.starts = starts
        self.values = values


class Record:
    """One subject. ``windows`` are made when there are entries enough to trip a rule."""

    __slots__ = ("confirmed", "plan", "serial", "subject", "threats", "touched", "tracks", "windows")

    def __init__(self, plan: Plan, subject: str) -> None:
        self.plan, self.subject = plan, subject
        self.tracks = [Track() for _ in range(plan.track_count)]
        self.windows: list[Window] | None = None
        self.threats: dict[str, Threat] | None = None
        self.confirmed: dict[str, Moment] | None = None
        self.touched = 0
        self.serial = 0

    def copy(self) -> Record:
        """The same, whose threats are its own."""
        twin = Record(self.plan, self.subject)
        for mine, other in zip(twin.tracks, self.tracks, strict=True):
            mine.times, mine.values, mine.owners = other.times[:], other.values[:], other.owners[:]
            mine.trim_at = other.trim_at
        twin.threats = self.threats and {name: replace(threat) for name, threat in self.threats.items()}
        twin.confirmed = self.confirmed and dict(self.confirmed)
        twin.touched, twin.serial = self.touched, self.serial
        return twin

    # -- what happens ------------------------------------------------------------------------------------

    def count(self, entry: Entry, now: Moment, who: Who) -> list[Tripped] | None:
        """Add an event; the rules that are at or above their thresholds then."""
        self.touched = now
        self.serial += 1
        for at, part in entry.pieces:
            self.add(at, who[part], now)
        if self.windows is None:
            if self._held(entry) < entry.least:
                return None
            self.trim(now)
            if self._held(entry) < entry.least:
                return None
            self.measure()
        tripped: list[Tripped] = []
        for judged in entry.judged:
            level = self.level(judged.gauge, now)
            if level >= judged.threshold:
                tripped.append(self._trip(judged.rule, level, now, judged.window))
        for weighed in entry.weighed:
            found = self._weigh(weighed, now)
            if found is not None:
                tripped.append(found)
        return tripped or None

    def add(self, at: int, value: str | None, now: Moment) -> None:
        track = self.tracks[at]
        track.times.append(now)
        track.values.append(value)
        if self.plan.is_owned:
            track.owners.append(self.serial)
        if self.windows is not None and value is not None:
            for gauge in self.plan.gauges_of[at]:
                values = self.windows[gauge].values
                if values is not None:
                    values[value] = values.get(value, 0) + 1
        if len(track.times) >= track.trim_at:
            self.trim(now)

    def forgive(self, entry: Entry, value: str | None) -> None:
        """Drop the events whose first piece has this value."""
        first = self.tracks[entry.pieces[0][0]]
        if value not in first.values:
            return
        if not self.plan.is_owned:
            self._keep(first, [at for at, each in enumerate(first.values) if each != value])
        else:
            gone = {owner for owner, each in zip(first.owners, first.values, strict=True) if each == value}
            for track in self.tracks:
                self._keep(track, [at for at, owner in enumerate(track.owners) if owner not in gone])
        self.windows = None

    @staticmethod
    def _keep(track: Track, places: list[int]) -> None:
        track.times = [track.times[at] for at in places]
        track.values = [track.values[at] for at in places]
        if track.owners:
            track.owners = [track.owners[at] for at in places]

    # -- threats -----------------------------------------------------------------------------------------

    def open_threat(self, rule: str, now: Moment) -> Threat | None:
        threat = self.threats.get(rule) if self.threats else None
        return threat if threat is not None and threat.closes_at > now else None

    def is_under_attack(self, now: Moment) -> bool:
        """Is a threat open that is not itself about a success?"""
        threats = self.threats or {}
        return any(each.closes_at > now and name != _AFTER_ATTACK for name, each in threats.items())

    def _trip(self, rule: Rule, level: int, now: Moment, window: int) -> Tripped:
        threat = self.open_threat(rule.name, now)
        if threat is None:
            threat = Threat(rule, self.subject, now, now + window, level)
            self.threats = self.threats or {}
            self.threats[rule.name] = threat
            return Tripped(threat, level, True)
        threat.closes_at = now + window
        threat.peak = max(threat.peak, level)
        return Tripped(threat, level, False)

    def _weigh(self, weighed: Weighed, now: Moment) -> Tripped | None:
        """As ``Detector`` does: while the threat is open one look in a tenth of the window is enough."""
        rule, condition = weighed.rule, weighed.condition
        values = self.level(weighed.values, now)
        if values < rule.threshold:
            return None
        counts = self._counts(weighed, values, now)
        if not condition.may_hold(counts):
            return None
        threat = self.open_threat(rule.name, now)
        confirmed = self.confirmed.get(rule.name) if self.confirmed else None
        if threat is not None and confirmed is not None and now - confirmed < weighed.window // 10:
            threat.peak = max(threat.peak, values)
            return Tripped(threat, values, False)
        if not condition.holds(counts):
            return None
        self.confirmed = self.confirmed or {}
        self.confirmed[rule.name] = now
        return self._trip(rule, values, now, weighed.window)

    def _counts(self, weighed: Weighed, values: int, now: Moment) -> dict[int, int]:
        """As a store's reply has them, by their places there."""
        condition = weighed.condition
        counts = {condition.values: values, condition.events: self.level(weighed.events, now)}
        if condition.successes is not None and weighed.successes is not None:
            counts[condition.successes] = self.level(weighed.successes, now)
        return counts

    def is_at_limit(self, limit: Judged, now: Moment) -> bool:
        """Would the next attempt be refused?"""
        if self.windows is None:
            self.measure()
        return self.level(limit.gauge, now) >= limit.threshold

    # -- windows -----------------------------------------------------------------------------------------

    def _held(self, entry: Entry) -> int:
        """How many entries there are of those that count, or were."""
        if len(entry.tracks) == 1:
            return len(self.tracks[entry.tracks[0]].times)
        return sum(len(self.tracks[at].times) for at in entry.tracks)

    def measure(self) -> None:
        """Make the windows, around everything there is."""
        self.windows = []
        for gauge in self.plan.gauges:
            values: dict[str, int] | None = {} if gauge.distinct else None
            if values is not None:
                for at in gauge.tracks:
                    for value in self.tracks[at].values:
                        if value is not None:
                            values[value] = values.get(value, 0) + 1
            self.windows.append(Window([0] * len(gauge.tracks), values))

    def level(self, at: int, now: Moment) -> int:
        """What a gauge counts in (now - window, now]: exact up to the cap."""
        gauge, window, count = self.plan.gauges[at], self.windows[at], 0  # type: ignore[index]
        starts, values, outside = window.starts, window.values, now - gauge.window
        for place, track_at in enumerate(gauge.tracks):
            track = self.tracks[track_at]
            times, start = track.times, starts[place]
            end = len(times)
            least = end - self.plan.cap
            while start < end and (times[start] <= outside or start < least):
                if values is not None:
                    _leave(values, track.values[start])
                start += 1
            starts[place] = start
            count += end - start
        return count if values is None else len(values)

    def trim(self, now: Moment) -> None:
        """Drop what has left all windows."""
        for at, track in enumerate(self.tracks):
            gone = max(bisect_right(track.times, now - self.plan.horizon), len(track.times) - self.plan.cap)
            if gone > 0:
                self._drop(at, track, gone)
            track.trim_at = 2 * len(track.times) + _FIRST_TRIM

    def _drop(self, at: int, track: Track, gone: int) -> None:
        for gauge in self.plan.gauges_of[at] if self.windows is not None else ():
            window, place = self.windows[gauge], self.plan.gauges[gauge].tracks.index(at)  # type: ignore[index]
            start = window.starts[place]
            if window.values is not None:
                for value in track.values[start:gone]:
                    _leave(window.values, value)
            window.starts[place] = max(0, start - gone)
        del track.times[:gone], track.values[:gone]
        if track.owners:
            del track.owners[:gone]


def _leave(values: dict[str, int], value: str | None) -> None:
    if value is not None:
        left = values[value] - 1
        if left:
            values[value] = left
        else:
            del values[value]
