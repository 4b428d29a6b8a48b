"""What the readers share: whom and what they know, and what they say of lines that are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from secguard.replay.attempts import Attempt, People
from secguard.replay.readers.times import Times

#: Lines that could not be read, of which the text is kept: all are counted.
MAX_SHOWN = 10_000
_MAX_TEXT = 200
#: What a line has to tell, by our names.
FIELDS = ("ts", "ip", "username", "outcome")
FAILURE_STATUSES = frozenset((200, 401, 403))


class UnreadableError(Exception):
    """A file that cannot be read, or of which nobody knows what it is."""


class Skipped(NamedTuple):
    """A line that could not be read. ``source``: the file's name."""

    source: str
    line: int
    text: str
    why: str


@dataclass(slots=True)
class Notes:
    """What is told of lines. ``ignored``: they could be read, and tell of no attempt."""

    lines: int = 0
    ignored: int = 0
    skipped_total: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, source: str, line: int, text: str, why: str) -> None:
        self.skipped_total += 1
        if len(self.skipped) < MAX_SHOWN:
            self.skipped.append(Skipped(source, line, text[:_MAX_TEXT], why))


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read. ``names``: our field → the log's. ``year``: of a log that does not say, None to find out.
    ``login_paths``: of requests that are attempts, without their last slash. ``failure_statuses``: of answers."""

    people: People
    times: Times
    notes: Notes
    names: Mapping[str, str] = field(default_factory=lambda: {name: name for name in FIELDS})
    year: int | None = None
    login_paths: frozenset[str] = frozenset()
    failure_statuses: frozenset[int] = FAILURE_STATUSES


class Reader(Protocol):
    """One format, for one file. ``recognises`` looks at single lines."""

    def __init__(self, source: str, reading: Reading, modified: float) -> None: ...

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool: ...

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        """The attempts in these lines, the first of which has the number ``first``."""
        ...

    def end(self) -> list[Attempt]:
        """What was still held back."""
        ...


def outcome_of(value: object) -> bool:
    """Has it failed? Raises ValueError for what is no outcome."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("failure", "failed", "fail", "login_failed"):
            return True
        if word in ("success", "succeeded", "successful", "login_success"):
            return False
    raise ValueError(f"outcome is {value!r:.80}, neither failure nor success")
