"""From threats to what follows: the critical line, the signal, and a block where rule and policy say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from secguard import emit, signals
from secguard.blocking.policy import BlockRequest, Suppressed, decide
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.conf import get_settings
from secguard.context import RequestContext, current
from secguard.detection import Threat
from secguard.events import Event, EventType, new_event_id
from secguard.network import ClientAddress
from secguard.pipeline.parts import get_replica
from secguard.pipeline.reports import make_event, report_suppressed

#: Saves what was decided outside a request; wired by the app, since the database is a room above.
save_now: Callable[[list[Any]], None] | None = None


def follow_up(
    threats: Iterable[Threat], context: RequestContext, address: ClientAddress, alias: str | None = None
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


def keep_up(threats: Iterable[Threat], context: RequestContext, address: ClientAddress) -> None:
    """An attack goes on. If its block ended before its threat did, block again; the threat is known."""
    for threat in threats:
        if address.known and get_replica().find(address) is not None:
            return
        decision = decide(threat, address, get_settings(), len(get_replica()))
        if isinstance(decision, BlockRequest):
            block(decision, context)


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
