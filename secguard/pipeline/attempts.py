"""Attempts and other events → counters → findings: the rules at work, and the two drivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.utils.functional import LazyObject, empty

from secguard.blocking.devices import get_devices
from secguard.blocking.locks import LockEntry
from secguard.conf import get_settings
from secguard.context import RequestContext
from secguard.detection import Detector, Observation, Rule, normalize_identifier
from secguard.detection.detector import Ask, Attempt, Findings, Pause, Procedure, Trip, Turn
from secguard.detection.rule import SUBJECTS
from secguard.detection.store import Op
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.formatters.text import clean_text
from secguard.network import ClientAddress
from secguard.pipeline.decisions import follow_up, is_exempt, keep_up
from secguard.pipeline.names import are_anothers_too
from secguard.pipeline.parts import get_locks, get_replica, get_store, get_waiting_room
from secguard.pipeline.reports import note_refused_attempt
from secguard.stores.budget import request_budget

T = TypeVar("T")

_WHO = set(SUBJECTS)
#: Replies that one request may leave to be read at its end: each holds a connection to the store until then.
MAX_PENDING = 4


class Pipeline:
    """What a set of rules makes of events. One for each ``SecurityEventLogger``."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.detector = Detector(rules, key=get_settings().hmac_key)
        parts = {part for rule in self.detector.rules.values() for part in (rule.subject, rule.distinct) if part}
        self._wants_network = "network" in parts
        self._own = {name: function for name, function in get_settings().subjects.items() if name in parts}
        #: Events of which a rule counts more than who they concern.
        self._with_fields = {
            event
            for rule in self.detector.rules.values()
            if rule.distinct and rule.distinct not in _WHO
            for event in rule.events
        }

    # -- attempts ----------------------------------------------------------------------------------------

    def begin(self, context: RequestContext, account: str | None) -> tuple[Attempt, Procedure[None]]:
        """A new guess in this request, and the procedure that reserves a slot for it."""
        attempt = self.detector.attempt(self.observe(context, context.address, account))
        return attempt, self._begin(context, attempt)

    def observe(
        self,
        context: RequestContext,
        address: ClientAddress,
        account: str | None,
        user: str | None = None,
        fields: Mapping[str, Any] | None = None,
        event_type: str = EventType.LOGIN_FAILED,
    ) -> Observation:
        """Whom an event concerns, as far as the rules want to know."""
        settings = get_settings()
        may_refuse = (
            settings.enforces
            and not (address.allowlisted or address.trusted_proxy)
            and not (settings.exempt_when and is_exempt(context))
            and not get_replica().is_allowed(address)
        )
        return Observation(
            address.subject,
            address.network if self._wants_network else "",
            account,
            user,
            _counted_fields({**context.fields(), **(fields or {})}) if event_type in self._with_fields else {},
            enforce=may_refuse and address.known,
            lockable=may_refuse,
            device=self._device(context, account),
            subjects=self._own_subjects(context, account) if self._own else {},
        )

    def _device(self, context: RequestContext, account: str | None) -> str:
        """The device of this request, if it is known for the account."""
        devices = get_devices()
        if not (devices.enabled and account):
            return ""
        return devices.find(context, account, self.detector.account_digest(account))

    def _own_subjects(self, context: RequestContext, account: str | None) -> dict[str, str]:
        """What the project's own functions say whom this concerns. One that fails says nobody."""
        found = {}
        for name, function in self._own.items():
            try:
                value = function(context.request, account) if context.request is not None else None
            except Exception:
                report_failure("SECGUARD['SUBJECTS'][%r] failed; nothing is counted for it", name)
                continue
            if value:
                found[name] = clean_text(value, 2_048)
        return found

    def _begin(self, context: RequestContext, attempt: Attempt) -> Procedure[None]:
        if context.attempts:
            # An earlier guess of the request that nobody settled: unknown from here on.
            yield from self._abandon([each for each in context.attempts if each.in_flight])
        yield from self._reserve(context, attempt)
        context.attempts.append(attempt)
        if attempt.state == "refused":
            context.refused = attempt
            note_refused_attempt(context, attempt)

    def _reserve(self, context: RequestContext, attempt: Attempt) -> Procedure[None]:
        """Refuse it where the account is locked; else take a slot."""
        if self._is_locked(attempt):
            return
        account = attempt.observation.account
        was_linked = account is None or self.detector.is_linked(account)
        yield from self.detector.reserve(attempt)
        if account is None or was_linked or not self.detector.is_linked(account):
            return
        # The store told that this is another name of an account, which may be locked or know the device.
        who = attempt.observation._replace(device=self._device(context, account))
        if who == attempt.observation and self._lock(who) is None:
            return
        if attempt.in_flight:
            yield from self.detector.release(attempt)
        again = self.detector.attempt(who)
        attempt.observation, attempt.targets, attempt.findings = who, again.targets, again.findings
        attempt.state, attempt.retry_after, attempt.asked = again.state, again.retry_after, again.asked
        if not self._is_locked(attempt):
            yield from self.detector.reserve(attempt)

    def _lock(self, who: Observation) -> LockEntry | None:
        """The lock that refuses this client, looked up in memory."""
        locks = get_locks()
        if not (len(locks) and who.lockable and who.account):
            return None
        return locks.find(*self.detector.account_digests(who.account), known_device=bool(who.device))

    def _is_locked(self, attempt: Attempt) -> bool:
        entry = self._lock(attempt.observation)
        if entry is None:
            return False
        attempt.state, attempt.lock = "refused", entry.reference
        # As for a limit: how long somebody else decided that it lasts is nothing for strangers.
        left = min(entry.expires - get_locks().clock(), get_settings().lock_duration)
        attempt.retry_after = max(1, ceil(left))
        return True

    def failed(self, context: RequestContext, who: Observation, alias: str | None = None) -> Findings:
        """Count a failed guess: the one that was reserved, or else one that comes from the signal alone."""
        attempt = _attempt_of(context, who)
        if attempt is None:
            attempt = self.detector.attempt(who)
            attempt.state = "failed"
            return self.run(self.detector.record(attempt))
        attempt.state, attempt.alias = "failed", alias
        if _may_wait(context) and not attempt.findings.predicts_threat(self.detector.rules):
            # The reservation's reply told the counts. This write's own is read when the view is done.
            context.pending.append((get_store().send(self.detector.fail_ops(attempt)), attempt))
            return attempt.findings
        return self.run(self.detector.record(attempt))

    def passed(
        self, context: RequestContext, who: Observation, link: str | None = None, names: Sequence[str] = ()
    ) -> Findings:
        """The guess was right: free its slot and forgive the failures of this account from this address.

        ``names``: the user's identifiers, the canonical one first: any of them may have been typed, where no
        reservation tells.
        """
        attempt = _attempt_of(context, who)
        if attempt is None:
            done = [each for each in context.attempts if each.state == "passed"]
            return (
                before_success(done[-1].findings, self.detector.rules) if done else self._passed_unreserved(who, names)
            )
        attempt.state, attempt.link = "passed", link
        # Of the same request only his own: a batch of guesses at others must not end in one's own login.
        own = {*names, attempt.observation.account}
        earlier = [each for each in context.attempts if each.state == "failed" and each.observation.account in own]
        forgives = True
        if earlier or self.detector.may_forgive(attempt):
            accounts = {attempt.observation.account, *names[:1], *(each.observation.account for each in earlier)}
            forgives = not are_anothers_too(accounts, who.user)
        ops = [
            *self.detector.success_ops(attempt.observation, link),
            # The link comes last: its reply is looked for there.
            *self.detector.pass_ops(attempt, earlier if forgives else (), link, forgives=forgives),
        ]
        if _may_wait(context):
            context.pending.append((get_store().send(ops), attempt))
        else:
            self.detector.passed(attempt, get_store().execute(ops))
        return before_success(attempt.findings, self.detector.rules)

    def _passed_unreserved(self, who: Observation, names: Sequence[str]) -> Findings:
        """Without a reservation nobody knows what was typed. Only the user name is surely the user's own: a mail
        address that somebody put into his profile may be the one he is guessing at."""
        if not (who.address and names):
            return Findings()
        attempt = self.detector.attempt(who._replace(account=names[0]))
        findings = self.run(self.detector.read(attempt))
        ops = self.detector.success_ops(attempt.observation)
        if any(findings.counts.values()) and not are_anothers_too(names[:1], who.user):
            ops += self.detector.pass_ops(attempt)
        if ops:
            get_store().execute(ops)
        return findings

    def collect(self, context: RequestContext) -> None:
        """Read the replies that the request did not wait for, and follow up what opened meanwhile."""
        pending, context.pending = context.pending, []
        for write, attempt in pending:
            replies = write.collect()
            if attempt.state != "failed":
                self.detector.passed(attempt, replies)
            elif self.detector.is_remarkable(attempt, replies):
                findings = self.run(self.detector.recorded(attempt, replies))
                follow_up(findings.opened, context, context.address, attempt.alias)
                keep_up(findings.continued, context, context.address)

    def finish(self, context: RequestContext) -> Procedure[None]:
        """Settle what is unsettled at the end of a request."""
        in_flight = [attempt for attempt in context.attempts if attempt.in_flight]
        if in_flight and _was_authenticated(context):
            # HTTP Basic and the like: authenticate() succeeded, and nobody called login().
            user = context.request.user  # type: ignore[union-attr] # asked a moment ago
            canonical = normalize_identifier(user.get_username())
            for attempt in in_flight:
                attempt.state, forgives = "passed", True
                if self.detector.may_forgive(attempt):
                    names = (attempt.observation.account, canonical)
                    forgives = not (yield Ask(partial(are_anothers_too, names, str(user.pk))))
                yield Trip(self.detector.pass_ops(attempt, forgives=forgives))
        else:
            yield from self._abandon(in_flight)

    def _abandon(self, attempts: list[Attempt]) -> Procedure[None]:
        ops: list[Op] = []
        for attempt in attempts:
            attempt.state = "unknown"
            ops += self.detector.abandon_ops(attempt)
        if ops:
            yield Trip(ops)

    def counted(self, event_type: str, who: Observation) -> Findings:
        """Count an event of any other type, if a rule is interested."""
        if not self.detector.watches(event_type):
            return Findings()
        attempt = Attempt(who, self.detector.targets(event_type, who))
        return self.run(self.detector.record(attempt))

    def forgive(self, event_types: Iterable[str], who: Observation) -> None:
        """Somebody got it right in the end: what he got wrong before, from the same address, is forgotten."""
        ops = self.detector.forgive_ops(event_types, who)
        if ops:
            get_store().execute(ops)

    def findings(self, *, address: ClientAddress | None = None, account: str | None = None) -> Findings:
        """What the counters say of an address or an account now."""
        return self.run(self.detector.read(self.detector.records_of(self._subjects(address, account))))

    def forget(self, *, address: ClientAddress | None = None, account: str | None = None) -> None:
        """Close the threats of an address or an account, and count from nought."""
        self.run(self.detector.reset(self.detector.records_of(self._subjects(address, account))))

    @staticmethod
    def _subjects(address: ClientAddress | None, account: str | None) -> Observation:
        if address is None:
            return Observation(account=account)
        return Observation(address.subject, address.network, account)

    # -- drivers: the same procedures, with and without await --------------------------------------------

    def run(self, procedure: Procedure[T]) -> T:
        store = get_store()
        answer: Any = None
        with get_waiting_room().stay(get_settings().reserve_wait) as stay:
            try:
                while True:
                    step = procedure.send(answer)
                    if type(step) is Trip:
                        answer = store.execute(step.ops)
                    elif type(step) is Turn:
                        answer = stay.take_turn(step.key)
                    elif type(step) is Ask:
                        answer = step.question()
                    elif type(step) is Pause and (answer := stay.may_pause(step.queuing)):
                        time.sleep(step.seconds)
                        request_budget().renew()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]

    async def arun(self, procedure: Procedure[T]) -> T:
        store = get_store()
        answer: Any = None
        with get_waiting_room().astay(get_settings().reserve_wait) as stay:
            try:
                while True:
                    step = procedure.send(answer)
                    if type(step) is Trip:
                        answer = await store.aexecute(step.ops)
                    elif type(step) is Turn:
                        answer = stay.take_turn(step.key)
                    elif type(step) is Ask:
                        answer = await sync_to_async(step.question)()
                    elif type(step) is Pause and (answer := stay.may_pause(step.queuing)):
                        await asyncio.sleep(step.seconds)
                        request_budget().renew()
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]


