"""``settings.SECGUARD``, read late, validated as a whole and turned into a frozen, typed object.

Every key is declared once, in ``KEYS``. What is derived from the settings elsewhere (the store, the
detector, …) is built by functions decorated with ``until_settings_change``, so that ``override_settings``
just works.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from functools import update_wrapper
from threading import RLock
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from secguard import failures
from secguard.alert_options import AlertOptions, parse_alerts
from secguard.detection import Action, Rule, with_overrides
from secguard.detection.catalogue import ALL_RULES, DEVICE_FAILURES, OPT_IN, TRAP
from secguard.detection.rule import MAX_BLOCK, SUBJECTS
from secguard.events import INDISPENSABLE, VOCABULARY, EventType, spec_of
from secguard.exceptions import InvalidRule, InvalidSetting, shown
from secguard.formatters.text import one_line
from secguard.network import ClientAddressResolver, describe_too_wide, parse_network

#: Overrides MODE without a deploy: the way out when the guard itself is the trouble. Logged at start.
MODE_VARIABLE = "SECGUARD_MODE"
MODES = ("enforce", "monitor", "off")
PRIVACY_MODES = ("plain", "truncate", "hmac")

T = TypeVar("T")
#: How long the first, second, … block of an address lasts, in seconds; or a function that says so.
Ladder: TypeAlias = "tuple[float, ...] | Callable[..., float]"


class TrustedProxies(NamedTuple):
    """Whose forwarding header is believed. ``hops``: proxies that append, where their addresses vary. ``are_none``:
    the project says that there is no proxy; else, where none is named, it may have been forgotten."""

    networks: tuple[str, ...] = ()
    hops: int | None = None
    are_none: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. Durations are seconds."""

    mode: str
    cache_alias: str
    redis_url: str | None
    trusted_proxies: TrustedProxies
    client_ip_header: str
    rules: tuple[Rule, ...]
    rule_overrides: Mapping[str, Any]
    allowlist: tuple[str, ...]
    exempt_paths: tuple[str, ...]
    block_duration: Ladder
    block_jitter: float
    offence_memory: float
    network_threshold: int
    network_action_ipv4: str
    network_action_ipv6: str
    exempt_when: Callable[..., Any] | None
    subjects: Mapping[str, Callable[..., Any]]
    trap_paths: tuple[str, ...]
    account_lockout: str
    lock_duration: float
    device_cookie_name: str
    device_cookie_age: float
    unlock_base_url: str | None
    unlock_mails_per_hour: int
    max_consecutive_failures: int | None
    on_max_consecutive_failures: Callable[..., Any] | None
    preset: str
    block_status: int
    blocked_response: str | Callable[..., Any] | None
    sync_interval: float
    fail_mode: str
    fail_mode_paths: tuple[tuple[str, str], ...]
    store_timeout: float
    reserve_wait: float
    reserve_max_waiters: int | None
    max_active_blocks: int
    hmac_key: bytes
    logger_class: str | type
    request_id_header: str
    unknown_account_names: str
    metrics: str
    disabled_events: frozenset[str]
    max_lines_per_minute: int
    persist_events: str
    retention_days: int
    privacy: str
    audit_chain: bool
    geoip_path: str | None
    alerts: AlertOptions
    drf_exception_handler: str | Callable[..., Any] | None
    mode_overridden: bool = False
    hmac_key_is_derived: bool = False

    @property
    def enforces(self) -> bool:
        return self.mode == "enforce"

    def fail_mode_at(self, path: str) -> str:
        """FAIL_MODE for a path: that of the longest path named that it is, or is below."""
        return next((mode for top, mode in self.fail_mode_paths if is_at_or_below(path, top)), self.fail_mode)


def is_at_or_below(path: str, top: str) -> bool:
    """Is a request's path ``top``, or below it?"""
    return path == top or path.startswith(top.rstrip("/") + "/")


