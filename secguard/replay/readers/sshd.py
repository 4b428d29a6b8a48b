"""The log of sshd, from syslog or the journal, with its old times or with those of ISO 8601."""

from __future__ import annotations

import re
from collections import deque
from datetime import datetime, timezone

from secguard.replay.attempts import SECOND, Attempt, Moment, attempt, datetime_of, moment_of
from secguard.replay.readers.reading import Reading
from secguard.replay.readers.times import MONTHS

#: Time, host, program, message. A priority of syslog's may stand before it.
_LINE = re.compile(
    r"(?:<\d{1,3}>)?(?:(?P<month>[A-Z][a-z][a-z]) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)"
    r"|(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*)) (?P<host>\S+) (?P<rest>.*)",
    re.ASCII,
)
_PROGRAM = re.compile(r"sshd(?:-session|-auth)?(?:\[(\d+)\])?: (.*)", re.ASCII)
_REPEATED = re.compile(r"message repeated (\d{1,6}) times: \[ ?(.*)\]", re.ASCII)
_LAST_REPEATED = re.compile(r"last message repeated (\d{1,6}) times", re.ASCII)
# The name is whatever somebody typed, and may itself look like the end of such a line: the last "from" is sshd's.
_OUTCOME = re.compile(
    r"(Failed|Accepted) (\S+) for (invalid user )?(.*) from (\S+) port \d+(?: ssh\d?)?(?:: .*)?", re.ASCII
)
_INVALID = re.compile(r"(?:Invalid|Illegal) user (.*) from (\S+)(?: port \d+)?", re.ASCII)
#: Clients try their keys one after the other before they ask for a password: that one does not fit is no guess.
_NO_GUESS = frozenset(("publickey", "hostbased", "gssapi-with-mic"))
_OVER = (
    *("Connection closed", "Connection reset", "Disconnected", "Disconnecting", "Received disconnect", "Timeout"),
    *("fatal:", "error: maximum authentication", "error: Received disconnect"),
)
#: How long sshd waits for somebody to log in, in seconds (LoginGraceTime): an invalid name that nothing was heard of
#: until then was an attempt of its own.
_GRACE = 120
#: A month that is so many days before the one above it is in the next year.
_ABOUT_HALF_A_YEAR = 180 * 86_400 * SECOND
_MAX_REPEATED = 10_000


class _Slot:
    """An attempt in its place, made so many ``times``; ``attempt`` is None while nobody knows, or if it was none."""

    __slots__ = ("attempt", "is_settled", "times")

    def __init__(self, made: Attempt, *, is_settled: bool, times: int = 1) -> None:
        self.attempt: Attempt | None = made
        self.is_settled, self.times = is_settled, times


