"""What the counters say of a subject, and how long they will go on saying so. Reads alone: nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from secguard.conf import get_settings
from secguard.detection import Action, Detector, Observation, Rule
from secguard.detection.detector import Target
from secguard.detection.store import CLOSED, LINKED, READ, Op, Panel, Watch
from secguard.events import EventType
from secguard.logging import get_event_logger
from secguard.models import AccountLock, Block
from secguard.pipeline import get_store
from secguard.records.database import database, database_now
from secguard.stores import ResilientStore

#: Milliseconds to which the end of a count is found.
_RESOLUTION = 500
#: How many moments one question asks about. A panel has 255 watches at most, and each costs the server a pass.
_MOMENTS = 24
#: Records read with one question, and decisions looked at for open threats, at most.
_AT_ONCE, _MOST_DECISIONS = 50, 5_000

D = TypeVar("D", Block, AccountLock)


@dataclass(frozen=True, slots=True)
class Reading:
    """One rule's count of one subject. Durations are seconds.

    ``below_threshold_in`` and ``empty_in``: if nothing else happens; None if the store cannot tell (then the window
    is the longest it can be), or if there is nothing to wait for. ``refuses``: at the threshold, attempts to log in
    are refused.
    """

    rule: str
    kind: str
    subject: str
    key: str
    count: int
    threshold: int
    window: float
    threat_open: bool
    refuses: bool
    below_threshold_in: float | None = None
    empty_in: float | None = None

    @property
    def is_full(self) -> bool:
        return self.count >= self.threshold


@dataclass(frozen=True, slots=True)
class OpenThreat:
    """A threat that led to a decision and is still open."""

    rule: str
    kind: str
    subject: str
    count: int
    threshold: int
    decided_at: datetime
    reference: str


def read(who: Observation) -> list[Reading]:
    """Every rule's count of these subjects. While the store is away they are those of this process."""
    pipeline, store = get_event_logger().pipeline, get_store()
    rules, attempt = pipeline.detector.rules, pipeline.detector.records_of(who)
    findings = pipeline.run(pipeline.detector.read(attempt))  # its targets are those that links lead to, from here on
    places = [
        (target, target.panel.watches[pipeline.detector.place_of_count(target.kind, name)]._replace(rule=name))
        for target in attempt.targets
        for name in target.panel.names
    ]
    ends: dict[tuple[str, int], float] = {}
    if store.exact and not store.degraded:
        wanted = [
            _Fading(target, watch, below)
            for target, watch in places
            for below in {1, rules[watch.rule].threshold}
            if findings.counts.get(watch.rule, 0) >= below
        ]
        _find_ends(store, wanted)
        ends = {(each.watch.rule, each.below): each.seconds for each in wanted}
    return [_reading(rules[watch.rule], target, findings.counts, findings.open, ends) for target, watch in places]


def _reading(
    rule: Rule, target: Target, counts: dict[str, int], open_: set[str], ends: dict[tuple[str, int], float]
) -> Reading:
    return Reading(
        rule.name,
        target.kind,
        target.subject,
        target.key.decode(),
        counts.get(rule.name, 0),
        rule.threshold,
        float(rule.window_ms) / 1000,
        rule.name in open_,
        rule.action is not Action.LOG and EventType.LOGIN_FAILED.value in rule.events,
        ends.get((rule.name, rule.threshold)),
        ends.get((rule.name, 1)),
    )


class _Fading:
    """The search for when a count falls below a number: within ``low`` and ``high`` milliseconds from now."""

    def __init__(self, target: Target, watch: Watch, below: int) -> None:
        self.target, self.watch, self.below = target, watch, below
        self.low, self.high = 0, watch.window_ms

    @property
    def is_found(self) -> bool:
        return self.high - self.low <= _RESOLUTION

    @property
    def seconds(self) -> float:
        return self.high / 1000

    def moments(self) -> list[int]:
        step = (self.high - self.low) / (_MOMENTS + 1)
        return [self.low + int(step * number) for number in range(1, _MOMENTS + 1)]

    def op(self) -> Op:
        """What a window holds that is shorter by so much is what is left of the count after that time."""
        watches = [self.watch._replace(window_ms=self.watch.window_ms - moment) for moment in self.moments()]
        # The longest of the record's own windows stays: a store forgets what no window of a panel reaches.
        longest = max(self.target.panel.watches, key=lambda watch: watch.window_ms)
        panel = Panel([longest, *watches], lease_ms=self.target.panel.lease_ms, cap=self.target.panel.cap)
        return Op(READ, self.target.key, panel)

    def learn(self, counts: Sequence[int]) -> None:
        for moment, count in zip(self.moments(), counts[1:], strict=True):
            if count < self.below:
                self.high = moment
                return
            self.low = moment


def _find_ends(store: ResilientStore, wanted: list[_Fading]) -> None:
    while searching := [each for each in wanted if not each.is_found][:_AT_ONCE]:
        for each, reply in zip(searching, store.execute([each.op() for each in searching]), strict=True):
            each.learn(reply.counts or [0] * (_MOMENTS + 1))


# -- threats ---------------------------------------------------------------------------------------------------------


def open_threats(rule: str = "") -> list[OpenThreat]:
    """The threats behind the decisions of the longest window, as far as they are still open; the latest first.

    A threat whose rule only logs leaves no row, so that nobody can list it.
    """
    detector = get_event_logger().pipeline.detector
    longest = max((each.window_ms for each in detector.rules.values()), default=0)
    alias = database()
    since = database_now(alias) - timedelta(milliseconds=longest)
    rows: list[Block | AccountLock] = [*_decisions(Block, alias, since), *_decisions(AccountLock, alias, since)]
    rows.sort(key=lambda row: row.created_at, reverse=True)
    latest: dict[tuple[str, str], Block | AccountLock] = {}
    for row in rows:
        if row.rule in detector.rules and rule in ("", row.rule):
            latest.setdefault((row.rule, row.counter), row)
    return [threat for part in _parts(list(latest.values())) for threat in _still_open(detector, part)]


def _decisions(model: type[D], alias: str, since: datetime) -> list[D]:
    rows = model._default_manager.using(alias).filter(created_at__gt=since).exclude(counter="").exclude(rule="")
    return list(rows.order_by("-created_at")[:_MOST_DECISIONS])


def _parts(rows: list[Block | AccountLock]) -> Iterable[list[Block | AccountLock]]:
    return (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE))


def _still_open(detector: Detector, rows: list[Block | AccountLock]) -> Iterable[OpenThreat]:
    panels = panels_of(detector)
    kinds = [detector.rules[row.rule].subject for row in rows]
    replies = get_store().execute(
        [Op(READ, row.counter.encode(), panels[kind]) for row, kind in zip(rows, kinds, strict=True)]
    )
    for row, kind, reply in zip(rows, kinds, replies, strict=True):
        if reply.status == LINKED or not reply.counts:
            continue  # the record is another account's by now, or nothing is counted
        at = panels[kind].names.index(row.rule)
        if reply.threats[at] != CLOSED:
            yield OpenThreat(
                row.rule,
                kind,
                row.network if isinstance(row, Block) else row.account or row.digest,
                reply.counts[detector.place_of_count(kind, row.rule)],
                detector.rules[row.rule].threshold,
                row.created_at,
                str(row.reference),
            )


def panels_of(detector: Detector) -> dict[str, Panel]:
    """The rules over each kind of subject, as a store is asked about them."""
    text = "-"
    own = dict.fromkeys(get_settings().subjects, text)
    somebody = Observation(text, text, text, text, device=text, subjects=own)
    return {target.kind: target.panel for target in detector.records_of(somebody).targets}
