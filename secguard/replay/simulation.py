"""Attempts of the past under a set of rules: the threats they would have opened, and what would have come of those.

What happened has happened: every attempt counts for the threats. Beside that runs a second account, in which blocks,
locks and limits refuse, and what is refused counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from secguard.conf import Settings
from secguard.detection import Detector, Rule
from secguard.replay.attempts import Attempt, Client, Moment
from secguard.replay.guard import Guard, Verdicts
from secguard.replay.plan import AFTER_ATTACK, FAILED, PASSED, Plan, Who, plans_for
from secguard.replay.windows import Record, Threat, Tripped

#: Records beyond twice those that were last needed, and these, are looked through for idle ones.
_SPARE_RECORDS = 10_000


@dataclass(slots=True)
class Outcome:
    """What became of all attempts. ``late``: came after later ones, by too much to be put in order."""

    rules: tuple[Rule, ...]
    failures: int = 0
    successes: int = 0
    late: int = 0
    first: Moment | None = None
    last: Moment | None = None
    threats: list[Threat] = field(default_factory=list)
    verdicts: Verdicts = field(default_factory=Verdicts)

    @property
    def events(self) -> int:
        return self.failures + self.successes


class _Course:
    """The records of one kind of subject. ``twins``: where the second account differs.

    ``hot``: by subject, until when a limit may be reached.
    """

    __slots__ = ("hot", "limiting", "place", "plan", "records", "sweep_at", "twins")

    def __init__(self, plan: Plan) -> None:
        self.plan, self.place = plan, plan.place
        self.records: dict[str, Record] = {}
        self.twins: dict[str, Record] = {}
        self.hot: dict[str, Moment] = {}
        self.limiting = {limit.rule.name for limit in plan.limits}
        self.sweep_at = _SPARE_RECORDS

    def record(self, subject: str) -> Record:
        record = self.records.get(subject)
        if record is None:
            record = self.records[subject] = Record(self.plan, subject)
        return record

    def twin(self, subject: str) -> Record:
        """Made before the first attempt that the second account does not see."""
        twin = self.twins.get(subject)
        if twin is None:
            twin = self.twins[subject] = self.record(subject).copy()
        return twin

    def sweep(self, now: Moment) -> None:
        """Forget the subjects of whom nothing is in any window: memory is bounded by the windows."""
        if len(self.records) < self.sweep_at:
            return
        oldest = now - self.plan.horizon
        for subject in [each.subject for each in self.records.values() if each.touched <= oldest]:
            del self.records[subject]
            self.twins.pop(subject, None)
            self.hot.pop(subject, None)
        self.sweep_at = 2 * len(self.records) + _SPARE_RECORDS


class Simulation:
    """``settings``: the site's, which say how long blocks last and whom nothing refuses.

    Raises InvalidRule as the detector does.
    """

    def __init__(self, rules: Iterable[Rule], settings: Settings) -> None:
        self.outcome = Outcome(tuple(rules))
        detector = Detector(self.outcome.rules, key=settings.hmac_key)
        self._guard = Guard(settings, detector)
        self.outcome.verdicts = self._guard.verdicts
        courses = [_Course(plan) for plan in plans_for(detector)]
        self._courses = {
            event: [(course, course.plan.entries[event]) for course in courses if event in course.plan.entries]
            for event in (FAILED, PASSED, AFTER_ATTACK)
        }
        self._all, self._limited = courses, [course for course in courses if course.plan.limits]
        self._comparing = [course for course in courses if course.plan.success]
        self._accounts = next((course for course in courses if course.plan.kind == "account"), None)
        self._now: Moment = -(1 << 62)

    def feed(self, attempts: Iterable[Attempt]) -> None:
        """Attempts in the order of their times. One that is earlier than those before it counts at their time: the
        clock of a window never goes back."""
        outcome, now, find = self.outcome, self._now, self._guard.find
        limited = self._limited
        failures = successes = late = 0
        for attempt in attempts:
            at, failed, client, account, other = attempt
            if at >= now:
                now = at
                if outcome.first is None:
                    outcome.first = at
            else:
                late += 1
            address = client.subject or None
            pair = f"{address} {account}" if address and account else None
            who = (address, client.network or None, account, pair, None)
            block = find(client, account, now)
            if block is not None:
                refused = True
                self._guard.refuse(attempt, block.rule, block)
            else:
                refused = bool(limited) and self._is_limited(attempt, who, now)
            if failed:
                failures += 1
                self._count(FAILED, who, client, now, refused)
            else:
                successes += 1
                self._pass(who, other, client, now, refused)
        outcome.failures += failures
        outcome.successes += successes
        outcome.late += late
        if outcome.first is not None:
            self._now = outcome.last = now
        for course in self._all:
            course.sweep(now)

    # -- one attempt -------------------------------------------------------------------------------------

    def _count(self, event: str, who: Who, client: Client, now: Moment, refused: bool) -> None:
        for course, entry in self._courses[event]:
            subject = who[course.place]
            if subject is None:
                continue
            record = course.records.get(subject)
            if record is None:
                record = course.records[subject] = Record(course.plan, subject)
            twin = course.twin(subject) if refused else course.twins.get(subject)
            tripped = record.count(entry, now, who)
            if tripped is not None:
                self.outcome.threats += [each.threat for each in tripped if each.opened]
            if refused:
                continue
            if twin is not None:
                tripped = twin.count(entry, now, who)
            if tripped is not None:
                self._follow(course, tripped, client, now)

    def _follow(self, course: _Course, tripped: list[Tripped], client: Client, now: Moment) -> None:
        for each in tripped:
            if each.threat.rule.name in course.limiting:
                course.hot[each.threat.subject] = max(each.threat.closes_at, course.hot.get(each.threat.subject, 0))
        self._guard.follow(tripped, client, now)
        while self._guard.renewed:
            account = self._guard.renewed.pop()
            if self._accounts is not None:
                self._accounts.twins[account] = Record(self._accounts.plan, account)

    def _pass(self, who: Who, other: str | None, client: Client, now: Moment, refused: bool) -> None:
        """Somebody got in: his earlier failures at this account from this address are forgotten."""
        attacked, would_be = self._is_attacked(who, now)
        for course in self._comparing:
            subject = who[course.place]
            if subject is not None:
                self._note_success(course, subject, who, now, refused)
        for name in (who[2],) if other is None else (who[2], other):
            if name is not None:
                self._forgive((who[0], who[1], name, f"{who[0]} {name}" if who[0] else None, None), now, refused)
        self._count(PASSED, who, client, now, refused)
        if attacked:
            self._count(AFTER_ATTACK, who, client, now, refused or not would_be)

    def _is_attacked(self, who: Who, now: Moment) -> tuple[bool, bool]:
        """Is a threat open on the address or the account, in what happened and in the second account?"""
        attacked = would_be = False
        for course, entry in self._courses[FAILED]:
            record = None if entry.silent else course.records.get(who[course.place] or "")
            if record is not None and record.threats:
                attacked = attacked or record.is_under_attack(now)
                would_be = would_be or course.twins.get(record.subject, record).is_under_attack(now)
        return attacked, would_be

    @staticmethod
    def _note_success(course: _Course, subject: str, who: Who, now: Moment, refused: bool) -> None:
        track, part = course.plan.success  # type: ignore[misc] # only courses that have one are asked
        record = course.record(subject)
        twin = course.twin(subject) if refused else course.twins.get(subject)
        for each in (record,) if refused or twin is None else (record, twin):
            each.touched = now
            each.serial += 1
            each.add(track, who[part], now)

    def _forgive(self, who: Who, now: Moment, refused: bool) -> None:
        for course, entry in self._courses[FAILED]:
            record = course.records.get(who[course.place] or "")
            if record is None or not entry.forgives:
                continue
            value = who[entry.pieces[0][1]]
            if value is None and course.plan.kind != "pair":
                continue
            twin = course.twin(record.subject) if refused else course.twins.get(record.subject)
            record.touched = now
            record.forgive(entry, value)
            if twin is not None and not refused:
                twin.forgive(entry, value)

    def _is_limited(self, attempt: Attempt, who: Who, now: Moment) -> bool:
        """Would a rule's limit refuse this attempt, where no block does?"""
        for course in self._limited:
            subject = who[course.place]
            closes = course.hot.get(subject) if course.hot and subject is not None else None
            if closes is None or subject is None:
                continue
            if closes <= now:
                del course.hot[subject]
                continue
            client = attempt[2]
            if client.address is not None and client.address.exempt:
                return False
            record = course.twins.get(subject) or course.records[subject]
            for limit in course.plan.limits:
                if record.is_at_limit(limit, now):
                    self._guard.refuse(attempt, limit.rule.name, None)
                    return True
        return False
