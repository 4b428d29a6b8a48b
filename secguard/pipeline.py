"""event → detect → emit → decide: the one place that knows them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from django.utils.functional import LazyObject, empty

from secguard import emit, signals
from secguard.blocking.policy import BlockRequest, Suppressed, decide
from secguard.blocking.refusals import Episode, RefusalLog
from secguard.blocking.replica import FOREVER, BlockEntry, Replica
from secguard.blocking.waiting import WaitingRoom
from secguard.conf import MODE_VARIABLE, get_settings, until_settings_change
from secguard.context import RequestContext, current
from secguard.detection import Detector, Observation, Rule, Threat
from secguard.detection.detector import Attempt, Findings, Pause, Procedure, Trip, Turn
from secguard.detection.store import Op
from secguard.events import Event, EventType, new_event_id, spec_of
from secguard.formatters.text import clean_text
from secguard.network import ClientAddress
from secguard.stores import ResilientStore, choose_store

T = TypeVar("T")

_WHO = {"address", "network", "account", "pair", "user"}
#: Saves what was decided outside a request; wired by the app, since the database is a room above.
save_now: Callable[[list[Any]], None] | None = None


@until_settings_change
def get_store() -> ResilientStore:
    """The counters, behind everything that protects a user from them."""
    settings = get_settings()
    return ResilientStore(
        choose_store(settings), fail_mode=settings.fail_mode, on_degraded=_degraded, on_recovered=_recovered
    )


@until_settings_change
def get_replica() -> Replica:
    """The blocks in force, as this process knows them."""
    return Replica()


@until_settings_change
def get_refusals() -> RefusalLog:
    return RefusalLog()


@until_settings_change
def get_waiting_room() -> WaitingRoom:
    return WaitingRoom(get_settings().reserve_max_waiters)


class Pipeline:
    """What a set of rules makes of events. One for each ``SecurityEventLogger``."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.detector = Detector(rules, key=get_settings().hmac_key)
        parts = {part for rule in self.detector.rules.values() for part in (rule.subject, rule.distinct) if part}
        self._wants_network = "network" in parts
        self._wants_fields = bool(parts - _WHO)

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
    ) -> Observation:
        """Whom an event concerns, as far as the rules want to know."""
        return Observation(
            address.subject,
            address.network if self._wants_network else "",
            account,
            user,
            _counted_fields({**context.fields(), **(fields or {})}) if self._wants_fields else {},
            get_settings().enforces and not address.exempt,
        )

    def _begin(self, context: RequestContext, attempt: Attempt) -> Procedure[None]:
        if context.attempts:
            # An earlier guess of the request that nobody settled: unknown from here on.
            yield from self._abandon([each for each in context.attempts if each.in_flight])
        yield from self.detector.reserve(attempt)
        context.attempts.append(attempt)
        if attempt.state == "refused":
            context.refused = attempt
            note_refused_attempt(context, attempt)

    def failed(self, context: RequestContext, who: Observation, alias: str | None = None) -> Findings:
        """Count a failed guess: the one that was reserved, or else one that comes from the signal alone."""
        attempt = context.open_attempt(who.account) or context.open_attempt()
        if attempt is None:
            attempt = self.detector.attempt(who)
            attempt.state = "failed"
            return self.run(self.detector.record(attempt))
        attempt.state, attempt.alias = "failed", alias
        if context.collects and not attempt.findings.predicts_threat(self.detector.rules):
            # The reservation's reply told the counts. This write's own is read when the view is done.
            context.pending.append((get_store().send(self.detector.fail_ops(attempt)), attempt))
            return attempt.findings
        return self.run(self.detector.record(attempt))

    def passed(
        self, context: RequestContext, who: Observation, link: str | None = None, names: Sequence[str] = ()
    ) -> Findings:
        """The guess was right: free its slot and forgive the failures of this account from this address.

        ``names``: the user's identifiers, any of which may have been typed, where no reservation tells.
        """
        attempt = context.open_attempt(who.account) or context.open_attempt()
        if attempt is None:
            done = [each for each in context.attempts if each.state == "passed"]
            return (
                before_success(done[-1].findings, self.detector.rules) if done else self._passed_unreserved(who, names)
            )
        attempt.state = "passed"
        # Of the same request only his own: a batch of guesses at others must not end in one's own login.
        own = {*names, attempt.observation.account}
        earlier = [each for each in context.attempts if each.state == "failed" and each.observation.account in own]
        ops = self.detector.pass_ops(attempt, earlier, link)
        if context.collects:
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
        if any(findings.counts.values()):
            get_store().execute(self.detector.pass_ops(attempt))
        return findings

    def collect(self, context: RequestContext) -> None:
        """Read the replies that the request did not wait for, and follow up what opened meanwhile."""
        pending, context.pending = context.pending, []
        for write, attempt in pending:
            replies = write.collect()
            if attempt.state != "failed":
                self.detector.passed(attempt, replies)
            elif any(reply.status or any(reply.threats) for reply in replies):
                findings = self.run(self.detector.recorded(attempt, replies))
                self.follow_up(findings.opened, context, context.address, attempt.alias)
                self.keep_up(findings.continued, context, context.address)

    def finish(self, context: RequestContext) -> Procedure[None]:
        """Settle what is unsettled at the end of a request."""
        in_flight = [attempt for attempt in context.attempts if attempt.in_flight]
        if in_flight and _was_authenticated(context):
            # HTTP Basic and the like: authenticate() succeeded, and nobody called login().
            for attempt in in_flight:
                attempt.state = "passed"
                yield Trip(self.detector.pass_ops(attempt))
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

    # -- threats -----------------------------------------------------------------------------------------

    def follow_up(
        self,
        threats: Iterable[Threat],
        context: RequestContext,
        address: ClientAddress,
        alias: str | None = None,
    ) -> None:
        """Make threats known, and block where the rule and the policy say so.

        ``alias``: what the log shows instead of the account's name.
        """
        for threat in threats:
            if alias and threat.rule.subject in ("account", "pair"):
                threat = replace(threat, subject=alias)
            event = _threat_event(threat, context, address)
            emit.emit(event)
            emit.send(signals.threat_detected, threat=threat, event=event, request=context.request)
            decision = decide(threat, address, get_settings(), len(get_replica()))
            if isinstance(decision, BlockRequest):
                block(decision, context)
            elif isinstance(decision, Suppressed):
                report_suppressed(decision.network, decision.reason, context, rule=decision.rule)

    def keep_up(self, threats: Iterable[Threat], context: RequestContext, address: ClientAddress) -> None:
        """An attack goes on. If its block ended before its threat did, block again; the threat is known."""
        for threat in threats:
            if address.known and get_replica().find(address) is not None:
                return
            decision = decide(threat, address, get_settings(), len(get_replica()))
            if isinstance(decision, BlockRequest):
                block(decision, context)

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
                    elif type(step) is Pause and (answer := stay.may_pause(step.queuing)):
                        time.sleep(step.seconds)
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
                    elif type(step) is Pause and (answer := stay.may_pause(step.queuing)):
                        await asyncio.sleep(step.seconds)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]


