"""Reads the security events that the site's workers wrote to their log file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: How long a line may take from the answer to the file, in seconds.
PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log: as it stands there, and parsed."""

    raw: str
    level: str
    context: dict[str, Any]

    @property
    def event_type(self) -> str:
        return str(self.context.get("event_type", ""))

    def is_about(self, subject: str) -> bool:
        """Whether the event names this address or account, in whichever field."""
        fields = ("subject", "ip_address", "username", "email")
        return any(subject in str(self.context.get(field, "")) for field in fields)


@dataclass(slots=True)
class EventLog:
    """The log file from ``offset`` on: a scenario reads the lines that were written since it began."""

    path: Path
    offset: int = 0

    def from_here(self) -> EventLog:
        return EventLog(self.path, self.path.stat().st_size if self.path.exists() else 0)

    def __iter__(self) -> Iterator[Line]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            written = file.read()
        # A line that is being written has no end yet.
        for raw in written.decode().split("\n")[:-1]:
            data = json.loads(raw)
            yield Line(raw, data["level"], data["context"])

    def has(self, event_type: str, subject: str, rule: str | None = None) -> bool:
        """Whether such an event is logged, or is within ``PATIENCE``."""
        deadline = time.monotonic() + PATIENCE
        while not self._find(event_type, subject, rule):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _find(self, event_type: str, subject: str, rule: str | None) -> bool:
        return any(
            line.event_type == event_type
            and line.is_about(subject)
            and (rule is None or line.context.get("rule") == rule)
            for line in self
        )

    def threats(self) -> list[str]:
        """The rules whose threats opened, in order."""
        return [str(line.context.get("rule")) for line in self if line.event_type == "suspicious_activity"]

    def critical(self) -> list[str]:
        return [line.raw for line in self if line.level == "CRITICAL"]
