"""What the pages of an address and of an account share: what happened, the counters, the decisions, the buttons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext as _

from secguard.admin.access import MANAGE, may
from secguard.admin.links import page
from secguard.admin.narrowing import Condition, narrow
from secguard.admin.wording import duration, moment, never_refused, severity_badge, shown, state_badge, told
from secguard.models import AccountLock, AllowedNetwork, Block, EventRecord
from secguard.pipeline import get_store
from secguard.records import database
from secguard.records.explain import Explanation, Past
from secguard.records.readings import Reading

#: Events that are shown, that are looked at for what else the subject touched, and how much of that is shown.
TIMELINE, LOOKED_AT, MOST_TOUCHED = 25, 500, 15
_MODELS: dict[str, type[Block | AllowedNetwork | AccountLock]] = {
    "block": Block,
    "allowed": AllowedNetwork,
    "lock": AccountLock,
}


class Touched(NamedTuple):
    """Something that a subject's latest events name, and how many of them do."""

    label: str
    number: int
    link: str | None = None


def latest(whose: Condition) -> list[EventRecord]:
    """The events that a page is made of, from an index's end."""
    events = narrow(EventRecord.objects.order_by("-timestamp", "-pk"), [whose]).events
    return list(events.defer("extra")[:LOOKED_AT])


def timeline(site: admin.AdminSite, events: list[EventRecord]) -> list[dict[str, Any]]:
    """The latest few, as they are shown."""
    return [
        {
            "time": moment(event.timestamp),
            "link": page(site, "secguard_eventrecord_change", event.pk),
            "type": event.event_type,
            "severity": severity_badge(event.severity),
            "message": shown(event.message, 512),
            "rule": shown(event.rule),
            "count": event.count,
        }
        for event in events[:TIMELINE]
    ]


def touched(
    events: Iterable[EventRecord], tell: Callable[[EventRecord], tuple[str, str]], link: Any = None
) -> list[Touched]:
    """What most of the events name. ``tell``: an event → what it names, and how that is shown."""
    counts: Counter[str] = Counter()
    labels: dict[str, str] = {}
    for event in events:
        value, label = tell(event)
        if value:
            counts[value] += 1
            labels.setdefault(value, label)
    return [
        Touched(shown(labels[value] or value, 120), number, link(value) if link else None)
        for value, number in counts.most_common(MOST_TOUCHED)
    ]


def _agents(events: Iterable[EventRecord]) -> list[Touched]:
    return touched(events, lambda event: (event.user_agent, event.user_agent))


def _countries(events: Iterable[EventRecord]) -> list[Touched]:
    return touched(events, lambda event: (event.country, event.country))


def context(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, found: Explanation, events: list[EventRecord]
) -> dict[str, Any]:
    """What both templates are given."""
    site, manages = model_admin.admin_site, may(request, MANAGE)
    facts = [(_("A request"), told(found.request))] if found.request else []
    facts.append((_("A login"), told(found.login)))
    pardoned = never_refused(found)
    facts += [(_("Never refused, by"), pardoned)] if pardoned else []
    return {
        **site.each_context(request),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "subject": shown(found.subject),
        "refused": (found.request or found.login).refused or found.login.refused,
        "facts": facts,
        "counters": [_counter(each) for each in found.readings],
        "threats": [each.rule for each in found.readings if each.threat_open],
        "counters_known": found.counters_known,
        "counters_shared": get_store().shared,
        "decisions": _decisions(site, found.history, manages, lambda model: may(request, f"secguard.view_{model}")),
        "manages": manages,
        "events": timeline(site, events),
        "number": len(events),
        "agents": _agents(events),
        "countries": _countries(events),
        "agents_heading": _("User agents"),
        "countries_heading": _("Countries"),
    }


def _counter(reading: Reading) -> dict[str, Any]:
    ends = reading.below_threshold_in if reading.is_full else reading.empty_in
    if not reading.count:
        waits = ""
    elif ends is None:  # an approximate store knows that it is within the window
        waits = _("within %s") % duration(reading.window)
    else:
        waits = _("in %s") % duration(ends)
    return {
        "rule": reading.rule,
        "kind": reading.kind,
        "count": reading.count,
        "threshold": reading.threshold,
        "window": duration(reading.window),
        "open": reading.threat_open,
        "full": reading.is_full,
        "ends": waits,
    }


def _decisions(
    site: admin.AdminSite, history: list[Past], manages: bool, may_view: Callable[[str | None], bool]
) -> list[dict[str, Any]]:
    keys = _keys(history)
    kinds = {"block": _("block"), "allowed": _("allowed"), "lock": _("lock")}
    rows = []
    for past in history:
        model, key = _MODELS[past.kind]._meta.model_name, keys.get(past.reference)
        holds, scope = past.state == "in force", AccountLock.Scope(past.scope).label if past.scope else ""
        rows.append(
            {
                "kind": f"{kinds[past.kind]} ({scope})" if scope else kinds[past.kind],
                "subject": shown(past.subject),
                "state": state_badge(past.state),
                "by": shown(past.rule or past.list_name or past.created_by),
                "reason": shown(past.reason),
                "since": moment(past.created_at),
                "ends": moment(past.expires_at),
                "left": duration(past.seconds_left) if past.seconds_left else "",
                "lifted_at": moment(past.lifted_at),
                "lifted_by": shown(past.lifted_by),
                "lift_reason": shown(past.lift_reason),
                "reference": past.reference,
                "url": page(site, f"secguard_{model}_change", key) if key and (manages or may_view(model)) else None,
                "lift_url": page(site, f"secguard_{model}_lift", key) if key and holds and manages else None,
            }
        )
    return rows


def _keys(history: list[Past]) -> dict[str, int]:
    """Reference → primary key: a query for each kind of decision that there is."""
    found: dict[str, int] = {}
    for kind in dict.fromkeys(each.kind for each in history):
        references = [each.reference for each in history if each.kind == kind]
        rows = _MODELS[kind]._default_manager.using(database()).filter(reference__in=references)
        found |= {str(reference): key for reference, key in rows.values_list("reference", "pk")}
    return found