def before_success(findings: Findings, rules: Mapping[str, Rule]) -> Findings:
    """A reservation tells the counts as they would be after a failure; this attempt was none.

    Different values are one less only if the value is new, which a reservation does not tell: they are
    nought if there was no event before, and else at most one too many.
    """
    counts = {name: max(0, count - 1) for name, count in findings.counts.items() if rules[name].distinct is None}
    before = {(rules[name].subject, rules[name].events): count for name, count in counts.items()}
    for name, count in findings.counts.items():
        if name not in counts:
            events = before.get((rules[name].subject, rules[name].events))
            counts[name] = 0 if events == 0 else count - 1 if events is None else min(count, events)
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


# -- events that arise here ------------------------------------------------------------------------------


def make_event(event_type: EventType, message: str, context: dict[str, Any]) -> Event:
    """An event of our own, of its type's category and severity."""
    spec = spec_of(event_type)
    head = {"event_type": event_type.value, "category": spec.category.value, "severity": spec.severity.value}
    return Event(event_type.value, message, spec.severity, spec.category, {**head, **context})


def _threat_event(threat: Threat, context: RequestContext, address: ClientAddress) -> Event:
    rule = threat.rule
    event = make_event(
        EventType.SUSPICIOUS_ACTIVITY,
        f"Threat {rule.name}: {threat.count} on {rule.subject} {threat.subject} within {rule.window:g} s",
        {
            "rule": rule.name,
            "subject": threat.subject,
            "subject_type": rule.subject,
            "count": threat.count,
            "threshold": rule.threshold,
            "window_seconds": rule.window,
            "technique": rule.technique,
            "action": rule.action.value,
            **context.describe(address),
            "is_suspicious": True,
            "event_id": new_event_id(),
        },
    )
    event.severity = rule.severity
    event.context["severity"] = rule.severity.value
    return event


def block(request: BlockRequest, context: RequestContext, *, saved: bool = False) -> None:
    """Put a block in force in this process at once, make it known, and have it saved unless it is."""
    replica = get_replica()
    expires = FOREVER if request.duration is None else replica.clock() + request.duration
    replica.raise_here(BlockEntry(request.network, request.reference, expires))
    emit.emit(
        make_event(
            EventType.ADDRESS_BLOCKED,
            f"Blocked {request.network}" + ("" if request.duration is None else f" for {request.duration:g} s"),
            {
                "subject": request.network,
                "rule": request.rule,
                "reason": request.reason,
                "duration_seconds": request.duration,
                "by": request.by,
                "reference": request.reference,
                **context.describe(context.address),
                "event_id": new_event_id(),
            },
        )
    )
    emit.send(
        signals.address_blocked,
        network=request.network,
        rule=request.rule,
        duration=request.duration,
        reference=request.reference,
    )
    if saved:
        return
    if context is current() and not context.finished:
        context.rows.append(request)
    elif save_now is not None:
        save_now([request])


