"""Imported lists of networks, each replaced as a whole. Raises the database's errors, and says what is wrong."""

from __future__ import annotations

import re
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from ipaddress import ip_network
from itertools import islice
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Count, Max, QuerySet

from secguard import emit
from secguard.blocking.network_table import bounds_of, key_of, text_of
from secguard.context import get_resolver
from secguard.events import EventType, new_event_id
from secguard.models import Block, in_force_at
from secguard.network import Network, describe_too_wide
from secguard.pipeline import make_event
from secguard.records.database import announce, database, database_now
from secguard.records.list_lines import Entry, Skipped, read_lines

#: Skipped lines that a result shows, at most.
MAX_SKIPPED = 1_000
#: If more than this share of the lines cannot be read, the file is no list: perhaps an error page.
MAX_JUNK = 0.5
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LONGEST = 100 * 365 * 86_400
_BATCH = 2_000
#: SQLite of old takes 999 values in one query.
_LIFTED_BATCH = 500
_PROGRESS_LINES = 1_000


class ImportResult(NamedTuple):
    """What an import did: numbers of networks. ``total``: on the list now. ``collapsed``: were inside another one.

    ``skipped``: line number, text and reason of the first ``MAX_SKIPPED`` lines that were left out, of
    ``skipped_total``.
    """

    added: int
    kept: int
    removed: int
    total: int
    skipped: list[tuple[int, str, str]]
    skipped_total: int
    collapsed: int


class ListInfo(NamedTuple):
    """A list with blocks in force. ``imported_at``, ``by``: of the import that last added a network."""

    name: str
    networks: int
    imported_at: datetime
    by: str


class _Wanted(NamedTuple):
    """A network that shall be blocked. ``expires``: aware; None stands for the end of the whole list."""

    expires: datetime | None
    reason: str


