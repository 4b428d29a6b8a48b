"""What lines and rows show instead of addresses and names, as SECGUARD["PRIVACY"] has it.

``truncate``: the network of an address (IPv4 /24, IPv6 /48), and the first letter of a name. ``hmac``: a pseudonym
under the project's key, the same for the same subject. What the guard itself counts and decides by is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from secguard.conf import PRIVACY_MODES, get_settings, until_settings_change
from secguard.detection import normalize_identifier
from secguard.detection.identity import keyed_digest
from secguard.events import Event, EventType
from secguard.failures import report_failure
from secguard.formatters.text import ELLIPSIS, clean_text
from secguard.network import canonical_network, parse_network

#: What a truncated address keeps, by the version of IP.
PREFIXES = {4: 24, 6: 48}
#: Of an account or an address, and the first half of its digest.
PSEUDONYM = re.compile(r"(account|ip):([0-9a-f]{16})")
#: Subjects that name nobody: constants of ours, numbers of others, and primary keys, which are shown in any case.
_NOBODY = re.compile(r"|unknown|nobody|a peer without an address|\(\d+ others\)|user[: ][0-9a-f-]{1,36}")
#: Events without anybody in them; the addresses in their texts are those of servers.
_IMPERSONAL = {
    EventType.DEGRADED,
    EventType.RECOVERED,
    EventType.MODE_OVERRIDDEN,
    EventType.EVENTS_NOT_RECORDED,
}
#: Keys whose words are ours or the project's, never a name: looked at they would only be mistaken for one. Operators
#: (``by``) are accountable, and stand in the record under their names.
_KEPT = frozenset(
    (
        *(
            "event_type",
            "category",
            "severity",
            "event_id",
            "reference",
            "request_id",
            "user_id",
            "by",
            "rule",
            "rules",
        ),
        *("path", "method", "user_agent", "technique", "action", "subject_type", "scope", "rate", "hint", "view"),
        *("open_threats", "lock", "block", "list", "country", "host", "exception", "permission", "granted", "revoked"),
        *("factor", "purpose", "component", "error", "types", "mode", "variable"),
    )
)
#: Parts of a key, between underscores, that say what stands under it.
_OF_ACCOUNTS = {"email", "emails", "mail", "mails", "username", "usernames", "account", "accounts", "login", "phone"}
_OF_ADDRESSES = {"ip", "ips", "addr", "address", "addresses", "network", "networks", "subnet", "peer"}
_ADDRESS = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?|\d{1,3}(?:\.\d{1,3}){3})"
    r"(?:/\d{1,3})?(?![\w:]|\.\d)"
)
_MAIL = re.compile(r"[^\s@<>\"'(),;:=]+@[^\s@<>\"'(),;:=]+")
#: In a text nobody can tell these from a name; blotted out, they would tell that it is one.
_WORD_LIST = """
a an and are as at be by consecutive credentials denied event events failed failure failures for from guess had has
he her his i in invalid is it its login no not of on one or password refused request rule she that the their they
this to token user was were with within you
forbidden invalid_credentials password_change password_reset unauthorized
"""
_WORDS = frozenset(_WORD_LIST.split())

Show = Callable[[str], str]


class Shown(NamedTuple):
    """How an address or network, and an account's name, are shown: each a function of the text."""

    address: Show
    account: Show
    other: Callable[[str, str], str]


def shown_address(text: str) -> str:
    """An address or network as lines and rows show it; what is neither is shown as it is."""
    shown = get_shown()
    return text if shown is None else shown.address(text)


def shown_account(text: str) -> str:
    """An account's name as lines and rows show it."""
    shown = get_shown()
    return text if shown is None else shown.account(text)


@until_settings_change
def get_shown() -> Shown | None:
    """How addresses and names are shown, or None if as they are."""
    mode, key = _mode()
    if mode == "plain":
        return None
    digest = keyed_digest(key)

    pseudonym = partial(pseudonym_of, digest)
    if mode == "truncate":
        return Shown(_of_networks(_truncated_network), _truncated_name, pseudonym)

    def account(text: str) -> str:
        name = normalize_identifier(text)
        # One already: that of a name that no account has (UNKNOWN_ACCOUNT_NAMES).
        return text if name is None or PSEUDONYM.fullmatch(name) else pseudonym("account", name)

    return Shown(_of_networks(lambda network: pseudonym("ip", network)), account, pseudonym)


def _mode() -> tuple[str, bytes]:
    try:
        settings = get_settings()
    except ImproperlyConfigured:
        # Operators work on blocks even then. What is asked for is taken without the key that may be wrong.
        wanted = getattr(django_settings, "SECGUARD", {})
        mode = wanted.get("PRIVACY", "plain") if isinstance(wanted, dict) else "plain"
        return ("plain" if mode == PRIVACY_MODES[0] else "truncate"), b""
    return settings.privacy, settings.hmac_key


def _of_networks(show: Show) -> Show:
    def shown(text: str) -> str:
        try:
            return show(canonical_network(text))
        except (ValueError, RecursionError):
            return text

    return shown


def _truncated_network(text: str) -> str:
    network = parse_network(text)
    return str(network.supernet(new_prefix=min(network.prefixlen, PREFIXES[network.version])))


def _truncated_name(text: str) -> str:
    name = normalize_identifier(text) or ""
    first = name[0] if len(name) > 2 and name[0].isalnum() else ""
    return f"{first}{ELLIPSIS}" + (f"@{ELLIPSIS}" if "@" in name else "")


