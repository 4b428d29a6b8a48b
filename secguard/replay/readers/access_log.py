"""The combined (or common) log of nginx and Apache: what was posted to the page that logs in."""

from __future__ import annotations

import re

from secguard.replay.attempts import Attempt, attempt
from secguard.replay.readers.reading import Reading
from secguard.replay.readers.times import common_log

#: Address, remote user, time, request, status. What is quoted has its quotes escaped, by both servers.
_LINE = re.compile(r'(\S+) \S+ (.{1,1024}?) \[([^\]"]{1,64})\] "((?:[^"\\]|\\.)*)" (\d{3})(?: |$)', re.ASCII)
_REDIRECTS_AND_SUCCESSES = range(200, 400)


class AccessLog:
    """A POST to a login path is an attempt: one that failed, if its status is among those; else, if it is 2xx or 3xx,
    one that succeeded. Who it was nobody knows, but for HTTP Basic."""

    def __init__(self, source: str, reading: Reading, modified: float = 0) -> None:
        self._source, self._reading = source, reading

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool:
        match = _LINE.match(line)
        return match is not None and "/" in match[3] and ":" in match[3]

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        found, notes = [], self._reading.notes
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            match = _LINE.match(line)
            if match is None:
                notes.skip(self._source, number, line, "no line of an access log")
                continue
            try:
                made = self._attempt(*match.group(1, 2, 3, 4, 5))
            except ValueError as error:
                notes.skip(self._source, number, line, str(error))
                continue
            if made is None:
                notes.ignored += 1
            else:
                found.append(made)
        return found

    def _attempt(self, address: str, user: str, time: str, request: str, status: str) -> Attempt | None:
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method != "POST" or (path.rstrip("/") or "/") not in self._reading.login_paths:
            return None
        failed = int(status) in self._reading.failure_statuses
        if not failed and int(status) not in _REDIRECTS_AND_SUCCESSES:
            return None
        people = self._reading.people
        return attempt(common_log(time), failed, people.client(address), people.account(None if user == "-" else user))

    def end(self) -> list[Attempt]:
        return []
