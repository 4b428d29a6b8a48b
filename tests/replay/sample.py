"""The night that docs/replay.md tells of: a guesser, a botnet, and an office on the morning after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

NIGHT = datetime(2026, 11, 30, 2, 0, tzinfo=timezone.utc)
OFFICE = "198.51.100.4"
STAFF = ("anna", "bert", "carl", "dora", "emil", "fred")


def attempts() -> Iterator[tuple[datetime, str, str, bool]]:
    """When, from where, as whom, and whether it failed."""
    for number in range(40):
        yield NIGHT + timedelta(seconds=3 * number), "203.0.113.7", f"user{number}@example.com", True
    for number in range(12):
        yield NIGHT + timedelta(minutes=30 + 2 * number), f"192.0.2.{number + 1}", "anna", True
    morning = NIGHT + timedelta(hours=6)
    for number, name in enumerate(STAFF):
        yield morning + timedelta(seconds=20 * number), OFFICE, name, True
    for number, name in enumerate(STAFF):
        yield morning + timedelta(minutes=3, seconds=20 * number), OFFICE, name, False


def json_lines() -> list[str]:
    return [
        json.dumps(
            {
                "ts": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "ip": address,
                "username": name,
                "outcome": "failure" if failed else "success",
            }
        )
        for at, address, name, failed in attempts()
    ]


def access_log() -> list[str]:
    return [
        f'{address} - - [{at.strftime("%d/%b/%Y:%H:%M:%S +0000")}] "POST /accounts/login/ HTTP/1.1" '
        f'{200 if failed else 302} 512 "-" "Mozilla/5.0"'
        for at, address, _, failed in attempts()
    ]


def write(directory: Path) -> None:
    (directory / "logins.jsonl").write_text("\n".join([*json_lines(), "# rotated"]) + "\n")
    (directory / "access.log").write_text("\n".join(access_log()) + "\n")
