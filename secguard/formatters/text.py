"""Turn any Python value into one that is safe to log: bounded, JSON-ready, without secrets.

Nothing here raises for any input; only BaseExceptions such as KeyboardInterrupt pass through.
Limits count characters and include the "…" that marks a cut.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"

ELLIPSIS = "…"
REDACTED = "[redacted]"
CIRCULAR = "<circular>"

MAX_DEPTH = 4
MAX_ITEMS = 32
# 32 items on each of 4 levels would be a million values: all the containers of one call share this many.
MAX_NODES = 1024
MAX_CONTEXT_KEYS = 64
MAX_KEY_LENGTH = 64
# A key is searched for secret names well beyond the part of it that is shown.
MAX_KEY_SEARCH = 256

# Matched in the case-folded key without "-", "_", "." and spaces: X-Api-Key, apiKey and api_key are one.
SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "authorization", "cookie", "apikey"),
    *("credential", "privatekey", "sessionkey", "sessionid", "csrf", "querystring"),
)
NOT_SECRET_SUFFIXES = ("_count", "_limit")
LONG_VALUES = frozenset({"path", "message", "detail", "reason", "error", "description"})

_SEPARATORS = str.maketrans("", "", "-_. ")
# One greedy run of one character class: it cannot backtrack, so substituting is linear in the text.
# The characters that end it are those that no URL contains unescaped (RFC 3986, section 2). Of spaces only
# the ASCII ones: whoever does not escape an "à" sends the byte A0, which servers hand on as a no-break space.
_QUERY = re.compile(r'\?[^\s"<>]+', re.ASCII)
_ITERATORS: tuple[tuple[type, Callable[[Any], Iterator[object]]], ...] = (
    (list, list.__iter__),
    (tuple, tuple.__iter__),
    (set, set.__iter__),
    (frozenset, frozenset.__iter__),
    (deque, deque.__iter__),
)
_CONTAINERS = (dict, *(kind for kind, _ in _ITERATORS), Mapping)


def clean(value: object, limit: int = 256) -> JSONValue:
    """Return `value` as JSON-safe data, each text in it at most `limit` characters.

    Mappings and sequences keep `MAX_DEPTH` levels of `MAX_ITEMS` items, then a "…". URL queries, and
    values under keys that name a secret, become "[redacted]". What has no readable form becomes
    "<unprintable ClassName>".
    """
    if type(value) is str and len(value) <= limit and value.isascii() and "?" not in value:
        return value
    return _Walk().clean(value, limit)


def clean_context(context: Mapping[str, object]) -> dict[str, JSONValue]:
    """Return the `context` of a log record as JSON-safe data without secrets.

    At most `MAX_CONTEXT_KEYS` keys of at most `MAX_KEY_LENGTH` characters are kept; a cut one says
    `"truncated": true`. What is not a mapping, or cannot be read as one, is shown under "context".
    """
    try:
        items = _items(context, MAX_CONTEXT_KEYS + 1)
    except Exception:
        return {"context": clean(context)}
    truncated = len(items) > MAX_CONTEXT_KEYS
    if truncated:
        del items[MAX_CONTEXT_KEYS - 1 :]
    walk = _Walk()
    result: dict[str, JSONValue] = {}
    for raw, value in items:
        key, secret, limit = _described(raw) if type(raw) is str and len(raw) <= MAX_KEY_SEARCH else _key(raw)
        if secret:
            value = REDACTED
        # What nearly every value is, without a call: this runs for each value of each event.
        elif type(value) is not str or len(value) > limit or not value.isascii() or "?" in value:
            value = walk.clean(value, limit)
        result[key] = value
    if truncated:
        result["truncated"] = True
    return result


def clean_text(value: object, limit: int = 256) -> str:
    """Return `value` as one text of at most `limit` characters, without lone surrogates or URL queries."""
    if type(value) is str:
        if len(value) <= limit and value.isascii() and "?" not in value:
            return value
        return _fit(value, limit)
    try:
        return _fit(_as_text(value, limit), limit)
    except Exception:
        return _unprintable(value)


def one_line(text: str, limit: int = 512) -> str:
    r"""Return `text` on one line of at most `limit` characters, in which nothing is hidden.

    Whatever Python's `repr` would escape is escaped in its style (`\n`, `\x1b`, `\u202e`): control,
    bidirectional, zero-width and line-separating characters. Lone surrogates become U+FFFD.
    """
    if type(text) is not str:
        text = clean_text(text, limit)
    if len(text) <= limit and text.isprintable():
        return text
    safe = _without_surrogates(text[: limit + 1])
    if not safe.isprintable():
        safe = "".join(char if char.isprintable() else _escape(char) for char in safe)
    return _cut(safe, limit, cut_already=len(text) > limit)


def redact_queries(text: str) -> str:
    """Return `text` with the query of every URL or path in it replaced: "/x?token=abc" → "/x?[redacted]".

    A query is a "?" and a run of URL characters with a "=" in it, plain or percent-encoded.
    """
    return _QUERY.sub(_redacted, text) if "?" in text else text


class _Walk:
    """One pass over a value, with the number of contained values still allowed."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_NODES

    def clean(self, value: object, limit: int, path: tuple[int, ...] = ()) -> JSONValue:
        """Return `value` as JSON-safe data; `path` holds the ids of the containers around it."""
        if type(value) is str:
            if len(value) <= limit and value.isascii() and "?" not in value:
                return value
            return _fit(value, limit)
        if value is None or type(value) is bool or (type(value) is int and value.bit_length() <= 64):
            return value
        try:
            return self._other(value, limit, path)
        except Exception:
            return _unprintable(value)

    def _other(self, value: object, limit: int, path: tuple[int, ...]) -> JSONValue:
        # type(), not isinstance(): the latter believes `__class__`, which lazy objects and liars override.
        kind = type(value)
        if issubclass(kind, str):
            return clean_text(value, limit)
        if issubclass(kind, int):
            number = int.__index__(value)  # type: ignore[arg-type]
            return number if number.bit_length() <= 64 else clean_text(number, limit)
        if issubclass(kind, float):
            return _finite(float.__float__(value))  # type: ignore[arg-type]
        if issubclass(kind, _CONTAINERS):
            return self._container(value, limit, path)
        return clean_text(value, limit)

    def _container(self, value: object, limit: int, path: tuple[int, ...]) -> JSONValue:
        if id(value) in path:
            return CIRCULAR
        if len(path) >= MAX_DEPTH or self.left <= 0:
            return ELLIPSIS
        path = (*path, id(value))
        if issubclass(type(value), (dict, Mapping)):
            return self._mapping(value, limit, path)
        return self._sequence(value, limit, path)

    def _mapping(self, value: Any, limit: int, path: tuple[int, ...]) -> dict[str, JSONValue]:
        items = self._spend(_items(value, MAX_ITEMS + 1))
        result: dict[str, JSONValue] = {}
        for raw, item in items[:MAX_ITEMS]:
            key, secret, _ = _key(raw)
            result[key] = REDACTED if secret else self.clean(item, limit, path)
        if len(items) > MAX_ITEMS:
            result[ELLIPSIS] = ELLIPSIS
        return result

    def _sequence(self, value: object, limit: int, path: tuple[int, ...]) -> list[JSONValue]:
        iterate = next(iterate for kind, iterate in _ITERATORS if issubclass(type(value), kind))
        items = self._spend(list(islice(iterate(value), MAX_ITEMS + 1)))
        result = [self.clean(item, limit, path) for item in items[:MAX_ITEMS]]
        if issubclass(type(value), (set, frozenset)):
            result = _ordered(result)
        if len(items) > MAX_ITEMS:
            result.append(ELLIPSIS)
        return result

    def _spend(self, items: list[Any]) -> list[Any]:
        self.left -= len(items)
        return items


