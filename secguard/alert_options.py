"""``SECGUARD["ALERTS"]``: what is worth an alert, and whom it reaches. Parsed and typed; sent it is elsewhere.

What is wrong is raised as ValueError(problem, hint), like every parser of ``conf``; a webhook's URL is never repeated,
since it may hold a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

from secguard.events import VOCABULARY, Category, Event, EventType, Severity, spec_of
from secguard.exceptions import shown

#: What a webhook is told: our own JSON, or the message that one of these services takes.
FORMS = ("json", "slack", "teams", "discord")
#: Whose addresses ask for which form, where none is named.
_HOSTS = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "webhook.office.com": "teams",
    "logic.azure.com": "teams",
    "api.powerplatform.com": "teams",
}
_MAX_CHANNELS = 20
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Trigger:
    """So many events within ``window`` seconds are an alert.

    ``events``: of these types; ``category``: of this one; neither: of any. ``severity``: of this one and graver.
    ``threshold`` 1: each event is an alert of its own subject, else all together are one.
    """

    name: str
    events: frozenset[str] = frozenset()
    category: str | None = None
    severity: Severity = Severity.INFO
    threshold: int = 1
    window: float = 600.0

    def wants(self, event: Event) -> bool:
        """Does it count? Decided by type, category and severity alone."""
        if self.events and event.type not in self.events:
            return False
        if self.category is not None and event.category != self.category:
            return False
        return event.severity.level >= self.severity.level


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an alert is posted. ``name``: what it is called in messages, since its URL may hold a secret."""

    url: str = field(repr=False)
    form: str
    name: str
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """``mail``: addresses; True: those of ADMINS. ``quiet``, ``digest``: seconds. ``tasks``: an alias of TASKS."""

    mail: bool | tuple[str, ...] = False
    webhooks: tuple[Webhook, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    quiet: float = 900.0
    digest: float = 60.0
    per_hour: int = 20
    site: str = ""
    tasks: str | None = "default"

    @property
    def enabled(self) -> bool:
        """Is anybody to be told of anything?"""
        return bool((self.mail or self.webhooks) and self.triggers)


#: What is worth an alert unless ``triggers`` says otherwise.
TRIGGERS: Mapping[str, Trigger] = {
    trigger.name: trigger
    for trigger in (
        Trigger("critical", severity=Severity.CRITICAL),
        Trigger("locks", events=frozenset({EventType.ACCOUNT_LOCKED.value}), threshold=3),
        Trigger("suspicious", category=Category.THREAT.value, severity=Severity.WARNING, threshold=50),
    )
}


def _bad(value: object, hint: str) -> ValueError:
    return ValueError(f"is {shown(value, 120)}", hint)


def parse_alerts(value: Any) -> AlertOptions:
    """The options. Raises ValueError(problem, hint), which names the path of the key that is wrong."""
    if not isinstance(value, Mapping):
        raise _bad(value, "Give a dict such as {'mail': True} or {'mail': ['soc@example.com'], 'webhooks': […]}.")
    _only(value, _PARTS, "part of ALERTS")
    given = {name: _at(f"[{name!r}]", _PARTS[name], part) for name, part in value.items()}
    given.setdefault("triggers", tuple(TRIGGERS.values()))
    return AlertOptions(**given)


def _at(path: str, parse: Callable[[Any], Any], value: Any) -> Any:
    """One part: what is wrong with it is said with the path that leads to it."""
    try:
        return parse(value)
    except ValueError as error:
        problem, hint = error.args
        if isinstance(error, _PartError):
            raise _PartError(path + error.path, error.problem, hint) from None
        raise _PartError(path, problem, hint) from None


class _PartError(ValueError):
    """A problem with the path to it."""

    def __init__(self, path: str, problem: str, hint: str) -> None:
        super().__init__(f"is wrong: its {path} {problem}", hint)
        self.path, self.problem = path, problem


def _only(given: Mapping[Any, Any], known: Iterable[str], what: str) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1) if isinstance(name, str) else []
            hint = f"Did you mean {close[0]!r}?" if close else f"Use {', '.join(map(repr, known))}."
            raise _PartError(f"[{shown(name)}]", f"is no {what}", hint)


# -- whom ------------------------------------------------------------------------------------------------


def _mail(value: Any) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)) or len(value) > _MAX_CHANNELS:
        hint = f"Give True for the addresses of ADMINS, or a list of at most {_MAX_CHANNELS} mail addresses."
        raise _bad(value, hint)
    for number, address in enumerate(value):
        if not _is_address(address):
            raise _PartError(f"[{number}]", f"is {shown(address)}", "Give a mail address, such as 'soc@example.com'.")
    return tuple(value)


def _is_address(value: Any) -> bool:
    if not isinstance(value, str) or not value.isprintable() or any(char in value for char in " ,;<>"):
        return False
    name, at, host = value.rpartition("@")
    return bool(name and at and host)