def import_list(
    name: str,
    lines: Iterable[str],
    *,
    duration: float | None = None,
    reason: str = "",
    by: str = "",
    progress: Callable[[int], None] | None = None,
    max_junk: float = MAX_JUNK,
) -> ImportResult:
    """Block what these lines name, and lift what only the last import under this name did; all of it or nothing.

    ``duration``: seconds, for networks whose line does not say when they end; None for good. A network that is listed
    with another end than before is blocked anew. ``progress``: called with the number of lines read.

    Raises ValueError, and changes nothing, for a name that is none, if more than a share of ``max_junk`` of the lines
    cannot be read, or if no network is left.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is no name of a list: use 1 to 64 letters, digits, '_', '.' and '-'.")
    if duration is not None and not 0 < duration <= _LONGEST:
        raise ValueError(f"duration is {duration!r:.80}: give seconds, up to a hundred years, or None for good.")
    reader = _Reader(duration, progress or _ignore)
    reader.read(lines.splitlines() if isinstance(lines, str) else lines)
    reader.refuse_junk(name, max_junk)
    wanted = reader.collapsed()
    alias = database()
    with transaction.atomic(using=alias):
        _lock_for_writing(alias, name)
        now = database_now(alias)
        end = None if duration is None else now + timedelta(seconds=duration)
        ends = {
            network: end if each.expires is None else _stored(each.expires, now) for network, each in wanted.items()
        }
        kept, gone = _compare(_in_force(alias, now).filter(list_name=name), ends)
        removed = _lift(alias, gone, now, by, reason or f"no longer on the list {name}")
        new = ((network, wanted[network].reason or reason, ends[network]) for network in wanted if network not in kept)
        _insert(alias, new, {"list_name": name, "created_by": by[:150], "created_at": now, "updated_at": now})
        announce(alias)
    result = ImportResult(
        len(wanted) - len(kept), len(kept), removed, len(wanted), reader.skipped, reader.skipped_total, reader.inside
    )
    _report(f"Imported list {name}: {result.total} networks", name, result, reason, by, duration)
    return result


def remove_list(name: str, by: str = "", reason: str = "") -> int:
    """Lift all blocks of a list. → how many there were. Raises LookupError, which names the lists there are."""
    alias = database()
    now = database_now(alias)
    rows = _in_force(alias, now).filter(list_name=name)
    lifted = rows.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    if not lifted:
        known = ", ".join(each.name for each in lists()) or "none"
        raise LookupError(f"There is no list {name!r:.80} with blocks in force. Lists with some: {known}.")
    announce(alias)
    _report(f"Removed list {name}", name, ImportResult(0, 0, lifted, 0, [], 0, 0), reason, by, None)
    return lifted


def lists() -> list[ListInfo]:
    """The lists with blocks in force, by name."""
    alias = database()
    rows = _in_force(alias, database_now(alias)).exclude(list_name="").order_by().values("list_name")
    found = list(rows.annotate(networks=Count("pk"), imported_at=Max("created_at"), newest=Max("pk")))
    newest = [each["newest"] for each in found]
    by = dict(Block.objects.using(alias).filter(pk__in=newest).values_list("pk", "created_by"))
    return sorted(
        ListInfo(each["list_name"], each["networks"], each["imported_at"], by.get(each["newest"], "")) for each in found
    )


# -- from lines to networks --------------------------------------------------------------------------------------------


class _Reader:
    """Collects the networks of a list, and what was wrong with its lines."""

    def __init__(self, duration: float | None, progress: Callable[[int], None]) -> None:
        self.skipped: list[tuple[int, str, str]] = []
        self.skipped_total = 0
        self.inside = 0
        self._progress = progress
        self._entries = self._junk = 0
        self._found: dict[int, _Wanted] = {}
        self._protected = _Protected()
        self._now = datetime.now(timezone.utc)
        # Only to compare; what counts is the database's clock.
        self._end = None if duration is None else self._now + timedelta(seconds=duration)

    def read(self, lines: Iterable[str]) -> None:
        for item in read_lines(self._watched(lines)):
            self._entries += 1
            if isinstance(item, Skipped):
                self._junk += 1
                self._skip(*item)
            else:
                self._take(item)

    def _watched(self, lines: Iterable[str]) -> Iterator[str]:
        number = 0
        for number, line in enumerate(lines, 1):
            if number % _PROGRESS_LINES == 0:
                self._progress(number)
            yield line
        self._progress(number)

    def _take(self, entry: Entry) -> None:
        if entry.expires is not None and entry.expires <= self._now:
            self._skip(entry.line, entry.text, f"It ended at {entry.expires.isoformat()}.")
            return
        for network in entry.networks:
            key = key_of(network)
            problem = self._protected.problem(key)
            if problem:
                self._skip(entry.line, entry.text, problem)
                continue
            known = self._found.get(key)
            if known is not None:
                self.inside += 1
            if known is None or self._lasts_longer(entry.expires, known.expires):
                self._found[key] = _Wanted(entry.expires, entry.reason)

    def _skip(self, line: int, text: str, why: str) -> None:
        self.skipped_total += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append((line, text, why))

    def refuse_junk(self, name: str, max_junk: float) -> None:
        if self._junk > max_junk * self._entries:
            line, text, why = self.skipped[0]
            raise ValueError(
                f"{self._junk:,} of {self._entries:,} lines are no networks, so that this is no list for {name!r}: "
                f"nothing was changed. The first that was skipped is line {line}, {text!r}: {why}"
            )
        if not self._found:
            raise ValueError(f"No network is left to block: nothing was changed. remove_list() ends the list {name!r}.")

    def collapsed(self) -> dict[str, _Wanted]:
        """The networks that no other one contains for as long as they last."""
        kept: dict[str, _Wanted] = {}
        for version in (4, 6):
            around: list[tuple[int, datetime | None]] = []
            for key in sorted(key for key in self._found if bounds_of(key)[0] == version):
                _, first, last = bounds_of(key)
                wanted = self._found[key]
                while around and around[-1][0] < first:
                    around.pop()
                if any(not self._lasts_longer(wanted.expires, expires) for _, expires in around):
                    self.inside += 1
                    continue
                around.append((last, wanted.expires))
                kept[text_of(key)] = wanted
        return kept

    def _lasts_longer(self, expires: datetime | None, other: datetime | None) -> bool:
        end, other_end = expires or self._end, other or self._end
        return other_end is not None and (end is None or end > other_end)


class _Protected:
    """What is never refused and so not blocked by a list: the allowlist and trusted proxies."""

    def __init__(self) -> None:
        resolver = get_resolver()
        self._sets = {"ALLOWLIST": resolver.allowlist, "TRUSTED_PROXIES": resolver.trusted_proxies}
        networks = [network for each in self._sets.values() for network in each]
        self._starts = {
            version: sorted(int(each.network_address) for each in networks if each.version == version)
            for version in (4, 6)
        }

    def problem(self, key: int) -> str:
        """Why this network is not to be blocked; empty if it may be."""
        version, first, last = bounds_of(key)
        if last - first >= 1 << (16 if version == 4 else 64):
            too_wide = describe_too_wide(ip_network(text_of(key)))
            if too_wide:
                return too_wide
        starts = self._starts[version]
        at = bisect_left(starts, first)
        if (at < len(starts) and starts[at] <= last) or any(
            each.contains(version, first) for each in self._sets.values()
        ):
            return self._overlap(ip_network(text_of(key)))
        return ""

    def _overlap(self, network: Network) -> str:
        for setting, networks in self._sets.items():
            for each in networks:
                if each.overlaps(network):
                    return f"It overlaps {each} in SECGUARD[{setting!r}], which is never refused."
        return ""


def _stored(expires: datetime, now: datetime) -> datetime:
    """A time as the database has it; without time zones, as far from UTC as the database's own clock is."""
    if now.tzinfo is not None:
        return expires
    utc = datetime.now(timezone.utc).replace(tzinfo=None)
    offset = timedelta(minutes=15 * round((now - utc) / timedelta(minutes=15)))
    return expires.astimezone(timezone.utc).replace(tzinfo=None) + offset


