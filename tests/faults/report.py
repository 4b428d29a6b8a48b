"""What each fault cost, for the table at the end of the run. Figures are reported; no test rests on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles


@dataclass
class Row:
    """One fault on one kind of server. ``before``, ``during``: milliseconds that logins took."""

    fault: str
    server: str
    statuses: Counter[int] = field(default_factory=Counter)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    counts: str = ""

    def cells(self) -> list[str]:
        statuses = " ".join(f"{status}x{number}" for status, number in sorted(self.statuses.items()))
        # What says something of the fault; failures and successes are as many as were sent.
        told = {name: n for name, n in sorted(self.events.items()) if name in ("degraded", "recovered")}
        events = " ".join(f"{name}x{number}" for name, number in told.items())
        first = f"{self.during[0]:.0f}" if self.during else ""
        return [self.fault, self.server, statuses, first, *self._added(), events, self.counts]

    def _added(self) -> list[str]:
        if len(self.before) < 2 or len(self.during) < 3:
            return ["", ""]
        before, during = _p50_p99(self.before), _p50_p99(self.during[1:])
        return [f"{now - then:+.1f}" for then, now in zip(before, during, strict=True)]


HEAD = ["fault", "server", "statuses", "first ms", "p50 +ms", "p99 +ms", "events", "count before > after"]
rows: list[Row] = []


def _p50_p99(times: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(times, n=100, method="inclusive")
    return cuts[49], cuts[98]


def lines(rows: Iterable[Row]) -> list[str]:
    """A table of plain text."""
    table = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
