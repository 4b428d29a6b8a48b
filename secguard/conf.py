"""``settings.SECGUARD``, read late, validated as a whole and turned into a frozen, typed object.

Every key is declared once, in ``KEYS``. What is derived from the settings elsewhere (the store, the
detector, …) is built by functions decorated with ``until_settings_change``, so that ``override_settings``
just works.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import update_wrapper
from threading import RLock
from typing import Any, Generic, NamedTuple, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from secguard.detection import Rule, with_overrides
from secguard.exceptions import InvalidRule, InvalidSetting
from secguard.network import ClientAddressResolver, describe_too_wide, parse_network

#: Overrides MODE without a deploy: the way out when the guard itself is the trouble. Logged at start.
MODE_VARIABLE = "SECGUARD_MODE"
MODES = ("enforce", "monitor", "off")

T = TypeVar("T")


class TrustedProxies(NamedTuple):
    """Whose forwarding header is believed. ``hops``: proxies that append, where their addresses vary."""

    networks: tuple[str, ...] = ()
    hops: int | None = None


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
    block_duration: float
    block_status: int
    blocked_response: str | Callable[..., Any] | None
    sync_interval: float
    fail_mode: str
    store_timeout: float
    reserve_wait: float
    reserve_max_waiters: int | None
    max_active_blocks: int
    hmac_key: bytes
    logger_class: str | type
    request_id_header: str
    unknown_account_names: str
    mode_overridden: bool = False
    hmac_key_is_derived: bool = False

    @property
    def enforces(self) -> bool:
        return self.mode == "enforce"


# -- parsers: each returns the parsed value or raises ValueError(problem, hint) -----------------------


def _bad(value: object, hint: str) -> ValueError:
    return ValueError(f"is {value!r:.120}", hint)


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
            raise _bad(value, f"Give {least:g} to {most:g} seconds.")
        return float(seconds)

    return parse


def _whole(least: int, most: int, *, optional: bool = False) -> Callable[[Any], int | None]:
    def parse(value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _bad(value, f"Give a whole number from {least} to {most}.")
        return value

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(value, "Give a non-empty string.")
    return value


def _header(value: Any) -> str:
    if not isinstance(value, str) or not value.replace("-", "").isalnum() or not value.isascii():
        raise _bad(value, "Give the name of an HTTP header as it is sent, such as 'X-Forwarded-For'.")
    return value


def _redis_url(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        # The value is not repeated: it may hold a password.
        raise ValueError("is no Redis URL", "Give redis://…, rediss://… or unix://…, or None for CACHE_ALIAS.")
    return value


def _networks(value: Any, *, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of addresses and networks, such as ['192.0.2.0/24'].")
    return tuple(entry if entry in also else _network(entry) for entry in value)


def _network(entry: Any) -> str:
    try:
        network = parse_network(entry if isinstance(entry, str) else str(entry))
    except ValueError as error:
        raise ValueError(f"has the entry {entry!r:.80}", f"{error}") from None
    too_wide = describe_too_wide(network)
    if too_wide:
        raise ValueError(f"has the entry {entry!r:.80}", too_wide)
    return str(network)


def _proxies(value: Any) -> TrustedProxies:
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


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, set, frozenset)):
        raise _bad(value, "Give a list of paths, such as ['/healthz'].")
    for path in value:
        if not isinstance(path, str) or not path.startswith("/") or not path.strip("/"):
            raise ValueError(f"has the entry {path!r:.80}", "A path starts with '/', and '/' alone would exempt all.")
    return tuple(value)


def _rules(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _bad(value, "Give a dict: rule name → fields to change, a Rule, or None to switch it off.")
    try:
        with_overrides(value)
    except InvalidRule as error:
        raise ValueError("is wrong", f"{error}") from None
    return dict(value)


def _callable_path(value: Any) -> str | Callable[..., Any] | None:
    if value is None or (isinstance(value, str) and "." in value):
        return value
    if callable(value):
        found: Callable[..., Any] = value
        return found
    raise _bad(value, "Give a dotted path to a callable, or None.")


def _class_path(value: Any) -> str | type:
    if isinstance(value, type) or (isinstance(value, str) and "." in value):
        return value
    raise _bad(value, "Give a subclass of secguard.logging.SecurityEventLogger, or the dotted path to one.")


def _hmac_key(value: Any) -> bytes | None:
    if value is None:
        return None
    key = value.encode() if isinstance(value, str) else value
    if not isinstance(key, bytes) or len(key) < 16:
        raise ValueError("is too short or no text", "Give at least 16 random characters, or None.")
    return key


class Key(NamedTuple):
    """One key of SECGUARD: its default, how it is parsed, and a line for the documentation."""

    default: Any
    parse: Callable[[Any], Any]
    summary: str


_DAY = 86_400

KEYS: dict[str, Key] = {
    "MODE": Key("enforce", _choice(*MODES), "enforce, monitor (log what would be refused) or off"),
    "CACHE_ALIAS": Key("default", _text, "the cache of settings.CACHES whose server keeps the counters"),
    "REDIS_URL": Key(None, _redis_url, "a Redis or Valkey server for the counters, instead of CACHE_ALIAS"),
    "TRUSTED_PROXIES": Key([], _proxies, "networks of the proxies whose forwarding header is believed"),
    "CLIENT_IP_HEADER": Key("X-Forwarded-For", _header, "the header in which trusted proxies name the client"),
    "RULES": Key({}, _rules, "changes to the detection rules, by name"),
    "ALLOWLIST": Key([], _networks, "addresses and networks that are never blocked or refused"),
    "EXEMPT_PATHS": Key([], _paths, "paths (and what is below them) that are served to blocked addresses too"),
    "BLOCK_DURATION": Key(900, _seconds(1, 3650 * _DAY), "how long an automatic block lasts"),
    "BLOCK_STATUS": Key(403, _choice(403, 429), "the status of a refused request: 403 or 429"),
    "BLOCKED_RESPONSE": Key(None, _callable_path, "a callable (request, refusal) → HttpResponse of your own"),
    "SYNC_INTERVAL": Key(1, _seconds(0, 3600), "how often a process asks whether the blocks have changed"),
    "FAIL_MODE": Key("local", _choice("local", "open", "closed"), "what happens while the store is away"),
    "STORE_TIMEOUT": Key(0.05, _seconds(0.001, 60), "how long the store may take to answer"),
    "RESERVE_WAIT": Key(10, _seconds(0, 60), "how long an attempt may wait for others to finish"),
    "RESERVE_MAX_WAITERS": Key(None, _whole(0, 100_000, optional=True), "attempts that may wait in one process"),
    "MAX_ACTIVE_BLOCKS": Key(100_000, _whole(1, 10_000_000), "automatic blocks in force at one time, at most"),
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
}


def parse(raw: object, environ: Mapping[str, str] = os.environ) -> tuple[Settings | None, list[InvalidSetting]]:
    """The settings, or None and everything that is wrong with them."""
    if not isinstance(raw, Mapping):
        return None, [InvalidSetting("", f"is {raw!r:.80}", "settings.SECGUARD must be a dict.")]
    problems = [_unknown(name) for name in raw if name not in KEYS]
    values: dict[str, Any] = {}
    for name, key in KEYS.items():
        try:
            values[name.lower()] = key.parse(raw.get(name, key.default))
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
    proxies: TrustedProxies = values["trusted_proxies"]
    try:
        ClientAddressResolver(proxies.networks, hops=proxies.hops, header=values["client_ip_header"])
    except ValueError as error:
        return [InvalidSetting("TRUSTED_PROXIES", "does not go with CLIENT_IP_HEADER", f"{error}.")]
    return []


def _build(values: dict[str, Any], mode: str | None) -> Settings:
    overrides = values.pop("rules")
    key = values.pop("hmac_key")
    if mode is not None:
        values.update(mode=mode, mode_overridden=True)
    if key is None:
        values["hmac_key_is_derived"] = True
        secret = django_settings.SECRET_KEY
        key = hmac.digest(secret.encode() if isinstance(secret, str) else secret, b"secguard.hmac_key", "sha256")
    return Settings(rules=with_overrides(overrides), rule_overrides=overrides, hmac_key=key, **values)


def _unknown(name: object) -> InvalidSetting:
    close = get_close_matches(str(name).upper(), KEYS, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(KEYS)}."
    return InvalidSetting(str(name)[:80], "is no setting of secguard", hint)


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


def _on_setting_changed(*, setting: str, **kwargs: object) -> None:
    if setting in ("SECGUARD", "CACHES", "SECRET_KEY", "AUTH_USER_MODEL"):
        reset()


setting_changed.connect(_on_setting_changed, dispatch_uid="secguard.conf")
