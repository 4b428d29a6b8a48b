"""The lines of a list of networks: one a line, or CSV with a header. Says of each line that is of no use why not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from ipaddress import ip_address, summarize_address_range
from typing import Any, NamedTuple

from django.utils.dateparse import parse_date, parse_datetime

from secguard.blocking.network_table import key_of, text_of
from secguard.formatters.text import one_line
from secguard.network import describe_too_wide
from secguard.records.operators import canonical_network

_ADDRESS_COLUMNS = (
    *("network", "cidr", "range", "subnet", "prefix", "ip_range", "ip_network", "net"),
    *("ip", "ip_address", "ipaddress", "address", "addr", "src_ip", "source_ip", "ipv4", "ipv6", "host"),
)
_EXPIRY_COLUMNS = ("expires_at", "expires", "expiry", "expiration", "expire", "expires_on", "valid_until", "until")
_REASON_COLUMNS = ("reason", "comment", "comments", "description", "note", "notes")
_DELIMITERS = ",;\t"
_LONGEST_LINE = 4_096
_LONGEST_REASON = 255
_SHOWN = 100
#: Times beyond it mean "never", and neither databases nor other time zones have room for them.
_LATEST = datetime(9999, 1, 1, tzinfo=timezone.utc)


class Entry(NamedTuple):
    """``networks``: in canonical form, several for a range. ``expires``: aware; None if the line does not say."""

    line: int
    text: str
    networks: tuple[str, ...]
    expires: datetime | None = None
    reason: str = ""


class Skipped(NamedTuple):
    """A line that is left out, and why."""

    line: int
    text: str
    why: str


class _Columns(NamedTuple):
    delimiter: str
    address: int
    expiry: int | None
    reason: int | None


def read_lines(lines: Iterable[str]) -> Iterator[Entry | Skipped]:
    """What the lines say; comments (``#``, ``;``) and blank lines are passed over.

    If the first line names a column of addresses, the rest is CSV. A record is a line: a quotation mark that is left
    open must not swallow the rest of the list.
    """
    columns: _Columns | None = None
    is_first = True
    for number, raw in enumerate(lines, 1):
        text = raw.strip("\ufeff \t\r\n")
        if not text or text[0] in "#;":
            continue
        if is_first:
            is_first, columns = False, _header(text)
            if columns is not None:
                continue
        try:
            if len(text) > _LONGEST_LINE:
                raise ValueError(f"The line has more than {_LONGEST_LINE:,} characters.")
            yield _plain(number, text) if columns is None else _record(number, text, columns)
        except ValueError as error:
            yield Skipped(number, _shown(text), str(error))


def _header(text: str) -> _Columns | None:
    for delimiter in _DELIMITERS:
        try:
            names = [name.strip().lower().replace(" ", "_") for name in _fields(text, delimiter)]
        except ValueError:
            continue
        address = _column(names, _ADDRESS_COLUMNS)
        if address is not None:
            return _Columns(delimiter, address, _column(names, _EXPIRY_COLUMNS), _column(names, _REASON_COLUMNS))
    return None


def _column(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _fields(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"The line is no CSV: {error}.") from None


def _plain(number: int, text: str) -> Entry:
    return Entry(number, _shown(text), _networks(_without_comment(text)))


def _record(number: int, text: str, columns: _Columns) -> Entry:
    fields = _fields(text, columns.delimiter)
    if len(fields) <= columns.address:
        raise ValueError(f"The line has {len(fields)} columns: the address would be number {columns.address + 1}.")
    networks = _networks(_without_comment(fields[columns.address]))
    expires, reason = _expiry(_field(fields, columns.expiry)), _field(fields, columns.reason)
    return Entry(number, _shown(text), networks, expires, one_line(reason, _LONGEST_REASON))


def _field(fields: Sequence[str], at: int | None) -> str:
    return fields[at].strip() if at is not None and at < len(fields) else ""


def _without_comment(text: str) -> str:
    return text.partition("#")[0].partition(";")[0].strip()


def _networks(text: str) -> tuple[str, ...]:
    try:
        key = key_of(text)
        # Nearly all are written in canonical form; IPv4 in IPv6 only looks like it.
        if text_of(key) == text and key >> 40 != 0xFFFF:
            return (text,)
    except ValueError:
        first, dash, last = text.partition("-")
        if dash:
            return _range(first.strip(), last.strip())
    return (canonical_network(text),)


def _range(first: str, last: str) -> tuple[str, ...]:
    try:
        ends: Any = ip_address(first), ip_address(last)
        found = list(summarize_address_range(*ends))
        too_wide = next(filter(None, map(describe_too_wide, found)), None)
        if too_wide:
            raise ValueError(too_wide)
        return tuple(dict.fromkeys(canonical_network(str(network)) for network in found))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{_shown(first)!r} to {_shown(last)!r} is no range of addresses: {error}") from None


def _expiry(text: str) -> datetime | None:
    if not text or text.lower() in ("never", "none", "null", "-"):
        return None
    try:
        found = parse_datetime(text)
        date = parse_date(text) if found is None else None
    except ValueError:
        found = date = None
    if date is not None:
        found = datetime(date.year, date.month, date.day)
    if found is None:
        raise ValueError(f"{_shown(text)!r} is no time: write it as 2026-12-31T18:00:00Z.")
    return min(found if found.tzinfo else found.replace(tzinfo=timezone.utc), _LATEST)


def _shown(text: str) -> str:
    return one_line(text, _SHOWN)