# -- parsers: each returns the parsed value or raises ValueError(problem, hint) -----------------------


def _bad(value: object, hint: str) -> ValueError:
    return ValueError(f"is {shown(value, 120)}", hint)


def _choice(*choices: Any) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if isinstance(value, bool) or value not in choices:
            raise _bad(value, f"Use one of {', '.join(map(repr, choices))}.")
        return value

    return parse


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise _bad(value, "Give seconds as a number, or a timedelta.")
        if not least <= seconds <= most:
            raise _bad(value, f"Give {least:.10g} to {most:.10g} seconds.")
        return float(seconds)

    return parse


def _ladder(value: Any) -> Ladder:
    """A duration, one for each further offence, or a function."""
    if callable(value) or _is_path(value):
        found: Callable[..., float] = _function(value)
        return found
    seconds = _seconds(1, MAX_BLOCK)
    if isinstance(value, (list, tuple)):
        if not value:
            raise _bad(value, "Give at least one duration.")
        return tuple(_part(seconds, each, "has the entry") for each in value)
    if isinstance(value, timedelta) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return (seconds(value),)
    raise _bad(
        value,
        "Give seconds as a number or a timedelta, a list of them (one for each further offence), "
        "or a callable (offence, threat) → seconds or the dotted path to one.",
    )


