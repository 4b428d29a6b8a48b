"""What would have been: the same attempts at a site where these rules refuse.

A refused attempt counts for no limit, as in the site. Only the kinds of subject are counted for which a rule does more
than log.
"""

from __future__ import annotations

from collections.abc import Iterable

from secguard.conf import Settings
from secguard.detection import Action, Detector, Rule
from secguard.replay.attempts import ADDRESS, AT, CLIENT, HAS_FAILED, Attempt, Moment, Place, with_pair
from secguard.replay.counting import Courses
from secguard.replay.guard import Guard
from secguard.replay.plan import AFTER_ATTACK, FAILED
from secguard.replay.windows import BEGINNING, Record, Tripped


def _that_matter(rules: Iterable[Rule]) -> list[Rule]:
    """The rules of those kinds of subject for which one does more than log: they share records."""
    found = list(rules)
    acting = [rule for rule in found if rule.action is not Action.LOG]
    if any(AFTER_ATTACK in rule.events for rule in acting):
        return found  # what is an attack, any rule may say
    kinds = {rule.subject for rule in acting}
    return [rule for rule in found if rule.subject in kinds]


class Enforcement:
    """Feed it attempts in order. ``guard``: what came of them."""

    def __init__(self, rules: Iterable[Rule], settings: Settings) -> None:
        mine = _that_matter(rules)
        detector = Detector(mine, key=settings.hmac_key)
        self.guard = Guard(settings, detector)
        self._is_idle = not mine
        self._courses = Courses(detector)
        self._limited = [course for course in self._courses.all if course.plan.limits]
        self._limiting = {limit.rule.name for course in self._limited for limit in course.plan.limits}
        #: By place, and for each subject that a limit may be reached for, until when.
        self._hot: list[tuple[Place, dict[str | None, Moment]]] = [(course.place, {}) for course in self._limited]
        self._now = BEGINNING

    def feed(self, attempts: Iterable[Attempt]) -> None:
        if self._is_idle:
            return
        now, guard, hot, courses = self._now, self.guard, self._hot, self._courses
        blocked, wants_pairs = guard.blocked, courses.wants_pairs
        count_in, failed = courses.count_in, courses.by_event[FAILED]
        tripped: list[Tripped] = []
        for who in attempts:
            if who[AT] > now:
                now = who[AT]
            block = blocked.get(who[ADDRESS])
            if block is not None or guard.has_others:
                block = guard.find(who, now)
                if block is not None:
                    if who[HAS_FAILED]:
                        block.refused_failures += 1
                    else:
                        guard.refuse_success(who, block.rule, block)
                    continue
            if wants_pairs:
                who = with_pair(who)
            for place, subjects in hot:
                if who[place] in subjects and self._is_limited(who, now):
                    break
            else:
                if who[HAS_FAILED]:
                    count_in(failed, who, now, tripped, acts=True)
                else:
                    courses.success(who, now, tripped, acts=True)
                if tripped:
                    self._follow(tripped, who, now)
                    tripped.clear()
        self._now = now
        courses.sweep(now)

    def _follow(self, tripped: list[Tripped], who: Attempt, now: Moment) -> None:
        for each in tripped:
            rule = each.threat.rule
            if rule.name in self._limiting:
                for course, (_, subjects) in zip(self._limited, self._hot, strict=True):
                    if course.plan.kind == rule.subject:
                        subjects[each.threat.subject] = each.threat.closes_at
        self.guard.follow(tripped, who, now)
        while self.guard.renewed:
            account = self.guard.renewed.pop()
            for course in self._courses.all:
                if course.plan.kind == "account":
                    course.held[account] = Record(course.plan, account, course.passed)

    def _is_limited(self, who: Attempt, now: Moment) -> bool:
        """Would a rule's limit refuse this attempt, where no block does?"""
        address = who[CLIENT]
        if address is not None and address.exempt:
            return False
        for course, (place, subjects) in zip(self._limited, self._hot, strict=True):
            subject = who[place]
            closes = subjects.get(subject)
            if closes is None:
                continue
            record = course.held.get(subject)
            if closes <= now or type(record) is not Record:
                del subjects[subject]
                continue
            for limit in course.plan.limits:
                if record.is_at_limit(limit, now):
                    self.guard.refuse_by_limit(who, limit.rule.name)
                    return True
        return False
