"""Bytes read as values of any shape, so that a fuzzer that knows nothing but bytes reaches every target."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeVar

from secguard.conf import KEYS
from secguard.detection.catalogue import ALL_RULES
from secguard.events import EventType
from tests.formatters.hostile import HOSTILE, STRINGS

T = TypeVar("T")

MAX_DEPTH = 5
#: What a value has to look like to get past the first question it is asked.
WORDS = (
    *("default", "all", "unknown_devices", "block", "lock", "refuse", "log", "strict", "pci", "nist", "off", "closed"),
    *("10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::/32", "::ffff:10.0.0.0/104", "unix", "hops", "peers"),
    *("X-Forwarded-For", "Forwarded", "X-Real-IP", "/healthz", "/", "*.php", "http://[", "https://example.com"),
    *("redis://h", "a.b", "secguard.conf.parse", "k" * 16, "events", "subject", "threshold", "window", "distinct"),
    *("severity", "action", "block_duration", "technique", "max_per_value", "max_success_rate", "window_ms", "name"),
    *("address", "account", "pair", "network", "user", "device", "actor", "critical", "password", "token", "path"),
    *(EventType.LOGIN_FAILED.value, EventType.NOT_FOUND.value, EventType.DEGRADED.value, "device_failures", "trap"),
)
NUMBERS = (0, 1, -1, 2, 60, 900, 1_000, 1_001, 2**31, 2**63, 2**64, 10**5_000, -(10**5_000))
FLOATS = (0.0, -0.0, 0.5, 1.5, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
#: Lists in lists, deeper than ``repr`` goes.
DEEP: list[Any] = []
for _ in range(10_000):
    DEEP = [DEEP]
ENCODINGS = (("utf-8", "surrogateescape"), ("latin-1", "strict"), ("utf-16-le", "surrogatepass"))


class Source:
    """Reads values from the bytes, one after the other. Where the bytes end, all that follows is small and empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(1 if below <= 256 else 2), "big") % below

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.number(len(choices))]

    def yes(self) -> bool:
        return self.number(2) == 1

    def text(self) -> str:
        kind = self.number(8)
        if kind == 0:
            return self.pick(STRINGS)
        if kind == 1:
            return self.pick(WORDS)
        encoding, errors = self.pick(ENCODINGS)
        text = self.take(self.number(128)).decode(encoding, errors if encoding != "utf-16-le" else "replace")
        return text * self.pick((1, 100, 10_000)) if kind == 2 else text

    def scalar(self) -> Any:
        kind = self.number(8)
        if kind == 0:
            return self.pick((None, True, False))
        if kind == 1:
            return self.pick(NUMBERS)
        if kind == 2:
            return self.pick(FLOATS)
        if kind == 3:
            return struct.unpack("<d", self.take(8).ljust(8, b"\0"))[0]
        if kind == 4:
            return int.from_bytes(self.take(self.number(9)), "big", signed=True)
        return self.text()

    def json_like(self, depth: int = 0) -> Any:
        """What a settings file may hold, from None to nested lists and dicts."""
        kind = self.number(4) if depth < MAX_DEPTH else 0
        if kind == 1:
            return [self.json_like(depth + 1) for _ in range(self.number(5))]
        if kind == 2:
            return {self.text(): self.json_like(depth + 1) for _ in range(self.number(5))}
        return DEEP if kind == 3 and self.number(16) == 15 else self.scalar()

    def anything(self, depth: int = 0) -> Any:
        """What Python code may hand over: also bytes, sets, objects that break whoever looks at them."""
        kind = self.number(8) if depth < MAX_DEPTH else 0
        if kind == 1:
            return [self.anything(depth + 1) for _ in range(self.number(5))]
        if kind == 2:
            return tuple(self.anything(depth + 1) for _ in range(self.number(5)))
        if kind == 3:
            return {self.key(): self.anything(depth + 1) for _ in range(self.number(5))}
        if kind == 4:
            return {self.key() for _ in range(self.number(5))}
        if kind == 5:
            return self.take(self.number(64))
        if kind == 6:
            return HOSTILE[self.pick(sorted(HOSTILE))]
        if kind == 7 and self.number(16) == 15:
            return DEEP
        return self.scalar()

    def key(self) -> Any:
        kind = self.number(4)
        if kind == 0:
            return self.scalar()
        if kind == 1:
            return self.take(self.number(16))
        return self.text()

    def settings(self) -> dict[Any, Any]:
        raw: dict[Any, Any] = {}
        for _ in range(1 + self.number(4)):
            kind = self.number(8)
            if kind == 0:
                raw[self.key()] = self.json_like()
            elif kind <= 2:
                raw["RULES"] = {self.rule_name(): self.rule() for _ in range(1 + self.number(3))}
            else:
                raw[self.pick(list(KEYS))] = self.json_like()
        return raw

    def rule_name(self) -> str:
        return self.pick(ALL_RULES).name if self.yes() else self.text()

    def rule(self) -> Any:
        if self.number(8) == 0:
            return self.json_like()
        fields = ("events", "subject", "threshold", "window", "distinct", "severity", "action", "block_duration")
        more = ("technique", "max_per_value", "max_success_rate", "name")
        return {self.pick((*fields, *more)): self.json_like(MAX_DEPTH - 2) for _ in range(1 + self.number(4))}