def _part(parse: Callable[[Any], T], value: Any, where: str) -> T:
    """One of several values: what is wrong with it is said of it alone."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{where} {shown(value)}", error.args[1]) from None


def _is_path(value: object) -> bool:
    """Does it look like the dotted path to something?"""
    return isinstance(value, str) and "." in value and not value.replace(".", "").isdigit()


def _function(value: Any) -> Any:
    """A plain function, or what a dotted path leads to: imported now, so that a mistake shows at start."""
    found = value
    if _is_path(value):
        try:
            found = import_string(value)
        except Exception as error:
            problem = one_line(f"{type(error).__name__}: {error}", 200)
            raise _bad(value, f"That cannot be imported ({problem}). Correct the path.") from None
    if not callable(found):
        raise _bad(value, "Give a function, or the dotted path to one.")
    if iscoroutinefunction(found) or iscoroutinefunction(type(found).__call__):
        raise _bad(value, "Give a plain function: nobody awaits what this one returns.")
    return found


def _optional_function(value: Any) -> Callable[..., Any] | None:
    found: Callable[..., Any] | None = None if value is None else _function(value)
    return found


def _share(least: float, most: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise _bad(value, f"Give a number from {least:g} to {most:g}.")
        return float(value)

    return parse


def _traps(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of paths, such as ['/wp-login.php', '*.env'].")
    for path in value:
        if (
            not isinstance(path, str)
            or path[:1] not in ("/", "*")
            or not path.strip("/* ")
            or "*" in path[1:]
            or "?" in path
        ):
            raise ValueError(
                f"has the entry {shown(path)}",
                "Give a path that starts with '/', which traps what is below it too, or an ending as '*.php'; "
                "queries are not looked at.",
            )
    return tuple(value)


def _subjects(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _bad(value, "Give a dict: name → a callable (request, account) → text or None, or the dotted path to it.")
    for name in value:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 64 or name in SUBJECTS:
            hint = f"Give an identifier of at most 64 characters that is none of {', '.join(SUBJECTS)}."
            raise ValueError(f"has the name {shown(name)}", hint)
    return {name: _part(_function, given, f"has for {name!r}") for name, given in value.items()}


def _base_url(value: Any) -> str | None:
    if value is None:
        return None
    parts = _url(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise _bad(value, "Give the scheme and host of your site, such as 'https://example.com', or None for no mails.")
    return str(value).rstrip("/")


def _url(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises, too, if it is no number
    except ValueError:  # such as a bracket that is never closed
        return None
    return parts


def _cookie_name(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.replace("_", "").replace("-", "").isalnum():
        raise _bad(value, "Give a name of letters, digits, '_' and '-'.")
    return value


def _whole(least: int, most: int, *, optional: bool = False) -> Callable[[Any], int | None]:
    def parse(value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _bad(value, f"Give a whole number from {least} to {most}.")
        return value

    return parse


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(value, "Give True or False.")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(value, "Give a non-empty string.")
    return value


def _header(value: Any) -> str:
    if not isinstance(value, str) or not value.replace("-", "").isalnum() or not value.isascii():
        raise _bad(value, "Give the name of an HTTP header as it is sent, such as 'X-Forwarded-For'.")
    return value


_REDIS_SCHEMES = (
    *("redis://", "rediss://", "unix://"),
    *("redis+cluster://", "rediss+cluster://", "redis+sentinel://", "rediss+sentinel://"),
)


def _redis_url(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(_REDIS_SCHEMES):
        # The value is not repeated: it may hold a password.
        raise ValueError(
            "is no Redis URL",
            "Give redis://…, rediss://…, unix://…, redis+cluster://… or redis+sentinel://…, or None for CACHE_ALIAS.",
        )
    return value


def _networks(value: Any, *, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of addresses and networks, such as ['192.0.2.0/24'].")
    return tuple(entry if entry in also else _network(entry) for entry in value)


def _network(entry: Any) -> str:
    try:
        network = parse_network(entry if isinstance(entry, str) else str(entry))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"has the entry {shown(entry)}", f"{error}") from None
    too_wide = describe_too_wide(network)
    if too_wide:
        raise ValueError(f"has the entry {shown(entry)}", too_wide)
    return str(network)


def _proxies(value: Any) -> TrustedProxies:
    if value == "none":
        return TrustedProxies(are_none=True)
    if not isinstance(value, Mapping):
        return TrustedProxies(_networks(value, also=("unix",)))
    if set(value) != {"hops", "peers"}:
        raise _bad(value, "Give {'hops': 2, 'peers': ['10.0.0.0/8']}: how many proxies append, and who may claim it.")
    try:
        hops = _whole(1, 20)(value["hops"])
    except ValueError:
        raise _bad(value, "hops is the number of proxies in front, from 1 to 20.") from None
    peers = _networks(value["peers"], also=("unix",))
    if not peers:
        raise _bad(value, "peers is empty: name the addresses from which the last proxy connects.")
    return TrustedProxies(peers, hops)


def _is_top(path: object) -> bool:
    """Is it a path that others are below? '/' alone would be all of them."""
    return isinstance(path, str) and path.startswith("/") and bool(path.strip("/"))


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of paths, such as ['/healthz'].")
    for path in value:
        if not _is_top(path):
            raise ValueError(f"has the entry {shown(path)}", "A path starts with '/', and '/' alone would exempt all.")
    return tuple(value)


_fail_mode = _choice("local", "open", "closed")


def _fail_modes(value: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The mode, and those of single paths: the longest path first, since it is the one that counts."""
    if not isinstance(value, Mapping):
        return _fail_mode(value), ()
    modes = {name: _part(_fail_mode, mode, f"has for {shown(name)}") for name, mode in value.items()}
    default = modes.pop("default", "local")
    for path in modes:
        if not _is_top(path):
            raise ValueError(
                f"has the path {shown(path)}", "A path starts with '/'; for all others there is 'default'."
            )
    paths = {path.rstrip("/"): mode for path, mode in modes.items()}
    return default, tuple(sorted(paths.items(), key=lambda item: -len(item[0])))


