"""Numbers and lists as the page says them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmarks.peers.results import Interval

WIDTH = 120


def bullet(text: str) -> str:
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def signed(number: float) -> str:
    rounded = f"{number:+,.0f}"
    return "0" if rounded in ("+0", "-0") else rounded


def interval(found: Interval) -> str:
    return f"{signed(found.middle)} ({signed(found.low)} to {signed(found.high)})"


def short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
