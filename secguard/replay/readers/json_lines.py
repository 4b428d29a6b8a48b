"""JSON lines: any with a time, an address, a user name and an outcome; and secguard's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from secguard.detection import normalize_identifier
from secguard.events import EventType
from secguard.replay.attempts import Attempt, attempt
from secguard.replay.readers.reading import Reading, outcome_of

#: What ``json.loads`` calls, without what it does around it.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_LOGINS = {EventType.LOGIN_FAILED.value: True, EventType.LOGIN_SUCCESS.value: False}
#: Names that are known to belong to one user.
_MAX_ALIASES = 50_000


def decoded(line: str) -> Any:
    """Raises ValueError for what is no JSON."""
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        raise ValueError("no JSON") from None


class JsonLines:
    """Objects with the fields ``ts``, ``ip``, ``username`` and ``outcome``, or what those are called there.

    A name with dots finds its way into nested objects.
    """

    def __init__(self, source: str, reading: Reading, modified: float = 0) -> None:
        self._source, self._reading = source, reading

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool:
        try:
            row = decoded(line)
        except ValueError:
            return False
        return isinstance(row, dict) and all(_find(row, reading.names[name]) is not None for name in ("ts", "outcome"))

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        found: list[Attempt] = []
        append, scan, names = found.append, _scan, self._reading.names
        ts, ip, username, outcome = (names[name] for name in ("ts", "ip", "username", "outcome"))
        times, people = self._reading.times, self._reading.people
        minutes, seconds, tails = times.minutes, times.seconds, times.tails
        clients, accounts, outcomes = people.clients, people.accounts, {"failure": True, "success": False}
        number = first - 1
        for line in lines:
            number += 1
            try:
                # A time whose parts have been met before: nearly every line.
                row, end = scan(line, 0)
                time, address, name = row[ts], row[ip], row[username]
                at = minutes[time[:16]] + seconds[time[16:19]] + tails[time[19:]]
                client = clients.get(address) or people.client(address)
                account = accounts.get(name) or people.account(name)
                if end == len(line) and (account or client[0]):
                    append((client[0], client[1], account, None, None, at, outcomes[row[outcome]], client[2], None))
                    continue
            except (KeyError, TypeError, ValueError, StopIteration, RecursionError):
                pass
            if line and not line.isspace():
                try:
                    append(self._attempt(decoded(line)))
                except ValueError as error:
                    self._reading.notes.skip(self._source, number, line, str(error))
        return found

    def _attempt(self, row: object) -> Attempt:
        if not isinstance(row, dict):
            raise ValueError("no JSON object")
        names, people = self._reading.names, self._reading.people
        at = self._reading.times.iso(_find(row, names["ts"]))
        failed = outcome_of(_find(row, names["outcome"]))
        client, account = people.client(_find(row, names["ip"])), people.account(_find(row, names["username"]))
        if client.subject is None and account is None:
            raise ValueError("neither an address nor an account")
        return attempt(at, failed, client, account)

    def end(self) -> list[Attempt]:
        return []


def _find(row: Mapping[str, Any], name: str) -> Any:
    if name in row or "." not in name:
        return row.get(name)
    found: Any = row
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


class SecguardLines:
    """The lines that ``SecurityJsonFormatter`` writes, perhaps behind a prefix. Of all events logins are attempts.

    A success names its user by user name and mail address; whichever of them had been typed, both are that user.
    """

    def __init__(self, source: str, reading: Reading, modified: float = 0) -> None:
        self._source, self._reading = source, reading
        self._aliases: dict[str, str] = {}

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool:
        try:
            context = _event(line)["context"]
        except (ValueError, KeyError, TypeError):
            return False
        return isinstance(context, dict) and "event_type" in context

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        found: list[Attempt] = []
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            try:
                row = _event(line)
                context = row["context"]
                failed = _LOGINS.get(context["event_type"])
                if failed is None:
                    self._reading.notes.ignored += 1
                else:
                    found.append(self._attempt(row["timestamp"], context, failed))
            except (KeyError, TypeError):
                self._reading.notes.skip(self._source, number, line, "no event of secguard")
            except ValueError as error:
                self._reading.notes.skip(self._source, number, line, str(error))
        return found

    def _attempt(self, time: object, context: Mapping[str, Any], failed: bool) -> Attempt:
        people = self._reading.people
        at, client = self._reading.times.iso(time), people.client(context.get("ip_address"))
        mail, name = normalize_identifier(context.get("email")), normalize_identifier(context.get("username"))
        if failed or not (mail and name and mail != name):
            given = mail or name
            account = people.account(self._aliases.get(given, given) if given else None)
            return attempt(at, failed, client, account)
        if len(self._aliases) >= _MAX_ALIASES:
            self._aliases.clear()
        self._aliases[mail] = name
        return attempt(at, failed, client, people.account(name), people.account(mail))

    def end(self) -> list[Attempt]:
        return []


def _event(line: str) -> Any:
    """The line's object, whatever stands before it."""
    return decoded(line[line.index("{") :] if "{" in line else line)
