"""What the verbs print: aligned tables, JSON, durations a person reads, and how far a long task has come."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from secguard.formatters.text import one_line

#: What a table shows where there is nothing to show.
NOTHING = "-"
#: A reason or a name may be as long as its column of the database.
_MAX_CELL = 80


def write_json(command: BaseCommand, value: object) -> None:
    """Print a value as JSON: times in ISO 8601, durations in seconds."""
    command.stdout.write(json.dumps(value, indent=2, default=plain_value))


def plain_value(value: Any) -> Any:
    """What ``json`` takes for a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return str(value)


def write_table(command: BaseCommand, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows under the names of their columns, each as wide as it must be."""
    lines = [[name.replace("_", " ") for name in columns], *([cell(row[name]) for name in columns] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True))
        command.stdout.write("  ".join(padded).rstrip())


def write_facts(command: BaseCommand, facts: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        command.stdout.write(f"{name:<{width}}  {cell(value, 200)}")


def cell(value: Any, limit: int = _MAX_CELL) -> str:
    """A value in one line. What an attacker typed must not command the terminal."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    return one_line(str(value), limit)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def duration(seconds: float | None) -> str:
    """``15m``, ``2d 3h``: the two largest units, rounded up; ``for good`` where there is no end."""
    if seconds is None:
        return "for good"
    if 0 < seconds < 1:
        return f"{seconds:.1g}s"
    left = -int(-seconds // 1)
    if left >= 86_400:  # nobody asks for the minutes of a day
        left = -(-left // 3_600) * 3_600
    elif left >= 3_600:
        left = -(-left // 60) * 60
    parts = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts) or "0s"


def number_of(count: int, one: str, many: str = "") -> str:
    """``1 block``, ``2,000 blocks``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def confirm(question: str, *, otherwise: str) -> None:
    """Ask on a terminal. Raises CommandError for any answer but yes, and where nobody can be asked."""
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Add --yes if you mean it.")
    try:
        answer = input(f"{question} Continue? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError(otherwise)


class Progress:
    """One line on standard error that says how far a task is; nothing where nobody watches."""

    INTERVAL = 0.2
    _WIDTH = 20

    def __init__(self, what: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._stream, self._clock = what, stream or sys.stderr, clock
        self._shows = self._stream.isatty()
        self._next, self._is_written = 0.0, False

    def __call__(self, done: int, share: float | None = None) -> None:
        """``done``: of the task, so far. ``share``: of all, from 0 to 1, where that is known: it becomes a bar."""
        if self._shows and self._clock() >= self._next:
            self._next = self._clock() + self.INTERVAL
            self._is_written = True
            bar = "" if share is None else f" [{'#' * round(share * self._WIDTH):.<{self._WIDTH}}] {share:4.0%}"
            self._stream.write(f"\r{self._what}: {done:,}{bar}")
            self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_written:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