def _rules(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _bad(value, "Give a dict: rule name → fields to change, a Rule, or None to switch it off.")
    try:
        with_overrides(value, ALL_RULES)
    except InvalidRule as error:
        raise ValueError("is wrong", f"{error}") from None
    return dict(value)


def _events(value: Any) -> frozenset[str]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of event types, such as ['logout', 'token_refreshed'].")
    for name in value:
        where = f"has the entry {shown(name)}"
        try:
            spec_of(name)
        except (ValueError, TypeError) as error:
            raise ValueError(where, f"{error}") from None
        if name in INDISPENSABLE:
            raise ValueError(where, "The guard rests on this event. To hide its lines, filter them in LOGGING.")
        if name not in VOCABULARY:
            close = get_close_matches(name, map(str, VOCABULARY), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "'manage.py secguard events' lists them."
            raise ValueError(where, f"There is no such event of secguard's. {hint}")
    return frozenset(map(str, value))


def _callable_path(value: Any) -> str | Callable[..., Any] | None:
    if value is None or (isinstance(value, str) and "." in value):
        return value
    if callable(value):
        found: Callable[..., Any] = _function(value)
        return found
    raise _bad(value, "Give a dotted path to a callable, or None.")


def _class_path(value: Any) -> str | type:
    if isinstance(value, type) or (isinstance(value, str) and "." in value):
        return value
    raise _bad(value, "Give a subclass of secguard.logging.SecurityEventLogger, or the dotted path to one.")


def _file(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.path.isfile(value):
        raise _bad(value, "Give the path of a file that can be read, or None.")
    return os.fspath(value)


def _hmac_key(value: Any) -> bytes | None:
    if value is None:
        return None
    # The environment brings bytes that are no UTF-8 as lone surrogates.
    key = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not isinstance(key, bytes) or len(key) < 16:
        raise ValueError("is too short or no text", "Give at least 16 random characters, or None.")
    return key


class Key(NamedTuple):
    """One key of SECGUARD: its default, how it is parsed, and a line for the documentation."""

    default: Any
    parse: Callable[[Any], Any]
    summary: str


_DAY = 86_400
_NETWORK_ACTIONS = ("off", "propose", "block")

#: Defaults that differ from those of ``KEYS``, by the name that PRESET takes.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "strict": {
        "RULES": {"brute_force": {"window": 3_600}, "account_enumeration": {"threshold": 10}},
        "BLOCK_DURATION": (3_600, 86_400, 604_800, 2_592_000),
        "NETWORK_THRESHOLD": 4,
        "NETWORK_ACTION_IPV4": "block",
        "ACCOUNT_LOCKOUT": "unknown_devices",
    },
    # PCI DSS 4.0.1, 8.3.4: lock after not more than ten attempts, for at least thirty minutes.
    "pci": {
        "RULES": {"account_failures": {"threshold": 10, "window": 86_400}},
        "ACCOUNT_LOCKOUT": "all",
        "LOCK_DURATION": 1_800,
    },
    # NIST SP 800-63B-4, 3.2.2: not more than a hundred consecutive failures on one account.
    "nist": {"MAX_CONSECUTIVE_FAILURES": 100},
}

KEYS: dict[str, Key] = {
    "MODE": Key("enforce", _choice(*MODES), "enforce, monitor (log what would be refused) or off"),
    "CACHE_ALIAS": Key("default", _text, "the cache of settings.CACHES whose server keeps the counters"),
    "REDIS_URL": Key(None, _redis_url, "a Redis or Valkey server for the counters, instead of CACHE_ALIAS"),
    "TRUSTED_PROXIES": Key([], _proxies, "networks of the proxies whose forwarding header is believed"),
    "CLIENT_IP_HEADER": Key("X-Forwarded-For", _header, "the header in which trusted proxies name the client"),
    "RULES": Key({}, _rules, "changes to the detection rules, by name"),
    "ALLOWLIST": Key([], _networks, "addresses and networks that are never blocked or refused"),
    "EXEMPT_WHEN": Key(None, _optional_function, "a callable (request) → bool: true for whom nothing may refuse"),
    "SUBJECTS": Key({}, _subjects, "subjects of your own for rules: name → callable (request, account) → text"),
    "TRAP_PATHS": Key([], _traps, "paths that nobody honest asks for: a hit blocks at once"),
    "EXEMPT_PATHS": Key([], _paths, "paths (and what is below them) that are served to blocked addresses too"),
    "BLOCK_DURATION": Key(
        (900, 3_600, 86_400, 604_800), _ladder, "how long an automatic block lasts; a list: for each further offence"
    ),
    "BLOCK_JITTER": Key(0.1, _share(0, 0.5), "the share of it by which each block is longer or shorter, at random"),
    "OFFENCE_MEMORY": Key(30 * _DAY, _seconds(60, 3650 * _DAY), "how long without offence until all is forgotten"),
    "NETWORK_THRESHOLD": Key(8, _whole(2, 256), "so many blocked addresses of one network make it a suspect"),
    "NETWORK_ACTION_IPV4": Key("propose", _choice(*_NETWORK_ACTIONS), "what then follows: off, propose or block"),
    "NETWORK_ACTION_IPV6": Key("block", _choice(*_NETWORK_ACTIONS), "the same for IPv6, where an address is a /64"),
    "BLOCK_STATUS": Key(403, _choice(403, 429), "the status of a refused request: 403 or 429"),
    "BLOCKED_RESPONSE": Key(None, _callable_path, "a callable (request, refusal) → HttpResponse of your own"),
    "SYNC_INTERVAL": Key(1, _seconds(0, 3600), "how often a process asks whether the blocks have changed"),
    "FAIL_MODE": Key("local", _fail_modes, "what happens while the store is away; a dict: for single paths"),
    "STORE_TIMEOUT": Key(0.05, _seconds(0.001, 60), "how long one request may wait for the store, all in all"),
    "RESERVE_WAIT": Key(10, _seconds(0, 60), "how long an attempt may wait for others to finish"),
    "RESERVE_MAX_WAITERS": Key(None, _whole(0, 100_000, optional=True), "attempts that may wait in one process"),
    "MAX_ACTIVE_BLOCKS": Key(100_000, _whole(1, 10_000_000), "automatic blocks in force at one time, at most"),
    "PRESET": Key("default", _choice(*PRESETS), "a set of defaults: default, strict, pci or nist"),
    "ACCOUNT_LOCKOUT": Key("off", _choice("off", "unknown_devices", "all"), "whom an attacked account is locked for"),
    "LOCK_DURATION": Key(1_800, _seconds(60, 3650 * _DAY), "how long an automatic lock of an account lasts"),
    "DEVICE_COOKIE_NAME": Key("secguard_device", _cookie_name, "the cookie by which a device is known again"),
    "DEVICE_COOKIE_AGE": Key(180 * _DAY, _seconds(3_600, 3650 * _DAY), "how long a device stays known"),
    "UNLOCK_BASE_URL": Key(None, _base_url, "scheme and host for links that unlock, or None: no mails are sent"),
    "UNLOCK_MAILS_PER_HOUR": Key(3, _whole(1, 60), "mails with such a link to one account in an hour, at most"),
    "MAX_CONSECUTIVE_FAILURES": Key(
        None, _whole(1, 100, optional=True), "failures in a row, however long it takes, until an account is locked"
    ),
    "ON_MAX_CONSECUTIVE_FAILURES": Key(None, _optional_function, "a callable (user, account, count) to call then"),
    "HMAC_KEY": Key(None, _hmac_key, "the key of the digests in the store, instead of one from SECRET_KEY"),
    "LOGGER_CLASS": Key(
        "secguard.logging.SecurityEventLogger",
        _class_path,
        "the SecurityEventLogger that the receivers use",
    ),
    "REQUEST_ID_HEADER": Key("X-Request-ID", _header, "the header that carries a request's id"),
    "UNKNOWN_ACCOUNT_NAMES": Key(
        "plain", _choice("plain", "digest"), "how names of accounts that do not exist are logged"
    ),
    "METRICS": Key("auto", _choice("auto", "on", "off"), "whether Prometheus counts: auto is beside django-prometheus"),
    "DISABLED_EVENTS": Key([], _events, "event types that are neither logged nor counted"),
    "MAX_LINES_PER_MINUTE": Key(20, _whole(1, 1_000_000), "lines of one client about refusals of one type, at most"),
    "PERSIST_EVENTS": Key(
        "decisions", _choice("decisions", "all", "none"), "which events become rows of the database, besides lines"
    ),
    "RETENTION_DAYS": Key(180, _whole(1, 36_500), "how many days 'manage.py secguard prune' keeps what has ended"),
    "PRIVACY": Key(
        "plain", _choice(*PRIVACY_MODES), "how addresses and names are shown: plain, truncate or hmac (pseudonyms)"
    ),
    "AUDIT_CHAIN": Key(False, _switch, "a keyed hash chain over the rows of events, which 'secguard verify' checks"),
    "GEOIP_PATH": Key(None, _file, "a country database (MMDB) of your own, for where attacks come from"),
    "ALERTS": Key({}, parse_alerts, "whom alerts reach, by mail and webhooks, and what is worth one"),
    "DRF_EXCEPTION_HANDLER": Key(
        None, _callable_path, "your own exception handler, which that of secguard calls, or None for REST framework's"
    ),
}


def parse(raw: object, environ: Mapping[str, str] = os.environ) -> tuple[Settings | None, list[InvalidSetting]]:
    """The settings, or None and everything that is wrong with them."""
    if not isinstance(raw, Mapping):
        return None, [InvalidSetting("", f"is {shown(raw)}", "settings.SECGUARD must be a dict.")]
    problems = [_unknown(name) for name in raw if name not in KEYS]
    values: dict[str, Any] = {}
    preset = raw.get("PRESET", "default")
    defaults = {**PRESETS.get(preset, {}), "RULES": {}} if isinstance(preset, str) else {}
    for name, key in KEYS.items():
        try:
            values[name.lower()] = key.parse(raw.get(name, defaults.get(name, key.default)))
        except ValueError as error:
            problems.append(InvalidSetting(name, *map(str, error.args)))
    mode = environ.get(MODE_VARIABLE)
    if mode is not None and mode not in MODES:
        problems.append(
            InvalidSetting("MODE", f"is overridden by {MODE_VARIABLE}={mode!r:.40}", f"Use one of {MODES}.")
        )
    if not problems:
        problems = _contradictions(values)
    if problems:
        return None, problems
    return _build(values, mode), []


def _contradictions(values: Mapping[str, Any]) -> list[InvalidSetting]:
    """Keys that are right each and wrong together."""
    for rule in _rules_in_force(values):
        if rule.subject not in (*SUBJECTS, *values["subjects"]):
            known = ", ".join((*SUBJECTS, *values["subjects"]))
            hint = f"Use one of {known}, or name your own in SECGUARD['SUBJECTS']."
            return [InvalidSetting("RULES", f"has the rule {rule.name!r} over the subject {rule.subject!r}", hint)]
        if rule.distinct in values["subjects"]:
            hint = "Count different values of a field of the event; rename the subject if it is called like that field."
            problem = f"has the rule {rule.name!r}, which counts distinct {rule.distinct!r}, a subject of your own"
            return [InvalidSetting("RULES", problem, hint)]
        if rule.action is Action.LOCK and values["account_lockout"] == "off":
            hint = "Set SECGUARD['ACCOUNT_LOCKOUT'] to 'unknown_devices' or 'all', or take the action 'log'."
            return [InvalidSetting("RULES", f"has the rule {rule.name!r} with the action 'lock'", hint)]
    proxies: TrustedProxies = values["trusted_proxies"]
    try:
        ClientAddressResolver(proxies.networks, hops=proxies.hops, header=values["client_ip_header"])
    except ValueError as error:
        return [InvalidSetting("TRUSTED_PROXIES", "does not go with CLIENT_IP_HEADER", f"{error}.")]
    return []


def _build(values: dict[str, Any], mode: str | None) -> Settings:
    overrides = values["rules"]
    values["fail_mode"], values["fail_mode_paths"] = values["fail_mode"]
    values["rules"] = _rules_in_force(values)
    key = values.pop("hmac_key")
    if mode is not None:
        values.update(mode=mode, mode_overridden=True)
    if key is None:
        values["hmac_key_is_derived"] = True
        secret = django_settings.SECRET_KEY
        key = hmac.digest(secret.encode() if isinstance(secret, str) else secret, b"secguard.hmac_key", "sha256")
    return Settings(rule_overrides=overrides, hmac_key=key, **values)


def _rules_in_force(values: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The catalogue, changed by the preset, changed by RULES.

    With a lockout the catalogue's rules over accounts lock, unless RULES says what they do.
    """
    changes: Mapping[str, Any] = values["rules"]
    rules = with_overrides(changes, with_overrides(PRESETS[values["preset"]].get("RULES", {}), ALL_RULES))
    idle, locking = set(), set()
    if values["account_lockout"] != "off":
        locking = {rule.name for rule in ALL_RULES if "action" not in _fields_of(changes.get(rule.name, {}))}
    if values["account_lockout"] != "unknown_devices":
        idle.add(DEVICE_FAILURES.name)
    if not values["trap_paths"]:
        idle.add(TRAP.name)
    idle |= OPT_IN - changes.keys()
    return tuple(
        replace(rule, action=Action.LOCK)
        if rule.name in locking and rule.subject == "account" and EventType.LOGIN_FAILED in rule.events
        else rule
        for rule in rules
        if rule.name not in idle
    )


def _fields_of(change: Any) -> Iterable[str]:
    """What a change of RULES says of a rule: a Rule says everything, True nothing."""
    if change is True:
        return ()
    return change if isinstance(change, Mapping) else ("action",)


def _unknown(name: object) -> InvalidSetting:
    text = name[:80] if isinstance(name, str) else shown(name)
    close = get_close_matches(text.upper(), KEYS, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(KEYS)}."
    return InvalidSetting(text, "is no setting of secguard", hint)


# -- caching -------------------------------------------------------------------------------------------

_missing: Any = object()


class _Cached(Generic[T]):
    """A function without arguments whose result is kept until the settings change."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._lock = RLock()
        self.value: T = _missing

    def __call__(self) -> T:
        value = self.value
        if value is not _missing:
            return value
        with self._lock:
            if self.value is _missing:
                self.value = self._function()
            return self.value

    def start_anew(self) -> None:
        self.value, self._lock = _missing, RLock()


_cached: list[_Cached[Any]] = []


def until_settings_change(function: Callable[[], T]) -> _Cached[T]:
    """Keep the function's result until SECGUARD, or a setting that it rests on, changes."""
    cached = _Cached(function)
    update_wrapper(cached, function)
    _cached.append(cached)
    return cached


@until_settings_change
def get_settings() -> Settings:
    """The settings in force. Raises ImproperlyConfigured, which names every key that is wrong."""
    settings, problems = parse(getattr(django_settings, "SECGUARD", {}))
    if settings is None:
        raise ImproperlyConfigured("\n".join(map(str, problems)))
    return settings


def reset() -> None:
    """Forget everything that was derived from the settings."""
    for cached in _cached:
        cached.value = _missing


def _start_anew_after_fork() -> None:
    """A forked process shares no counters, connections or floods to be reported with its parent, and no lock that a
    thread held there, which does not exist here."""
    failures.begin_anew()
    for cached in _cached:
        cached.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_after_fork)


def _on_setting_changed(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECGUARD", "CACHES", "SECRET_KEY", "AUTH_USER_MODEL"):
        reset()


setting_changed.connect(_on_setting_changed, dispatch_uid="secguard.conf")
