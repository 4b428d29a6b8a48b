"""From threats to what follows: the critical line, the signal, and a block or a lock where rule and policy say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from secguard import emit, signals
from secguard.blocking.locks import LockEntry
from secguard.blocking.policy import BlockRequest, LockRequest, Policy, Proposal, Suppressed
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.conf import get_settings, until_settings_change
from secguard.context import RequestContext, current
from secguard.detection import Threat
from secguard.detection.store import RESET, Op, Panel
from secguard.events import Event, EventType, new_event_id
from secguard.failures import report_failure
from secguard.network import ClientAddress
from secguard.pipeline.parts import get_locks, get_replica, get_store
from secguard.pipeline.reports import make_event, report_proposal, report_suppressed
from secguard.privacy import shown_address

#: Saves what was decided outside a request; wired by the app, since the database is a room above.
save_now: Callable[[list[Any]], None] | None = None
#: How many blocks of rules a network had lately; wired likewise.
count_offences: Callable[[str], int] | None = None


@until_settings_change
def get_policy() -> Policy:
    return Policy(get_settings(), get_replica(), _offences)


def _offences(network: str) -> int:
    if count_offences is None:
        return 0
    try:
        return count_offences(network)
    except Exception:
        report_failure(
            "earlier offences of %s could not be counted; its block lasts as long as a first one",
            shown_address(network),
        )
        return 0


def is_exempt(context: RequestContext) -> bool:
    """Does the project's own function say that nothing may refuse this request? Asked once a request."""
    if context.exempt is None:
        ask = get_settings().exempt_when
        try:
            context.exempt = bool(ask and context.request is not None and ask(context.request))
        except Exception:
            context.exempt = False
            report_failure("SECGUARD['EXEMPT_WHEN'] failed; nobody is exempt by it")
    return context.exempt


def follow_up(
    threats: Iterable[Threat],
    context: RequestContext,
    address: ClientAddress,
    alias: str | None = None,
    **details: Any,
) -> None:
    """Make threats known, and block or lock where the rule and the policy say so.

    ``alias``: what the log shows instead of the account's name. ``details``: what else the critical line shows.
    """
    for threat in threats:
        if alias and threat.rule.subject in ("account", "pair"):
            threat = replace(threat, subject=alias)
        event = _threat_event(threat, context, address, details)
        emit.emit(event)
        emit.send(signals.threat_detected, threat=threat, event=event, request=context.request)
        decision = get_policy().decide(threat, address, exempt=is_exempt(context))
        if isinstance(decision, BlockRequest):
            block(decision, context)
            _widen(threat, context, address)
        elif isinstance(decision, LockRequest):
            lock(decision, context)
            _start_afresh(threat, decision)
        elif isinstance(decision, Suppressed):
            report_suppressed(decision.subject, decision.reason, context, rule=decision.rule)


def keep_up(threats: Iterable[Threat], context: RequestContext, address: ClientAddress) -> None:
    """An attack goes on. If its block or lock ended before its threat did, decide again; the threat is known."""
    for threat in threats:
        if threat.rule.subject != "account" and address.known and get_replica().find(address) is not None:
            continue
        decision = get_policy().decide(threat, address, exempt=is_exempt(context))
        if isinstance(decision, BlockRequest):
            block(decision, context)
            _widen(threat, context, address)
        elif isinstance(decision, LockRequest) and get_locks().find(decision.digest) is None:
            lock(decision, context)


def _widen(threat: Threat, context: RequestContext, address: ClientAddress) -> None:
    wider = get_policy().widen(threat, address)
    if isinstance(wider, Proposal):
        report_proposal(wider, context)
    elif wider is not None:
        block(wider, context)


def _threat_event(threat: Threat, context: RequestContext, address: ClientAddress, details: dict[str, Any]) -> Event:
    rule = threat.rule
    event = make_event(
        EventType.SUSPICIOUS_ACTIVITY,
        f"Threat {rule.name}: {threat.count} on {rule.subject} {{}} within {rule.window:g} s",
        {
            "rule": rule.name,
            "subject": threat.subject,
            "subject_type": rule.subject,
            "count": threat.count,
            "threshold": rule.threshold,
            "window_seconds": rule.window,
            "technique": rule.technique,
            "action": rule.action.value,
            **details,
            **context.describe(address),
            "is_suspicious": True,
            "event_id": new_event_id(),
        },
        name=threat.subject,
    )
    event.severity = rule.severity
    event.context["severity"] = rule.severity.value
    return event


def block(request: BlockRequest, context: RequestContext, *, saved: bool = False) -> None:
    """Put a block in force in this process at once, make it known, and have it saved unless it is."""
    replica = get_replica()
    expires = FOREVER if request.duration is None else replica.clock() + request.duration
    replica.raise_here(BlockEntry(request.network, request.reference, expires, automatic=bool(request.rule)))
    emit.emit(
        make_event(
            EventType.ADDRESS_BLOCKED,
            "Blocked {}" + ("" if request.duration is None else f" for {request.duration:g} s"),
            {
                "subject": request.network,
                "rule": request.rule,
                "reason": request.reason,
                "duration_seconds": None if request.duration is None else round(request.duration, 1),
                "offence": request.offence,
                "by": request.by,
                "reference": request.reference,
                **context.describe(context.address),
                "event_id": new_event_id(),
            },
            name=request.network,
        )
    )
    emit.send(
        signals.address_blocked,
        network=request.network,
        rule=request.rule,
        duration=request.duration,
        reference=request.reference,
    )
    if not saved:
        have_saved(request, context)


def lock(request: LockRequest, context: RequestContext, *, saved: bool = False) -> None:
    """Put a lock of an account in force in this process at once, make it known, and have it saved unless it is."""
    locks = get_locks()
    expires = FOREVER if request.duration is None else locks.clock() + request.duration
    locks.raise_here(LockEntry(request.digest, request.reference, expires, request.scope))
    event = make_event(
        EventType.ACCOUNT_LOCKED,
        "Account {} locked" + ("" if request.duration is None else f" for {request.duration:g} s"),
        {
            "username": request.account,
            "rule": request.rule,
            "reason": request.reason,
            "scope": request.scope,
            "duration_seconds": request.duration,
            "by": request.by,
            "reference": request.reference,
            **context.describe(context.address),
            "event_id": new_event_id(),
        },
        name=request.account,
    )
    emit.emit(event)
    emit.send(signals.account_locked, account=request.account, rule=request.rule)
    if not saved:
        have_saved(request, context)


def _start_afresh(threat: Threat, request: LockRequest) -> None:
    """Failures that outlast the lock would go on refusing when it has ended: let the count begin at nought."""
    if request.duration is not None and threat.rule.window_ms > request.duration * 1000:
        get_store().execute([Op(RESET, threat.key, Panel((), lease_ms=0, cap=0))])


def have_saved(request: object, context: RequestContext | None) -> None:
    """Have it saved: by the middleware once the view's transaction has ended, or at once where none waits for that."""
    if context is not None and context is current() and not context.finished:
        context.rows.append(request)
    elif save_now is not None:
        save_now([request])
