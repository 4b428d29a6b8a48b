"""Events that arise in the pipeline itself, and the lines of floods, which are aggregated."""

from __future__ import annotations

from typing import Any

from secguard import emit
from secguard.blocking.policy import Proposal
from secguard.blocking.refusals import Episode, RefusalLog
from secguard.blocking.replica import BlockEntry
from secguard.conf import MODE_VARIABLE, get_settings, until_settings_change
from secguard.context import RequestContext
from secguard.detection.detector import Attempt
from secguard.events import AT_WILL, Event, EventType, naming, new_event_id, spec_of


@until_settings_change
def get_refusals() -> RefusalLog:
    return RefusalLog()


def make_event(event_type: EventType, message: str, context: dict[str, Any], *, name: str | None = None) -> Event:
    """An event of our own, of its type's category and severity. ``name``: whom ``{}`` in the message stands for."""
    spec = spec_of(event_type)
    head = {"event_type": event_type.value, "category": spec.category.value, "severity": spec.severity.value}
    text, named = (message, None) if name is None else naming(message, name)
    return Event(event_type.value, text, spec.severity, spec.category, {**head, **context}, name=named)


def report_suppressed(network: str, reason: str, context: RequestContext, rule: str = "") -> None:
    """Say that somebody was not blocked who otherwise would be; a flood of it is aggregated."""
    _note(f"suppressed:{reason}", network, context, reason=reason, rule=rule)


def report_proposal(proposal: Proposal, context: RequestContext) -> None:
    """Say that so many addresses of a network are blocked that the network may be meant."""
    _note("proposed", proposal.network, context, blocked_addresses=proposal.count, hint=_PROPOSAL_HINT)


_PROPOSAL_HINT = (
    "Block it with 'manage.py secguard block', or set NETWORK_ACTION_IPV4 or NETWORK_ACTION_IPV6 to 'block'."
)


def note_blocked(context: RequestContext, entry: BlockEntry) -> Episode:
    """A blocked address asked for something."""
    return _note("blocked", entry.network, context, block=entry.reference)


def note_refused_attempt(context: RequestContext, attempt: Attempt) -> None:
    """A guess was refused by its reservation. The request gets the answer of a blocked one."""
    subject = attempt.observation.address or attempt.observation.account or "unknown"
    kind = f"locked:{attempt.lock}" if attempt.lock else "attempt"
    context.episode = _note(kind, subject, context, retry_after=attempt.retry_after)


def note_rate_limited(context: RequestContext, subject: str, **details: Any) -> Episode:
    """Somebody asked more often than a rate allows. ``details``: which one, and when there is room again."""
    return _note("rate", subject, context, **details)


def is_worth_a_line(event: Event, subject: str) -> bool:
    """May this event have a line? What one client brings about at will has a bounded number of them a minute.

    The first line after that stands for all since, and says so.
    """
    if event.type not in AT_WILL:
        return True
    lines = get_settings().max_lines_per_minute
    episode, due = get_refusals().note(f"repeated:{event.type}", subject, lines)
    if not due:
        emit.get_tally().add(event.type, emit.rule_of(event))
    if due > 1:
        event.message += f" ({due} times)"
        # What a project put in under these names stays.
        event.context = {"subject": subject, "count": due, "reference": episode.reference, **event.context}
    return due > 0


def note_suspicious(context: RequestContext, subject: str, *, rules: list[str]) -> Episode:
    """A request was refused because threats of these rules are open on who sent it."""
    return _note("suspicious", subject, context, rules=rules)


_REFUSALS = {
    "blocked": (EventType.REQUEST_BLOCKED, "Refused {count} of blocked address {}"),
    "attempt": (EventType.ATTEMPT_REFUSED, "Refused {count} over the limit from {}"),
    "locked": (EventType.ATTEMPT_REFUSED, "Refused {count} at a locked account from {}"),
    "suspicious": (EventType.REQUEST_BLOCKED, "Refused {count} of suspicious {}"),
    "rate": (EventType.RATE_LIMIT_EXCEEDED, "Too many requests: {count} over the rate from {}"),
    "unknown": (
        EventType.CLIENT_ADDRESS_UNKNOWN,
        "The client's address is unknown behind {}",
    ),
    "proposed": (
        EventType.NETWORK_PROPOSED,
        "Addresses of {} are blocked one after the other: the network may be meant",
    ),
    "suppressed": (EventType.BLOCK_SUPPRESSED, "Did not refuse {}, which rules would block"),
}
#: Instead of a subject, where there were so many that they have no lines of their own.
_CROWD = "({} others)"


def _note(kind: str, subject: str, context: RequestContext, **details: Any) -> Episode:
    emit.get_tally().add(_type_of(kind), details.get("rule", ""))
    episode, due = get_refusals().note(kind, subject)
    if due:
        _report_refusals(episode, due, {**details, **context.describe(context.address)})
    return episode


def _report_refusals(episode: Episode, count: int, details: dict[str, Any]) -> None:
    kind, _, detail = episode.kind.partition(":")
    event_type = _type_of(episode.kind)
    if kind == "repeated":
        message = f"{detail.replace('_', ' ').capitalize()}: {{count}} of {{}}"
    else:
        message = _REFUSALS[kind][1]
    requests = "1 request" if count == 1 else f"{count} requests"
    context = {"subject": episode.subject, "count": count, "reference": episode.reference, **details}
    if kind == "locked":
        context |= {"locked": True, "lock": detail}
    context["event_id"] = new_event_id()
    event = make_event(event_type, message.replace("{count}", requests), context, name=episode.subject)
    event.is_counted = True
    emit.emit(event)


def _type_of(kind: str) -> EventType:
    kind, _, detail = kind.partition(":")
    return EventType(detail) if kind == "repeated" else _REFUSALS[kind][0]


def report_overdue_refusals() -> None:
    """Write the lines of floods that came to rest."""
    refusals = get_refusals()
    for episode, count in refusals.overdue():
        _report_refusals(episode, count, {})
    _report_crowds(refusals)


def _report_crowds(refusals: RefusalLog) -> None:
    for kind, crowd in refusals.crowds().items():
        episode = Episode(_CROWD.format(crowd.subjects), kind, 0.0)
        _report_refusals(episode, crowd.refusals, {"subjects": crowd.subjects})


def report_all_refusals() -> None:
    """The same for all of them: the process ends."""
    refusals = get_refusals()
    for episode, count in refusals.all_unreported():
        _report_refusals(episode, count, {})
    _report_crowds(refusals)


def report_address_unknown(context: RequestContext) -> None:
    """Nobody can be told from anybody else, so that nothing is counted or refused by address."""
    reason = context.address.reason
    peer = str((context.request and context.request.META.get("REMOTE_ADDR")) or "a peer without an address")
    _note(f"unknown:{reason}", peer, context, reason=reason, hint=_UNKNOWN_HINTS[reason])


_UNKNOWN_HINTS = {
    "untrusted_forwarding_private_peer": "Name the proxy in SECGUARD['TRUSTED_PROXIES']. If there is none: 'none'.",
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
        event = make_event(EventType.MODE_OVERRIDDEN, message, details)
        event.is_counted = True  # by nobody: each command says so, and has no need of a database for it
        emit.emit(event)


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
