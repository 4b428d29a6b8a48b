"""What the demo prints: progress while it runs, then one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sample_project.demo.client import Reply, median_ms


@dataclass(slots=True)
class Outcome:
    """One scenario: what was sent, what was answered, and the promises that were not kept."""

    name: str
    replies: list[Reply] = field(default_factory=list)
    password_checks: int = 0
    threats: list[str] = field(default_factory=list)
    allowed: list[Reply] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def refused(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.refused]

    @property
    def let_in(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.status == 302]

    def expect(self, kept: bool, promise: str) -> None:
        """Note a promise, and print it; a broken one fails the demo in the end."""
        print(f"    {'ok  ' if kept else 'FAIL'} {promise}", flush=True)
        if not kept:
            self.broken.append(f"{self.name}: {promise}")

    def expect_count(self, actual: int, expected: int, what: str) -> None:
        surplus = "" if actual == expected else f", not {actual}"
        self.expect(actual == expected, f"{expected} {what}{surplus}")

    def show(self, reply: Reply) -> None:
        """One mark for each answer, as it comes in."""
        mark = "x" if reply.refused else {200: ".", 302: "+"}.get(reply.status, "?")
        print(mark, end="", flush=True)


HEADINGS = (
    "scenario",
    "requests",
    "checks run",
    "block fell",
    "refused with",
    "refused in",
    "allowed in",
    "threats opened",
)
NUMERIC = {1, 2, 5, 6}


def table(outcomes: Sequence[Outcome]) -> str:
    rows = [HEADINGS, *(_row(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in NUMERIC else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _row(outcome: Outcome) -> tuple[str, ...]:
    statuses = Counter(reply.status for reply in outcome.refused)
    return (
        outcome.name,
        str(len(outcome.replies)),
        str(outcome.password_checks),
        _when_the_block_fell(outcome.replies),
        ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())) or "-",
        _milliseconds(outcome.refused),
        _milliseconds(outcome.allowed),
        ", ".join(outcome.threats) or "-",
    )


def _when_the_block_fell(replies: Sequence[Reply]) -> str:
    for number, reply in enumerate(replies, start=1):
        if reply.refused:
            elapsed = (reply.ended - min(reply.started for reply in replies)) * 1000
            return f"answer {number}, {elapsed:.0f} ms"
    return "-"


def _milliseconds(replies: Sequence[Reply]) -> str:
    value = median_ms(replies)
    return "-" if value is None else f"{value:.1f} ms"