def _webhooks(value: Any) -> tuple[Webhook, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > _MAX_CHANNELS:
        # The value is not repeated: it may hold a secret, here and below.
        raise ValueError(
            "is no list of webhooks",
            f"Give a list of at most {_MAX_CHANNELS}: URLs, or dicts such as {{'url': 'https://…', 'form': 'slack'}}.",
        )
    hooks = [_at(f"[{number}]", _webhook, each) for number, each in enumerate(value)]
    names = ["mail", *(hook.name for hook in hooks)]
    for number, hook in enumerate(hooks):
        if names.count(hook.name) > 1:
            hooks[number] = replace(hook, name=f"{hook.name} {number + 1}")
    return tuple(hooks)


def _webhook(value: Any) -> Webhook:
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "url" not in given:
        raise ValueError("has no 'url'", "Give a URL, or a dict such as {'url': 'https://…', 'form': 'slack'}.")
    _only(given, ("url", "form", "secret", "name"), "key of a webhook")
    parts = _at("['url']", _url, given["url"])
    form = _at("['form']", _form, given.get("form", _form_of(parts.hostname)))
    secret = _at("['secret']", _secret, given.get("secret"))
    if secret is not None and form != "json":
        raise _PartError("['secret']", f"is set with the form {form!r}", "Only the form 'json' is signed: drop it.")
    name = _at("['name']", _name, given.get("name", f"{form} {parts.hostname}"))
    return Webhook(given["url"], form, name, secret)


def _url(value: Any) -> SplitResult:
    hint = "Give an address that starts with https:// (or http://), in ASCII, without user, spaces or a '#'."
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is no URL", hint)
    try:
        parts = urlsplit(value)
        is_fit = bool(parts.scheme in ("https", "http") and parts.hostname and parts.port != 0)
    except ValueError:
        is_fit = False
    if not is_fit or parts.username is not None or "#" in value:
        raise ValueError("is no URL that can be posted to", hint)
    return parts


def _form_of(host: str | None) -> str:
    labels = (host or "").split(".")
    ends = (".".join(labels[at:]) for at in range(len(labels)))
    return next((_HOSTS[end] for end in ends if end in _HOSTS), "json")


def _form(value: Any) -> str:
    if not isinstance(value, str) or value not in FORMS:
        raise _bad(value, f"Use one of {', '.join(map(repr, FORMS))}.")
    return value


def _secret(value: Any) -> bytes | None:
    if value is None:
        return None
    secret = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not isinstance(secret, bytes) or len(secret) < 16:
        raise ValueError("is too short or no text", "Give at least 16 random characters, or leave it out.")
    return secret


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 100:
        raise _bad(value, "Give a text of one line, of at most 100 characters.")
    return value


# -- of what ---------------------------------------------------------------------------------------------


def _triggers(value: Any) -> tuple[Trigger, ...]:
    if not isinstance(value, Mapping):
        raise _bad(value, "Give a dict: the trigger's name → False, or what is to be different.")
    _only_names(value)
    triggers = []
    for name in {**TRIGGERS, **value}:
        trigger = _at(f"[{name!r}]", partial(_trigger, name), value.get(name, True))
        if trigger is not None:
            triggers.append(trigger)
    return tuple(triggers)


def _only_names(value: Mapping[Any, Any]) -> None:
    for name, change in value.items():
        is_name = isinstance(name, str) and name.isidentifier() and name.isascii() and len(name) <= 64
        if not is_name or (name not in TRIGGERS and not (isinstance(change, Mapping) and "events" in change)):
            close = get_close_matches(name, TRIGGERS, n=1) if isinstance(name, str) else []
            hint = f"Did you mean {close[0]!r}? " if close else f"There are {', '.join(map(repr, TRIGGERS))}. "
            raise _PartError(f"[{shown(name)}]", "is no trigger", hint + "One of your own is a dict with 'events'.")


def _trigger(name: str, change: Any) -> Trigger | None:
    base = TRIGGERS.get(name, Trigger(name))
    if change is True:
        return base
    if change is False or change is None:
        return None
    if not isinstance(change, Mapping):
        raise _bad(change, "Give True, False, or a dict such as {'threshold': 10, 'window': 300}.")
    _only(change, _FIELDS, "field of a trigger")
    changes = {field: _at(f"[{field!r}]", _FIELDS[field], each) for field, each in change.items()}
    return replace(base, **changes)


def _events(value: Any) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple, set, frozenset)) or not names:
        raise _bad(value, "Give an event type, or a list of them.")
    for name in names:
        try:
            spec_of(name)
        except (ValueError, TypeError) as error:
            raise ValueError(f"has the entry {shown(name)}", f"{error}") from None
        close = [] if name in VOCABULARY else get_close_matches(name, map(str, VOCABULARY), n=1, cutoff=0.9)
        if close:
            raise ValueError(f"has the entry {shown(name)}", f"Did you mean {close[0]!r}?")
        if name == EventType.ALERT_NOT_DELIVERED:
            raise ValueError(f"has the entry {shown(name)}", "An alert that alerts fail would fail, too: leave it out.")
    return frozenset(map(str, names))


def _severity(value: Any) -> Severity:
    try:
        return Severity(value)
    except ValueError:
        raise _bad(value, f"Use one of {', '.join(repr(str(each)) for each in Severity)}.") from None


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _bad(value, f"Give a whole number from {least:,} to {most:,}.")
        return value

    return parse


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not least <= seconds <= most:
            raise _bad(value, f"Give {least:.10g} to {most:.10g} seconds, as a number or a timedelta.")
        return float(seconds)

    return parse


def _tasks(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if not isinstance(value, str) or not value:
        raise _bad(value, "Give an alias of TASKS, or None: then a thread of secguard's own sends.")
    return value


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "threshold": _whole(1, 1_000),
    "window": _seconds(10, _DAY),
    "events": _events,
    "severity": _severity,
}
_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "mail": _mail,
    "webhooks": _webhooks,
    "triggers": _triggers,
    "quiet": _seconds(10, 7 * _DAY),
    "digest": _seconds(1, _DAY),
    "per_hour": _whole(1, 1_000),
    "site": _name,
    "tasks": _tasks,
}
