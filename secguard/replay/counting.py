"""What happened: the threats that attempts of the past would have opened under a set of rules.

Nothing is refused here. Entries are gathered while attempts go by, and a subject's are judged together: at the end of a
batch, or when somebody gets in and it matters what came before.
"""

from __future__ import annotations

from collections.abc import Iterable

from secguard.detection import Detector
from secguard.replay.attempts import ACCOUNT, AT, HAS_FAILED, OTHER_NAME, Attempt, Moment, with_account, with_pair
from secguard.replay.plan import AFTER_ATTACK, FAILED, PASSED, Entry, Plan, plans_for
from secguard.replay.windows import BEGINNING, Passed, Record, Threat, Tripped

#: Records beyond twice those that were last needed, and these, are looked through for idle ones.
_SPARE_RECORDS = 10_000


class Course:
    """The records of one kind of subject. ``passed``: successes, where failures are compared with them."""

    __slots__ = ("_sweep_at", "_sweep_next", "passed", "place", "plan", "records")

    def __init__(self, plan: Plan) -> None:
        self.plan, self.place = plan, plan.place
        self.records: dict[str | None, Record] = {}  # never None: so it can be asked for
        self.passed: dict[str, Passed] = {}
        self._sweep_at, self._sweep_next = _SPARE_RECORDS, BEGINNING

    def record(self, subject: str) -> Record:
        record = self.records.get(subject)
        if record is None:
            record = self.records[subject] = Record(self.plan, subject, self.passed)
        return record

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
        held = len(self.records) + len(self.passed)
        if held < self._sweep_at and now < self._sweep_next:
            return
        for record in [each for each in self.records.values() if each.shrink(now)]:
            del self.records[record.subject]
        oldest = now - self.plan.horizon
        for subject, passed in list(self.passed.items()):
            if passed[-1][0] <= oldest:
                del self.passed[subject]
            elif passed[0][0] <= oldest:
                self.passed[subject] = [each for each in passed if each[0] > oldest]
        self._sweep_at = 2 * (len(self.records) + len(self.passed)) + _SPARE_RECORDS
        self._sweep_next = now + self.plan.horizon


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
        forgiven: list[tuple[Record, Entry, str | None]] = []
        attacked, account = False, who[ACCOUNT]
        for course, entry in self.by_event[FAILED]:
            record = course.records.get(who[course.place])
            if record is None:
                continue
            if record.is_waiting:
                record.judge(record, entry, tripped)
            if record.threats and not entry.silent:
                attacked = attacked or record.is_under_attack(now)
            value = who[entry.pieces[0][1]]
            if account is not None and value in record.values and entry.forgives:
                forgiven.append((record, entry, value))
        other = who[OTHER_NAME]
        if other is not None and account is not None:
            forgiven += self._of_other(with_account(who, other), tripped)
        if self.comparing:
            self.note_success(who, now)
        for record, entry, value in forgiven:
            if value is not None or record.plan.kind == "pair":
                record.forgive(entry, value)
        if self.by_event[PASSED]:
            self.count(PASSED, who, now, tripped, acts=acts)
        if attacked:
            self.count(AFTER_ATTACK, who, now, tripped, acts=acts)

    def _of_other(self, who: Attempt, tripped: list[Tripped]) -> list[tuple[Record, Entry, str | None]]:
        """The failures under the account's other name."""
        found = []
        for course, entry in self.by_event[FAILED]:
            record = course.records.get(who[course.place])
            if record is not None:
                if record.is_waiting:
                    record.judge(record, entry, tripped)
                if entry.forgives:
                    found.append((record, entry, who[entry.pieces[0][1]]))
        return found

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
                record = course.records.get(subject)
                if record is None:
                    record = course.records[subject] = Record(course.plan, subject, course.passed)
                record.add(entry, now, who, tripped, acts=acts)

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
            (course, course.place, course.records, entry.pieces[0][1], entry.least, waiting)
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
            if wants_pairs:
                who = with_pair(who)
            if not who[HAS_FAILED]:
                successes += 1
                success(who, now, tripped, acts=False)
                continue
            failures += 1
            for course, place, records, part, least, waiting in together:
                subject = who[place]
                if subject is None:
                    continue
                record = records.get(subject)
                if record is None:
                    record = records[subject] = Record(course.plan, subject, course.passed)
                times = record.times
                times.append(now)
                record.values.append(who[part])
                if len(times) >= least and not record.is_waiting:
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
