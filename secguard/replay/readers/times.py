"""Times as logs write them → microseconds since 1970."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo

from secguard.replay.attempts import SECOND, Moment, moment_of

_FRACTION, _ZONE = r"(?:[.,](\d{1,9}))?", r" ?([Zz]|[+-]\d\d(?::?\d\d)?)?"
_ISO = re.compile(
    rf"(\d{{4}})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d){_FRACTION})?{_ZONE}",
    re.ASCII,
)
_TAIL = re.compile(_FRACTION + _ZONE, re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS = {name: number for number, name in enumerate(_MONTHS, 1)}
_COMMON = re.compile(r"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})", re.ASCII)
#: Beyond them a time is a mistake.
_FIRST_YEAR, _LAST_YEAR = 1970, 9_998
_MAX_KNOWN = 10_000


class _Tails(dict[str, int]):
    """What stands behind the seconds → microseconds to add: fractions may be other ones in each line. Raises KeyError
    for what is none."""

    def __init__(self, *, knows_zone: bool) -> None:
        self._knows_zone = knows_zone

    def __missing__(self, text: str) -> int:
        match = _TAIL.fullmatch(text)
        if match is None or not (match[2] or self._knows_zone):
            raise KeyError(text)
        try:
            tail = _micros(match[1]) - _offset(match[2] or "Z")
        except ValueError:
            raise KeyError(text) from None
        if len(self) >= _MAX_KNOWN:
            self.clear()
        self[text] = tail
        return tail


class Times:
    """``zone``: of times that do not say theirs.

    ``minutes``, ``seconds`` and ``tails``: parts of ISO times that were met, by their text, so that a reader's inner
    loop adds up three numbers: ``2026-11-30T23:27`` + ``:20`` + ``.123Z``.
    """

    def __init__(self, zone: tzinfo = timezone.utc) -> None:
        self._zone = zone
        self.minutes: dict[str, Moment] = {}
        self.seconds = {f":{number:02d}": number * SECOND for number in range(60)}
        self._knows_zone = zone is timezone.utc
        self.tails: dict[str, int] = _Tails(knows_zone=self._knows_zone)

    def iso(self, text: object) -> Moment:
        """Raises ValueError for what is no time in ISO 8601."""
        match = _ISO.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 64 else None
        if match is None:
            raise ValueError(f"{text!r:.80} is no time in ISO 8601")
        year, month, day, hour, minute = map(int, match.group(1, 2, 3, 4, 5))
        second, fraction, zone = match.group(6, 7, 8)
        begun = datetime(_checked(year), month, day, hour, minute, int(second or 0))
        micros = _micros(fraction)
        offset = 0 if zone is None else _offset(zone)
        if zone is None and not self._knows_zone:
            return moment_of(begun.replace(tzinfo=self._zone)) + micros
        at = moment_of(begun.replace(tzinfo=timezone.utc)) - offset + micros
        if second is not None and isinstance(text, str) and text[0] != " ":
            self._remember(text, at, int(second) * SECOND, micros - offset)
        return at

    def _remember(self, text: str, at: Moment, seconds: int, tail: int) -> None:
        if len(self.minutes) >= _MAX_KNOWN:
            self.minutes.clear()
        self.minutes[text[:16]] = at - seconds - tail

    def local(self, year: int, month: int, day: int, clock: str) -> Moment:
        """A time that does not say its zone. ``clock``: hours, minutes, seconds."""
        hour, minute, second = map(int, clock.split(":"))
        return moment_of(datetime(year, month, day, hour, minute, second, tzinfo=self._zone))


def common_log(text: str) -> Moment:
    """``30/Nov/2026:23:27:20 +0000``. Raises ValueError for anything else."""
    match = _COMMON.fullmatch(text)
    if match is None or match[2] not in MONTHS:
        raise ValueError(f"{text!r:.80} is no time of an access log")
    day, year, hour, minute, second = map(int, match.group(1, 3, 4, 5, 6))
    zone = timezone(timedelta(microseconds=_offset(match[7])))
    return moment_of(datetime(_checked(year), MONTHS[match[2]], day, hour, minute, second, tzinfo=zone))


def _checked(year: int) -> int:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError(f"the year is {year}")
    return year


def _micros(fraction: str | None) -> int:
    """``5`` is half a second. Further digits than six are dropped."""
    return int((fraction or "")[:6].ljust(6, "0"))


def _offset(zone: str) -> int:
    """Microseconds that a zone is ahead of UTC."""
    if zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"{zone} is no zone")
    ahead = (hours * 60 + minutes) * 60 * SECOND
    return -ahead if zone[0] == "-" else ahead
