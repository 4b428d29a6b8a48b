"""What the pages say, in words that can be translated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from secguard.formatters.text import one_line
from secguard.models import EventRecord
from secguard.records.explain import Explanation, Verdict

_UNITS: tuple[tuple[int, Callable[[int], str]], ...] = (
    (86_400, lambda number: ngettext("%d day", "%d days", number) % number),
    (3_600, lambda number: ngettext("%d hour", "%d hours", number) % number),
    (60, lambda number: ngettext("%d minute", "%d minutes", number) % number),
    (1, lambda number: ngettext("%d second", "%d seconds", number) % number),
)
STATES = {
    "in force": gettext_lazy("in force"),
    "expired": gettext_lazy("expired"),
    "lifted": gettext_lazy("lifted"),
}


def duration(seconds: float) -> str:
    """The two greatest units: "2 days 3 hours"."""
    left = max(1, round(seconds))
    said: list[str] = []
    for size, words in _UNITS:
        number, left = divmod(left, size)
        if number or said:
            said.append(words(number) if number else "")
        if len(said) == 2:
            break
    return " ".join(filter(None, said))


def localtime(when: datetime) -> datetime:
    """In the current zone; as it is, where the project's times have none."""
    return timezone.localtime(when) if timezone.is_aware(when) else when


def moment(when: datetime | None) -> str:
    """A time of the current zone, to the second; empty for none."""
    if when is None:
        return ""
    local = localtime(when)
    return f"{formats.date_format(local, 'DATE_FORMAT')}, {formats.time_format(local, 'H:i:s')}"


def state_badge(state: str) -> SafeString:
    return format_html('<span class="sg-state sg-{}">{}</span>', state.replace(" ", "-"), STATES[state])


def severity_badge(severity: str) -> SafeString:
    """The word and a colour; the word alone tells it too."""
    known = severity if severity in EventRecord.Severity.values else "info"
    label = EventRecord.Severity(known).label if known == severity else shown(severity, 16)
    return format_html('<span class="sg-severity sg-{}">{}</span>', known, label)


def shown(text: str, limit: int = 254) -> str:
    """Hostile text on one line, with nothing hidden in it. Not escaped: templates do that."""
    return one_line(text, limit)


def lasts(seconds: float | None) -> str:
    return _("for good") if seconds is None else _("for another %s") % duration(seconds)


def decided_by(verdict: Verdict) -> str:
    if verdict.rule:
        return _("by the rule %s") % verdict.rule
    if verdict.list_name:
        return _("by the list %s") % shown(verdict.list_name)
    return _("by %s") % shown(verdict.by) if verdict.by else ""


def told(verdict: Verdict) -> str:
    """What becomes of a request or a login."""
    words = _VERDICTS[verdict.reason]()
    if verdict.reason == "limit":
        rest = [_("the limit of the rule %s is reached") % verdict.rule]
        rest += [lasts(verdict.seconds)] if verdict.seconds is not None else []
    elif verdict.refused:
        rest = [decided_by(verdict), lasts(verdict.seconds)]
    else:
        rest = []
    return ", ".join(filter(None, [words, *rest]))


_VERDICTS: dict[str, Callable[[], str]] = {
    "off": lambda: _("served: MODE is off"),
    "monitor": lambda: _("served, though blocked: MODE is monitor"),
    "not_blocked": lambda: _("served: not blocked"),
    "allowlist": lambda: _("served, though blocked: it is in ALLOWLIST"),
    "trusted_proxy": lambda: _("served, though blocked: it is a trusted proxy"),
    "allowed": lambda: _("served, though blocked: an operator allowed it"),
    "blocked": lambda: _("refused: blocked"),
    "locked": lambda: _("refused: locked"),
    "locked_for_unknown_devices": lambda: _("refused from unknown devices: locked"),
    "below_limits": lambda: _("its password is checked: no limit is reached"),
    "not_enforced": lambda: _("its password is checked: a limit is reached, and nothing refuses it"),
    "limit": lambda: _("refused"),
}


def never_refused(found: Explanation) -> str:
    """By whom it is said that this is never refused; empty if by nobody."""
    said_by = {
        "ALLOWLIST": found.allowlisted,
        "TRUSTED_PROXIES": found.trusted_proxy,
        _("an operator"): found.allowed,
    }
    return ", ".join(name for name, holds in said_by.items() if holds)