def _attempt_of(context: RequestContext, who: Observation) -> Attempt | None:
    """The attempt that an outcome is of. It is settled by its id, so that none counts twice."""
    return context.open_attempt(who.account) or context.open_attempt() or context.abandoned_attempt(who.account)


def _may_wait(context: RequestContext) -> bool:
    """May the reply to a write be read at the end of the request?"""
    return context.collects and len(context.pending) < MAX_PENDING


def before_success(findings: Findings, rules: Mapping[str, Rule]) -> Findings:
    """A reservation tells the counts as they would be after a failure; this attempt was none.

    Different values are one less only if the value is new, which a reservation does not tell: they are
    nought if there was no event before, and else at most one too many.
    """
    counts = {name: max(0, count - 1) for name, count in findings.counts.items() if rules[name].distinct is None}
    before = {(rules[name].subject, rules[name].events): count for name, count in counts.items()}
    for name, count in findings.counts.items():
        if name not in counts:
            subject, watched = rules[name].subject, rules[name].events
            failures = before.get((subject, (EventType.LOGIN_FAILED.value,)))
            most = failures if len(watched) == 1 else count  # events of other types bring values too
            counts[name] = min(count, most) if failures and most is not None else max(0, count - 1)
    return Findings(counts, findings.open)


def _counted_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """What rules count is hostile: nothing that is put in may raise, or be longer than anybody reads."""
    return {name: clean_text(value, 2_048) for name, value in fields.items() if value is not None}


def _was_authenticated(context: RequestContext) -> bool:
    """Did authenticate() put a user on the request? Only it marks a user with its backend."""
    user = getattr(context.request, "__dict__", {}).get("user")
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return False
    return bool(getattr(user, "is_authenticated", False) and getattr(user, "backend", None))
