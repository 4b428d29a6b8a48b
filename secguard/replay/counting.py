"""What happened: the threats that attempts of the past would have opened under a set of rules.

Nothing is refused here. Entries are gathered while attempts go by, and a subject's are judged together: at the end of a
batch, or when somebody gets in and it matters what came before. Most subjects never have entries enough for any rule:
of them the attempts themselves are held, which are there anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from secguard.detection import Detector
from secguard.replay.attempts import (
    ACCOUNT,
    AT,
    HAS_FAILED,
    OTHER_NAME,
    Attempt,
    Moment,
    at_time,
    with_account,
    with_pair,
)
from secguard.replay.plan import AFTER_ATTACK, FAILED, PASSED, Entry, Plan, plans_for
from secguard.replay.windows import BEGINNING, Passed, Record, Threat, Tripped

#: Records beyond twice those that were last needed, and these, are looked through for idle ones.
_SPARE_RECORDS = 10_000
#: With more entries a subject gets a record though no rule could trip yet: it forgives without looking at each.
_MOST_ATTEMPTS = 8


#: What is held of a subject: its one failure or its few, or, once they are enough for a rule, a record.
Held: TypeAlias = "Attempt | list[Attempt] | Record"


class Course:
    """What is held of one kind of subject. ``passed``: successes, where failures are compared with them.

    ``failed``: the entry of failures, if they may be held without a record.
    """

    __slots__ = ("_sweep_at", "_sweep_next", "failed", "held", "passed", "place", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan, self.place = plan, plan.place
        self.held: dict[str | None, Held] = {}  # never of None: so it can be asked for
        self.passed: dict[str, Passed] = {}
        self.failed = plan.entries.get(FAILED) if plan.is_simple else None
        self._sweep_at, self._sweep_next = _SPARE_RECORDS, BEGINNING

    def record(self, subject: str) -> Record:
        """The subject's record, made if there is none."""
        held = self.held.get(subject)
        if type(held) is Record:
            return held
        record = self.held[subject] = Record(self.plan, subject, self.passed)
        if held is not None and self.failed is not None:
            _, part = self.failed.pieces[0]
            for each in _few(held):
                record.times.append(each[AT])
                record.values.append(each[part])
        return record

    def hold(self, subject: str, who: Attempt, now: Moment) -> Record | None:
        """Hold a failure of a subject that has no record. → its record, if it has one now: to be judged."""
        held = self.held.get(subject)
        most = 0 if self.failed is None else min(self.failed.least - 1, _MOST_ATTEMPTS)
        if who[AT] != now:
            who = at_time(who, now)
        few = [who] if held is None else [*_few(held), who]
        oldest = now - self.plan.horizon
        while few[0][AT] <= oldest:
            del few[0]
        self.held[subject] = few[0] if len(few) == 1 else few
        return self.record(subject) if len(few) > most else None

    def forgive_few(self, subject: str, value: str | None) -> None:
        """Forget the failures with this value of a subject that has no record."""
        if self.failed is None:
            return
        held, (_, part) = self.held[subject], self.failed.pieces[0]
        if isinstance(held, tuple):
            if held[part] == value:
                del self.held[subject]
        elif left := [each for each in _few(held) if each[part] != value]:
            self.held[subject] = left
        else:
            del self.held[subject]

    def note_success(self, subject: str, value: str | None, now: Moment) -> None:
        passed = self.passed.get(subject)
        if passed is None:
            self.passed[subject] = [(now, value)]
            return
        passed.append((now, value))
        if len(passed) > 2 * self.plan.cap:
            del passed[: -self.plan.cap]

    def sweep(self, now: Moment) -> None:
        """Forget what is in no window any more, once in a longest window and whenever there is twice as much as before:
        memory is bounded by the windows, not by the log."""
        if len(self.held) + len(self.passed) < self._sweep_at and now < self._sweep_next:
            return
        oldest = now - self.plan.horizon
        idle = [
            subject
            for subject, held in self.held.items()
            if (held[AT] <= oldest if type(held) is tuple else _is_idle(held, oldest, now))
        ]
        for subject in idle:
            del self.held[subject]
        for subject, passed in list(self.passed.items()):
            if passed[-1][0] <= oldest:
                del self.passed[subject]
            elif passed[0][0] <= oldest:
                self.passed[subject] = [each for each in passed if each[0] > oldest]
        self._sweep_at = 2 * (len(self.held) + len(self.passed)) + _SPARE_RECORDS
        self._sweep_next = now + self.plan.horizon


def _few(held: Held) -> list[Attempt]:
    """The attempts that are held without a record."""
    if isinstance(held, tuple):
        return [held]
    return held if isinstance(held, list) else []


def _is_idle(held: Held, oldest: Moment, now: Moment) -> bool:
    if isinstance(held, Record):
        return held.is_idle(now)
    return _few(held)[-1][AT] <= oldest


