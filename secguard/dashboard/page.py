"""Everything that the page shows, as its templates and its script take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from django.conf import settings as django_settings
from django.db import connections, transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import get_language, gettext

from secguard.conf import get_settings
from secguard.dashboard import attackers, state, threats, totals, trends
from secguard.dashboard.links import Links
from secguard.dashboard.windows import WINDOWS, Frame, window_named
from secguard.failures import report_failure
from secguard.records import database, get_rollups

PERMISSION = "secguard.view_eventrecord"
#: Seconds between two questions of an open page.
INTERVAL = 5
#: The parts of the page that are renewed, each with a template of its own. "trends" is the table behind the chart.
PANELS = ("totals", "threats", "addresses", "accounts", "origins", "state")


def may_see(request: HttpRequest | None) -> bool:
    """Whoever may see the events may see how many there are."""
    user = getattr(request, "user", None)
    return user is not None and user.is_active and user.has_perm(PERMISSION)


def gather(request: HttpRequest) -> dict[str, Any]:
    """What the templates need. A part that the database does not tell is None, and the page says so."""
    frame = window_named(request.GET.get("window")).at(timezone.now())
    links = Links(_site_of(request), _closed_to(request))
    found = _read_all(frame, links)
    chart: trends.Trends | None = found["trends"]
    opened: threats.Threats | None = found["threats"]
    return {
        "frame": frame,
        "windows": WINDOWS.values(),
        "time_zone": _time_zone(),
        "links": links,
        "table": bool(request.GET.get("table")),
        "persist": get_settings().persist_events,
        "data_url": links.to("secguard_dashboard_data"),
        "tiles": totals.tiles(frame, links, chart, opened, found["in_force"]),
        # Called by the template of the table alone: most answers go without.
        "trend_rows": partial(chart.rows, links) if chart else (),
        "threats_by_rule": opened.by_rule(links) if opened else (),
        "latest_threats": opened.latest(links) if opened else (),
        "outages_url": state.outages_url(frame, links),
        **found,
    }


def _read_all(frame: Frame, links: Links) -> dict[str, Any]:
    # What this process has counted and not yet written would be missing; others write theirs within ten seconds.
    get_rollups().flush()
    # The panels over the latest threats share one look at where they begin.
    recent = _read("how many threats there were", lambda: attackers.recent_in(frame))
    found: dict[str, Any] = {
        "recent": recent,
        "trends": _read("the counts of events", lambda: trends.trends_in(frame)),
        "threats": _read("threats", lambda: threats.threats_in(frame)),
        "outages": _read("times without the store", lambda: state.outages(frame)),
        "in_force": _read("what is in force", state.in_force),
        "health": _read("how this process is doing", state.health),
    }
    for name, count in (
        ("addresses", attackers.addresses),
        ("accounts", attackers.accounts),
        ("origins", attackers.origins),
    ):
        found[name] = None if recent is None else _read(name, partial(count, recent, links))
    return found


def _read(what: str, read: Callable[[], Any]) -> Any:
    """The result, or None if the database has none: the other parts are shown all the same."""
    try:
        with _unbroken():
            return read()
    except Exception:
        report_failure("the dashboard could not read %s. If tables are missing, run 'manage.py migrate secguard'", what)
        return None


@contextmanager
def _unbroken() -> Iterator[None]:
    """In a transaction an error would break the statements that follow, which are the page's own."""
    alias = database()
    inner: AbstractContextManager[Any] = nullcontext()
    if connections[alias].in_atomic_block:
        inner = transaction.atomic(using=alias)
    with inner:
        yield


# -- for the script ----------------------------------------------------------------------------------------------------


def data(request: HttpRequest) -> dict[str, Any]:
    """What an open page asks for again and again: the panels as they are now, and the numbers of chart and map."""
    context = gather(request)
    names = [*PANELS, "trends"] if context["table"] else PANELS
    return {
        "panels": {name: render_to_string(f"admin/secguard/dashboard/{name}.html", context) for name in names},
        **numbers(context),
    }


def numbers(context: dict[str, Any]) -> dict[str, Any]:
    """What chart and map draw. Times are seconds since the epoch."""
    frame: Frame = context["frame"]
    chart: trends.Trends | None = context["trends"]
    origins: attackers.Origins | None = context["origins"]
    return {
        "window": frame.window.name,
        "starts": [int(start.timestamp()) for start in frame.starts],
        "end": int(frame.end.timestamp()),
        "lines": chart.numbers if chart else None,
        "countries": {
            country.key: [country.count, country.level, country.events_url]
            for country in (origins.countries if origins else ())
        },
        "open_threats": len(context["threats"].still_open) if context["threats"] else None,
    }


def for_script(context: dict[str, Any]) -> dict[str, Any]:
    """What the script is told once: where to ask, in which language and zone to show times, and its texts."""
    links: Links = context["links"]
    return {
        "url": context["data_url"],
        # Without time zones a time with one cannot be looked for.
        "events": links.to("secguard_eventrecord_changelist") if django_settings.USE_TZ else "",
        "interval": INTERVAL,
        "language": get_language() or "en",
        "zone": context["time_zone"],
        "texts": {
            "updated": gettext("Updated at %s"),
            "paused": gettext("Paused at %s"),
            "pause": gettext("Pause"),
            "resume": gettext("Resume"),
            "failed": gettext("The site does not answer. Next attempt in %s s."),
            "ended": gettext("You are logged out, or may not see this any more. Load the page anew to log in."),
            "opened": gettext("Open threats: %s"),
            "map": gettext("%(country)s: %(count)s"),
        },
        "numbers": numbers(context),
    }


def _closed_to(request: HttpRequest) -> set[str]:
    """Lists of decisions that are not for everybody who may see events."""
    user: Any = request.user
    return {
        f"secguard_{model}_changelist"
        for model in ("block", "accountlock")
        if not (user.has_perm(f"secguard.view_{model}") or user.has_perm("secguard.manage_blocks"))
    }


def _site_of(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    return getattr(request, "current_app", None) or (match.namespace if match else "") or "admin"


def _time_zone() -> str:
    return timezone.get_current_timezone_name() if django_settings.USE_TZ else django_settings.TIME_ZONE