# -- from networks to rows ---------------------------------------------------------------------------------------------


def _in_force(alias: str, now: datetime) -> QuerySet[Block]:
    return Block.objects.using(alias).filter(in_force_at(now))


def _lock_for_writing(alias: str, name: str) -> None:
    """SQLite refuses to write in a transaction that has read, if others have written meanwhile: so it writes first."""
    Block.objects.using(alias).filter(pk__lt=0).update(list_name="")
    if connections[alias].features.has_select_for_update:
        # Elsewhere two who import the same list at once would each compare with what was there before both.
        Block.objects.using(alias).select_for_update().filter(list_name=name).order_by("pk").first()


def _compare(rows: QuerySet[Block], ends: dict[str, datetime | None]) -> tuple[set[str], list[int]]:
    """→ networks that stay as they are, and the keys of rows that go."""
    kept: set[str] = set()
    gone: list[int] = []
    for pk, network, expires_at in rows.order_by().values_list("pk", "network", "expires_at").iterator():
        if network in ends and ends[network] == expires_at and network not in kept:
            kept.add(network)
        else:
            gone.append(pk)
    return kept, gone


def _lift(alias: str, keys: list[int], now: datetime, by: str, reason: str) -> int:
    lifted = 0
    for at in range(0, len(keys), _LIFTED_BATCH):
        rows = Block.objects.using(alias).filter(pk__in=keys[at : at + _LIFTED_BATCH], lifted_at=None)
        lifted += rows.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    return lifted


def _insert(alias: str, new: Iterable[tuple[str, str, datetime | None]], common: dict[str, Any]) -> None:
    """Add rows of network, reason and end. Not ``bulk_create``: it prepares what all have in common anew for each."""
    connection = connections[alias]
    fields = [field for field in Block._meta.local_concrete_fields if not field.primary_key]
    template = Block(**common)
    values = [field.get_db_prep_save(getattr(template, field.attname), connection) for field in fields]
    prepare = {field.name: partial(field.get_db_prep_save, connection=connection) for field in fields}
    places = {field.name: at for at, field in enumerate(fields)}
    ends = cache(prepare["expires_at"])

    def rows() -> Iterator[tuple[Any, ...]]:
        row = list(values)
        for network, reason, end in new:
            row[places["reference"]] = prepare["reference"](uuid.uuid4())
            row[places["network"]] = network
            row[places["reason"]] = reason[:255]
            row[places["expires_at"]] = ends(end)
            yield tuple(row)

    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column or "") for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {quote(Block._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608 - names, no values
    made = rows()
    with connection.cursor() as cursor:
        while batch := list(islice(made, _BATCH)):
            cursor.executemany(sql, batch)


def _report(message: str, name: str, result: ImportResult, reason: str, by: str, duration: float | None) -> None:
    details: dict[str, Any] = {
        "list": name,
        "added": result.added,
        "kept": result.kept,
        "removed": result.removed,
        "total": result.total,
        "skipped": result.skipped_total,
        "duration_seconds": duration,
        "reason": reason,
        "by": by,
        "event_id": new_event_id(),
    }
    emit.emit(make_event(EventType.LIST_IMPORTED, message, details))


def _ignore(done: int) -> None:
    """Nobody watches."""