class Sshd:
    """ "Failed … for" and "Accepted … for" are attempts, as often as "message repeated" says. "Invalid user" is one if
    no "Failed" follows in its session, as where passwords are off."""

    def __init__(self, source: str, reading: Reading, modified: float = 0) -> None:
        self._source, self._reading = source, reading
        self._modified = datetime.fromtimestamp(modified, timezone.utc) if modified else datetime.now(timezone.utc)
        self._year = reading.year
        self._before: Moment | None = None
        self._slots: deque[_Slot] = deque()
        #: By session, the invalid user that is waited for.
        self._invalid: dict[str, _Slot] = {}
        #: By host, what the line before was.
        self._last: dict[str, Attempt | None] = {}

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool:
        match = _LINE.fullmatch(line)
        return match is not None and _PROGRAM.fullmatch(match["rest"]) is not None

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        notes = self._reading.notes
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            match = _LINE.fullmatch(line)
            try:
                if match is None:
                    raise ValueError("no line of syslog")
                self._line(match)
            except ValueError as error:
                notes.skip(self._source, number, line, str(error))
        return self._settled()

    def end(self) -> list[Attempt]:
        for slot in self._invalid.values():
            slot.is_settled = True
        return self._settled()

    def _line(self, match: re.Match[str]) -> None:
        host, rest = match["host"], match["rest"]
        last, self._last[host] = self._last.get(host), None
        if len(self._last) > 1_000:
            self._last.clear()
        program = _PROGRAM.fullmatch(rest)
        again = _LAST_REPEATED.fullmatch(rest) if program is None and last is not None else None
        if again is not None and last is not None:
            at = self._moment(match)
            self._add((*last[:5], at, *last[6:]), int(again[1]))
            self._last[host] = last
            return
        message = "" if program is None else program[2]
        times = 1
        repeated = _REPEATED.fullmatch(message)
        if repeated is not None:
            times, message = int(repeated[1]), repeated[2]
        made = None
        if message.startswith(("Failed ", "Accepted ", "Invalid user ", "Illegal user ")):
            made = self._attempt(match, f"{host} {program[1] if program else ''}", message, times)
        elif program is not None and message.startswith(_OVER):
            self._close(f"{host} {program[1]}", was_attempt=True)
        if made is None:
            self._reading.notes.ignored += 1
        self._last[host] = made

    def _attempt(self, match: re.Match[str], session: str, message: str, times: int) -> Attempt | None:
        people = self._reading.people
        outcome = _OUTCOME.fullmatch(message)
        if outcome is not None:
            verb, method, _, name, address = outcome.groups()
            failed = verb == "Failed"
            if failed and method in _NO_GUESS:
                return None
            made = attempt(self._moment(match), failed, people.client(address), people.account(name))
            self._close(session, was_attempt=False)
            self._add(made, times)
            return made
        invalid = _INVALID.fullmatch(message)
        if invalid is None:
            return None
        made = attempt(self._moment(match), True, people.client(invalid[2]), people.account(invalid[1]))
        self._close(session, was_attempt=True)
        self._add(made, times - 1)
        slot = _Slot(made, is_settled=False)
        self._slots.append(slot)
        self._invalid[session] = slot
        return made

    def _add(self, made: Attempt, times: int) -> None:
        if times > _MAX_REPEATED:
            raise ValueError(f"repeated {times} times")
        if times:
            self._slots.append(_Slot(made, is_settled=True, times=times))

    def _close(self, session: str, *, was_attempt: bool) -> None:
        slot = self._invalid.pop(session, None)
        if slot is not None:
            slot.is_settled = True
            if not was_attempt:
                slot.attempt = None

    def _settled(self) -> list[Attempt]:
        """Attempts up to the first of which nobody knows yet whether it was one."""
        found = []
        while self._slots:
            slot = self._slots[0]
            if not slot.is_settled and slot.attempt is not None and self._before is not None:
                slot.is_settled = self._before - slot.attempt[5] > _GRACE * SECOND
            if not slot.is_settled:
                break
            if slot.attempt is not None:
                found += [slot.attempt] * slot.times
            self._slots.popleft()
        if not self._slots:
            self._invalid.clear()
        return found

    # -- times -------------------------------------------------------------------------------------------

    def _moment(self, match: re.Match[str]) -> Moment:
        at = self._reading.times.iso(match["iso"]) if match["iso"] else self._of_syslog(match)
        self._before = at if self._before is None else max(self._before, at)
        return at

    def _of_syslog(self, match: re.Match[str]) -> Moment:
        """Syslog leaves out the year: the latest that makes the first line no later than the file, and then the next
        one whenever a month falls back."""
        if match["month"] not in MONTHS:
            raise ValueError(f"{match['month']!r} is no month")
        month, day, clock = MONTHS[match["month"]], int(match["day"]), match["clock"]
        if self._year is None:
            self._year = self._first_year(month, day, clock)
        at = self._reading.times.local(self._year, month, day, clock)
        if self._before is not None and at < self._before - _ABOUT_HALF_A_YEAR:
            self._year += 1
            at = self._reading.times.local(self._year, month, day, clock)
        elif self._before is not None and at > self._before + _ABOUT_HALF_A_YEAR:
            # The last of December, written after the first of January.
            at = self._reading.times.local(self._year - 1, month, day, clock)
        return at

    def _first_year(self, month: int, day: int, clock: str) -> int:
        newest = moment_of(self._modified) + 86_400 * SECOND
        for year in range(datetime_of(newest).year, datetime_of(newest).year - 9, -1):
            try:
                if self._reading.times.local(year, month, day, clock) <= newest:
                    return year
            except ValueError:  # the 29th of February of another year
                continue
        raise ValueError("no such day")
