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

    __slots__ = ("_passed_sweep_at", "_sweep_at", "passed", "place", "plan", "records")

    def __init__(self, plan: Plan) -> None:
        self.plan, self.place = plan, plan.place
        self.records: dict[str | None, Record] = {}  # never None: so it can be asked for
        self.passed: dict[str, Passed] = {}
        self._sweep_at = self._passed_sweep_at = _SPARE_RECORDS

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
        """Forget the subjects of whom nothing is in any window: memory is bounded by the windows, not by the log."""
        if len(self.records) >= self._sweep_at:
            for subject in [each.subject for each in self.records.values() if each.is_idle(now)]:
                del self.records[subject]
            self._sweep_at = 2 * len(self.records) + _SPARE_RECORDS
        if len(self.passed) >= self._passed_sweep_at:
            oldest = now - self.plan.horizon
            for subject in [each for each, passed in self.passed.items() if passed[-1][0] <= oldest]:
                del self.passed[subject]
            self._passed_sweep_at = 2 * len(self.passed) + _SPARE_RECORDS


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

    def forgive(self, who: Attempt) -> None:
        """The failures of this account from this address, and of its other name, are forgotten."""
        if who[ACCOUNT] is None:
            return
        self._forgive(who)
        other = who[OTHER_NAME]
        if other is not None:
            self._forgive(with_account(who, other))

    def _forgive(self, who: Attempt) -> None:
        for course, entry in self.by_event[FAILED]:
            record = course.records.get(who[course.place])
            if record is not None and entry.forgives:
                value = who[entry.pieces[0][1]]
                if value is not None or course.plan.kind == "pair":
                    record.forgive(entry, value)

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
        self._failed = failed = self._courses.by_event[FAILED]
        self._compares, self._counts_successes = bool(self._courses.comparing), bool(self._courses.by_event[PASSED])
        #: With the records that wait to be judged.
        self._together: list[tuple[Course, Entry, list[Record]]] = [
            (course, entry, []) for course, entry in failed if course.plan.is_simple
        ]
        self._singly = [(course, entry) for course, entry in failed if not course.plan.is_simple]
        self._tripped: list[Tripped] = []
        self._now = BEGINNING

    def feed(self, attempts: Iterable[Attempt]) -> None:
        now, singly, wants_pairs = self._now, self._singly, self._courses.wants_pairs
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
                self._pass(who, now)
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
                self._courses.count_in(singly, who, now, self._tripped, acts=False)
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

    def _pass(self, who: Attempt, now: Moment) -> None:
        courses, may_forgive, attacked = self._courses, who[OTHER_NAME] is not None, False
        if may_forgive:
            self._judge_other(who)
        for course, entry in self._failed:
            record = course.records.get(who[course.place])
            if record is not None and (record.times or record.threats):
                may_forgive = True
                if record.is_waiting:
                    record.judge(record, entry, self._tripped)
                if record.threats and not entry.silent:
                    attacked = attacked or record.is_under_attack(now)
        if self._compares:
            courses.note_success(who, now)
        if may_forgive:
            courses.forgive(who)
        if self._counts_successes:
            courses.count(PASSED, who, now, self._tripped, acts=False)
        if attacked:
            courses.count(AFTER_ATTACK, who, now, self._tripped, acts=False)

    def _judge_other(self, who: Attempt) -> None:
        """The failures under the account's other name."""
        who = with_account(who, who[OTHER_NAME] or "")
        for course, entry in self._failed:
            record = course.records.get(who[course.place])
            if record is not None and record.is_waiting:
                record.judge(record, entry, self._tripped)