def forms_of_address(text: str) -> tuple[str, ...]:
    """As what an address or network stands in rows, whatever PRIVACY said when they were written: as it is, and as its
    pseudonym. Truncated it is one of many, and nobody's."""
    canonical = canonical_network(text)
    digest = keyed_digest(get_settings().hmac_key)
    return canonical, pseudonym_of(digest, "ip", canonical)


def pseudonym_of(digest: Callable[..., bytes], kind: str, text: str) -> str:
    """``kind`` and the first half of a keyed digest: the same for the same subject, and nobody's without the key."""
    return f"{kind}:{digest(kind, text).hex()[:16]}"


# -- events --------------------------------------------------------------------------------------------------------


def shown_event(event: Event) -> Event:
    """The event as it is written: itself, or a copy that shows nobody, whose ``original`` it is. Never raises."""
    shown = get_shown()
    if shown is None:
        return event
    try:
        if event.type in _IMPERSONAL:
            return event
        veil = _Veil(shown, event.context)
        return replace(event, message=veil.message(event), context=veil.context, name=None, original=event)
    except Exception:
        report_failure("an event could not be shown as PRIVACY has it; its line says what happened and no more")
        head = ("event_type", "category", "severity", "event_id", "rule")
        context = {key: event.context[key] for key in head if key in event.context}
        return replace(event, message=event.type, context=context, name=None, original=event)


class _Veil:
    """One event's context without addresses and names, and how they are blotted out of its texts."""

    def __init__(self, shown: Shown, context: dict[str, Any]) -> None:
        self._shown = shown
        self._kind = context.get("subject_type")
        self._names = sorted({*_names_in(context)} - {""}, key=len, reverse=True)
        self._sought = [(name.rstrip(ELLIPSIS).casefold(), name) for name in self._names if name.lower() not in _WORDS]
        self.context = {key: self._value(key, value) for key, value in context.items()}

    def message(self, event: Event) -> str:
        """The message: where it names somebody it is known whom; else it is a text like any other."""
        text, name = event.message, event.name
        if name is None or text[name.at : name.at + len(name.text)] != name.text:
            return self._text(clean_text(text, 1_024))  # as the context's values are, or their names stand here cut
        as_named = self._account if name.text in self._names else self._subject
        return text[: name.at] + as_named(name.text) + text[name.at + len(name.text) :]

    def _value(self, key: str, value: Any) -> Any:
        if key in _KEPT:
            return value
        if isinstance(value, dict):
            return {inner: self._value(str(inner), each) for inner, each in value.items()}
        if isinstance(value, list):
            return [self._value(key, each) for each in value]
        if key == "subject":
            return self._subject(str(value))
        kind = _kind_of(key)
        if isinstance(value, int) and not isinstance(value, bool) and kind == "account" and _is_name(key):
            return self._account(str(value))  # a telephone number, or a user name of digits
        if not isinstance(value, str):
            return value
        if kind == "account":
            return self._account(value)
        if kind == "address":
            return self._by_looks(value)
        return self._text(value)

    def _account(self, text: str) -> str:
        return self._shown.account(text) if text else text

    def _subject(self, text: str) -> str:
        kind = self._kind
        if kind == "account":
            return self._account(text)
        if kind == "pair":
            address, _, account = text.partition(" ")
            return f"{self._by_looks(address)} {self._account(account)}"
        if kind in ("user", "device"):
            return text
        if kind in (None, "address", "network", "actor"):
            return self._by_looks(text)
        return self._shown.other(str(kind), text)  # a subject of the project's own: whatever it is made of

    def _by_looks(self, text: str) -> str:
        """Of a text that is an address, a constant of ours, or else a name."""
        if _NOBODY.fullmatch(text):
            return text
        try:
            parse_network(text)
        except (ValueError, RecursionError):
            return self._account(text)
        return self._shown.address(text)

    def _text(self, text: str) -> str:
        """A text that people wrote: the event's own names, and whatever is an address of either kind."""
        for sought, name in self._sought:
            if sought in text.casefold():  # else no pattern needs to be made, which costs more than all the rest
                text = self._shown.account(name).join(_pattern(name).split(text))
        if "@" in text:
            text = _MAIL.sub(lambda found: self._shown.account(found[0]), text)
        return _ADDRESS.sub(lambda found: self._shown.address(found[0]), text)


def _kind_of(key: str) -> str | None:
    parts = set(key.lower().split("_"))
    if parts & _OF_ACCOUNTS or key == "user":
        return "account"
    return "address" if parts & _OF_ADDRESSES else None


def _is_name(key: str) -> bool:
    """Is what stands there a name, and no number of them? ``unique_emails_from_ip`` counts."""
    parts = key.lower().split("_")
    return len(parts) <= 2 and bool({*parts} & _OF_ACCOUNTS)


def _names_in(context: dict[str, Any]) -> Iterable[str]:
    """The names of the event's own subject, which may stand in its texts, too."""
    for key, value in context.items():
        if key not in _KEPT and _kind_of(key) == "account" and isinstance(value, str):
            yield value
    if context.get("subject_type") == "account":
        yield str(context.get("subject", ""))


def _pattern(name: str) -> re.Pattern[str]:
    """Where the name stands as a word of its own; of one that was cut, whatever it goes on with."""
    known = name.rstrip(ELLIPSIS) or name
    before = r"(?<!\w)" if known[:1].isalnum() else ""
    after = r"\S*" if known != name else r"(?!\w)" if known[-1:].isalnum() else ""
    return re.compile(before + re.escape(known) + after, re.IGNORECASE)