def report_suppressed(network: str, reason: str, context: RequestContext, rule: str = "") -> None:
    """Say that somebody was not blocked who otherwise would be; a flood of it is aggregated."""
    _note(f"suppressed:{reason}", network, context, reason=reason, rule=rule)


def note_blocked(context: RequestContext, entry: BlockEntry) -> Episode:
    """A blocked address asked for something."""
    return _note("blocked", entry.network, context, block=entry.reference)


def note_refused_attempt(context: RequestContext, attempt: Attempt) -> None:
    """A guess was refused by its reservation. The request gets the answer of a blocked one."""
    subject = attempt.observation.address or attempt.observation.account or "unknown"
    context.episode = _note("attempt", subject, context, retry_after=attempt.retry_after)


_REFUSALS = {
    "blocked": (EventType.REQUEST_BLOCKED, "Refused {count} of blocked address {subject}"),
    "attempt": (EventType.ATTEMPT_REFUSED, "Refused {count} over the limit from {subject}"),
    "unknown": (
        EventType.CLIENT_ADDRESS_UNKNOWN,
        "The client's address is unknown behind {subject}",
    ),
    "suppressed": (EventType.BLOCK_SUPPRESSED, "Did not refuse {subject}, which rules would block"),
}


def _note(kind: str, subject: str, context: RequestContext, **details: Any) -> Episode:
    episode, due = get_refusals().note(kind, subject)
    if due:
        _report_refusals(episode, due, {**details, **context.describe(context.address)})
    return episode


def _report_refusals(episode: Episode, count: int, details: dict[str, Any]) -> None:
    event_type, message = _REFUSALS[episode.kind.partition(":")[0]]
    requests = "1 request" if count == 1 else f"{count} requests"
    context = {"subject": episode.subject, "count": count, "reference": episode.reference, **details}
    context["event_id"] = new_event_id()
    emit.emit(make_event(event_type, message.format(count=requests, subject=episode.subject), context))


def report_overdue_refusals() -> None:
    """Write the lines of floods that came to rest."""
    for episode, count in get_refusals().overdue():
        _report_refusals(episode, count, {})


def report_all_refusals() -> None:
    """The same for all of them: the process ends."""
    for episode, count in get_refusals().all_unreported():
        _report_refusals(episode, count, {})


def report_address_unknown(context: RequestContext) -> None:
    """Nobody can be told from anybody else, so that nothing is counted or refused by address."""
    reason = context.address.reason
    peer = str((context.request and context.request.META.get("REMOTE_ADDR")) or "a peer without an address")
    _note(f"unknown:{reason}", peer, context, reason=reason, hint=_UNKNOWN_HINTS[reason])


_UNKNOWN_HINTS = {
    "untrusted_forwarding_private_peer": "Name the proxy in SECGUARD['TRUSTED_PROXIES'].",
    "no_remote_address": "Behind a unix socket put 'unix' into SECGUARD['TRUSTED_PROXIES'].",
    "malformed_header": "Look at what the proxy sends in SECGUARD['CLIENT_IP_HEADER'].",
    "no_client_in_header": "Let the proxy send SECGUARD['CLIENT_IP_HEADER'].",
}


def report_mode_override() -> None:
    """Say at start that the environment overrides MODE."""
    settings = get_settings()
    if settings.mode_overridden:
        message = f"SECGUARD['MODE'] is overridden by the environment: {settings.mode}"
        details = {"mode": settings.mode, "variable": MODE_VARIABLE, "event_id": new_event_id()}
        emit.emit(make_event(EventType.MODE_OVERRIDDEN, message, details))


def report_degraded(component: str, error: BaseException, hint: str = "") -> None:
    """Say once an episode that a part of the guard does not work, and what that means."""
    text = f"{type(error).__name__}: {error}".strip()
    emit.emit(
        make_event(
            EventType.DEGRADED,
            f"The {component} is away: {text}",
            {"component": component, "error": text, "hint": hint, "event_id": new_event_id()},
        )
    )


def report_recovered(component: str, seconds: float, **details: Any) -> None:
    context = {"component": component, "seconds": round(seconds, 3), **details, "event_id": new_event_id()}
    emit.emit(make_event(EventType.RECOVERED, f"The {component} is back after {seconds:.1f} s", context))


_FAIL_MODE_HINTS = {
    "local": "Counting goes on in each process; blocks stay in force.",
    "open": "Nothing is counted; blocks stay in force.",
    "closed": "Logins are refused until the store is back.",
}


def _degraded(error: Exception) -> None:
    report_degraded("store", error, _FAIL_MODE_HINTS[get_settings().fail_mode])


def _recovered(seconds: float, operations: int) -> None:
    report_recovered("store", seconds, local_operations=operations)