class Courses:
    """All records, by what touches them."""

    def __init__(self, detector: Detector) -> None:
        self.all = [Course(plan) for plan in plans_for(detector)]
        self.by_event: dict[str, list[tuple[Course, Entry]]] = {
            event: [(course, course.plan.entries[event]) for course in self.all if event in course.plan.entries]
            for event in (FAILED, PASSED, AFTER_ATTACK)
        }
        self.comparing = [(course, course.plan.success) for course in self.all if course.plan.success is not None]
        self.wants_pairs = any(course.plan.kind == "pair" for course in self.all)

    def note_success(self, who: Attempt, now: Moment) -> None:
        """Where a rule compares failures with successes."""
        for course, part in self.comparing:
            subject = who[course.place]
            if subject is not None:
                course.note_success(subject, who[part], now)

    def success(self, who: Attempt, now: Moment, tripped: list[Tripped], *, acts: bool) -> None:
        """Somebody got in. What failed before is judged; then his failures at this account from this address are
        forgotten."""
        account, other = who[ACCOUNT], who[OTHER_NAME]
        forgiven, attacked = self._settle(who, now, tripped, forgives=account is not None)
        if other is not None and account is not None:
            forgiven += self._settle(with_account(who, other), now, tripped, forgives=True)[0]
        if self.comparing:
            self.note_success(who, now)
        for record, entry, value in forgiven:
            record.forgive(entry, value)
        if self.by_event[PASSED]:
            self.count(PASSED, who, now, tripped, acts=acts)
        if attacked:
            self.count(AFTER_ATTACK, who, now, tripped, acts=acts)

    def _settle(
        self, who: Attempt, now: Moment, tripped: list[Tripped], *, forgives: bool
    ) -> tuple[list[tuple[Record, Entry, str | None]], bool]:
        """Judge what failed before. → what is to be forgotten of it, and is anybody concerned under attack?"""
        forgiven: list[tuple[Record, Entry, str | None]] = []
        attacked = False
        for course, entry in self.by_event[FAILED]:
            subject = who[course.place]
            held = course.held.get(subject)
            if held is None or subject is None:
                continue
            value = who[entry.pieces[0][1]]
            is_his = forgives and entry.forgives and (value is not None or course.plan.kind == "pair")
            if type(held) is Record:
                if held.is_waiting:
                    held.judge(held, entry, tripped)
                if held.threats and not entry.silent:
                    attacked = attacked or held.is_under_attack(now)
                if is_his:
                    forgiven.append((held, entry, value))
            elif is_his:
                course.forgive_few(subject, value)
        return forgiven, attacked

    def count(self, event: str, who: Attempt, now: Moment, tripped: list[Tripped], *, acts: bool) -> None:
        """One event, judged at once."""
        self.count_in(self.by_event[event], who, now, tripped, acts=acts)

    @staticmethod
    def count_in(
        courses: Iterable[tuple[Course, Entry]], who: Attempt, now: Moment, tripped: list[Tripped], *, acts: bool
    ) -> None:
        for course, entry in courses:
            subject = who[course.place]
            if subject is not None:
                held = course.held.get(subject)
                if type(held) is Record:
                    held.add(entry, now, who, tripped, acts=acts)
                elif entry is not course.failed:
                    course.record(subject).add(entry, now, who, tripped, acts=acts)
                elif record := course.hold(subject, who, now):
                    record.judge(record, entry, tripped, acts)

    def sweep(self, now: Moment) -> None:
        for course in self.all:
            course.sweep(now)


class Counting:
    """Feed it attempts in order. ``late``: came after later ones; they count at the time of those, since the clock of
    a window never goes back."""

    def __init__(self, detector: Detector) -> None:
        self.threats: list[Threat] = []
        self.failures = self.successes = self.late = 0
        self.first: Moment | None = None
        self.last: Moment | None = None
        self._courses = Courses(detector)
        failed = self._courses.by_event[FAILED]
        #: With the records that wait to be judged.
        self._together: list[tuple[Course, Entry, list[Record]]] = [
            (course, entry, []) for course, entry in failed if course.plan.is_simple
        ]
        self._singly = [(course, entry) for course, entry in failed if not course.plan.is_simple]
        self._tripped: list[Tripped] = []
        self._now = BEGINNING

    def feed(self, attempts: Iterable[Attempt]) -> None:
        now, singly, wants_pairs, tripped = self._now, self._singly, self._courses.wants_pairs, self._tripped
        success = self._courses.success
        together = [
            (course, course.place, course.held, entry.pieces[0][1], entry.least, waiting)
            for course, entry, waiting in self._together
        ]
        failures = successes = 0
        for who in attempts:
            if who[AT] >= now:
                now = who[AT]
                if self.first is None:
                    self.first = now
            else:
                self.late += 1
                who = at_time(who, now)
            if wants_pairs:
                who = with_pair(who)
            if not who[HAS_FAILED]:
                successes += 1
                success(who, now, tripped, acts=False)
                continue
            failures += 1
            for course, place, everybody, part, least, waiting in together:
                subject = who[place]
                if subject is None:
                    continue
                held = everybody.get(subject)
                if held is None and least > 1:
                    everybody[subject] = who
                    continue
                if type(held) is Record:
                    held.times.append(now)
                    held.values.append(who[part])
                    if held.is_waiting or len(held.times) < least:
                        continue
                    record = held
                else:
                    made = course.hold(subject, who, now)
                    if made is None:
                        continue
                    record = made
                record.is_waiting = True
                waiting.append(record)
            if singly:
                self._courses.count_in(singly, who, now, tripped, acts=False)
        self.failures += failures
        self.successes += successes
        if now != BEGINNING:
            self.last = self._now = now
        self._end_batch()

    def _end_batch(self) -> None:
        tripped = self._tripped
        for _, entry, waiting in self._together:
            for record in waiting:
                record.is_waiting = False
                record.judge(record, entry, tripped)
            waiting.clear()
        self.threats += [each.threat for each in tripped]
        tripped.clear()
        self._courses.sweep(self._now)
