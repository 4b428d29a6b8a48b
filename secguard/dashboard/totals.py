"""The numbers at the top of the page."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from secguard.dashboard.links import Links
from secguard.dashboard.state import InForce
from secguard.dashboard.threats import Threats
from secguard.dashboard.trends import SHOWN, Trends
from secguard.dashboard.windows import Frame
from secguard.events import EventType

_LABELS: dict[str, str | Promise] = {
    "failed": _("Failed logins"),
    "succeeded": _("Successful logins"),
    "refused": _("Refused attempts"),
    "blocked": _("Refused requests"),
}


class Tile(NamedTuple):
    """A number and the list behind it. ``number``: None if it could not be read."""

    kind: str
    label: str | Promise
    number: int | None
    url: str


def _in_force(links: Links, model: str) -> str:
    path = links.to(f"secguard_{model}_changelist")
    return f"{path}?state=in_force" if path else ""


def tiles(
    frame: Frame, links: Links, chart: Trends | None, opened: Threats | None, force: InForce | None
) -> list[Tile]:
    found = [
        Tile(
            line,
            _LABELS[line],
            chart.total(line) if chart else None,
            links.events({"event_type__exact": event_type}, frame.start),
        )
        for line, event_type in SHOWN.items()
    ]
    longest = opened.oldest if opened else timedelta()
    threats_url = links.events({"event_type__exact": EventType.SUSPICIOUS_ACTIVITY.value}, frame.now - longest)
    return [
        Tile("open", _("Open threats"), len(opened.still_open) if opened else None, threats_url),
        *found,
        Tile("blocks", _("Blocks in force"), force.blocks if force else None, _in_force(links, "block")),
        Tile("locks", _("Locked accounts"), force.locks if force else None, _in_force(links, "accountlock")),
    ]