def _key(raw: object) -> tuple[str, bool, int]:
    """Return the key as shown, whether it names a secret, and the limit of the text under it."""
    if type(raw) is str and len(raw) <= MAX_KEY_SEARCH:
        return _described(raw)
    return _described(clean_text(raw, MAX_KEY_SEARCH))


@lru_cache(maxsize=1024)
def _described(key: str) -> tuple[str, bool, int]:
    return clean_text(key, MAX_KEY_LENGTH), names_a_secret(key), 512 if key in LONG_VALUES else 256


def names_a_secret(key: str) -> bool:
    """Is what stands under such a key not to be shown?"""
    folded = unicodedata.normalize("NFKC", key).casefold()
    if folded.endswith(NOT_SECRET_SUFFIXES):
        return False
    name = folded.translate(_SEPARATORS)
    return any(secret in name for secret in SECRET_NAMES)


def _items(mapping: Any, most: int) -> list[tuple[object, object]]:
    # The methods of dict itself: a subclass's own may raise, lie or never end.
    items = dict.items(mapping) if issubclass(type(mapping), dict) else mapping.items()
    return [(key, value) for key, value in islice(items, most)]


def _ordered(cleaned: list[JSONValue]) -> list[JSONValue]:
    try:
        return sorted(cleaned)  # type: ignore[type-var]
    except TypeError:  # mixed types
        return sorted(cleaned, key=repr)


def _finite(number: float) -> float | str:
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _as_text(value: Any, limit: int) -> str:
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, (bytes, bytearray)):
        base = bytes if issubclass(kind, bytes) else bytearray
        # No character takes more than four bytes: enough for `limit` of them and one that shows the cut.
        return base.__getitem__(value, slice(4 * limit + 4)).decode("utf-8", "replace")
    if issubclass(kind, int) and kind is not bool:
        return _digits(int.__index__(value))
    if issubclass(kind, Enum):
        return str.__str__(value.value if issubclass(type(value.value), str) else value.name)
    if issubclass(kind, (date, time)):
        base_type = next(base for base in (datetime, date, time) if issubclass(kind, base))
        return base_type.isoformat(value)
    if issubclass(kind, _CONTAINERS):
        # Not str() of it: that has no bound, and shows the secrets.
        return str(_Walk().clean(value, limit))
    # str() may return an instance of a subclass of str; str.__str__ makes a plain one of it.
    return str.__str__(str(value))


def _digits(number: int) -> str:
    # Decimal digits cost quadratic time, and Python refuses more than 4,300 (640 at the least) of them.
    if number.bit_length() <= 1024:
        return str(number)
    return f"<int of {number.bit_length()} bits>"


def _unprintable(value: object) -> str:
    try:
        return _fit(f"<unprintable {type(value).__name__}>", 128)
    except Exception:
        return "<unprintable>"


def _fit(text: str, limit: int) -> str:
    # One more character than is kept, so that _cut sees that there was more.
    shown = text[: limit + 1]
    safe = redact_queries(_without_surrogates(shown))
    return _cut(safe, limit, cut_already=len(text) > limit)


def _cut(text: str, limit: int, cut_already: bool = False) -> str:
    if len(text) <= limit and not cut_already:
        return text
    return text[: max(limit - 1, 0)] + ELLIPSIS


def _without_surrogates(text: str) -> str:
    if text.isascii():
        return text
    # UTF-16 joins the pairs and replaces only the lone ones.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _redacted(query: re.Match[str]) -> str:
    run = query.group()
    return f"?{REDACTED}" if "=" in run or "%3d" in run.casefold() else run


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
