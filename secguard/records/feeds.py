"""From the tables of decisions into memory: everything at first, then what changes, and a count once a minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from django.db.models import Count, Q, QuerySet, Sum

from secguard.blocking.locks import LockEntry
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.models import AccountLock, AllowedNetwork, Block, Decision, in_force_at
from secguard.pipeline import get_locks, get_replica, get_store
from secguard.records.counters import reset_counters
from secguard.records.database import database_now

#: What is read of a row: these columns, then those that the feed names.
Row: TypeAlias = "tuple[Any, ...]"
_COLUMNS = ("pk", "expires_at", "lifted_at", "reference")
_PK, _EXPIRES_AT, _LIFTED_AT = 0, 1, 2
#: More groups of changes than these are read as one span of time.
_MAX_STAMPS = 100
_NOTHING = (0, 0)
_CHUNK = 5_000


class Moment:
    """One instant, on this process's monotonic clock and on the database's."""

    def __init__(self, alias: str) -> None:
        self.local = get_replica().clock()
        self.database = database_now(alias)
        self._last: tuple[datetime | None, float] = (None, FOREVER)

    def locally(self, end: datetime | None) -> float:
        """A time of the database on the monotonic clock. Rows of one list end together, and share one number."""
        if end != self._last[0]:
            self._last = end, FOREVER if end is None else self.local + (end - self.database).total_seconds()
        return self._last[1]


class Feed:
    """One table, and its copy in memory.

    Each change gives a row a new ``updated_at``, its *stamp*. Recent stamps are looked through by the number of their
    rows and the sum of the keys: only where those differ from the last time are rows read.
    """

    model: ClassVar[type[Decision]]
    columns: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.loaded = False
        self._stamps: dict[datetime, tuple[int, int]] = {}
        # The rows that were read as in force, but for those that had ended by then; and the highest key among them.
        self._held: set[int] = set()
        self._ended_by: datetime | None = None
        self._highest = 0

    def read_all(self, alias: str, since: datetime, moment: Moment) -> None:
        """Replace what is in memory. ``since``: how far back ``read_changes`` will look."""
        self.loaded = False
        # Before the rows: what is committed in between is news the next time.
        stamps = self._recent_stamps(alias, since)
        self._held, self._highest, self._ended_by = set(), 0, moment.database
        self._replace(self._holding(self._read(self._in_force(alias))), moment)
        self._remove(list(self._read(self._rows(alias).filter(updated_at__gte=since, lifted_at__isnull=False))))
        self._stamps, self.loaded = stamps, True

    def read_changes(self, alias: str, since: datetime, moment: Moment) -> None:
        """Read what has changed since then."""
        stamps = self._recent_stamps(alias, since)
        grown = [stamp for stamp, group in stamps.items() if group > self._stamps.get(stamp, _NOTHING)]
        lifted = self._apply(alias, grown, moment)
        # Rows that were lifted have left the groups that they were in. Were it others, those are read again.
        lost = {
            stamp: _difference(group, stamps.get(stamp, _NOTHING))
            for stamp, group in self._stamps.items()
            if stamp >= since and group > stamps.get(stamp, _NOTHING)
        }
        if tuple(map(sum, zip(_NOTHING, *lost.values(), strict=True))) != (len(lifted), sum(lifted)):
            self._apply(alias, [stamp for stamp in lost if stamp in stamps], moment)
        self._stamps = stamps

    def _apply(self, alias: str, stamps: Sequence[datetime], moment: Moment) -> set[int]:
        """Read the rows with these stamps. → the keys of those that were held, and were lifted."""
        if not stamps:
            return set()
        among = Q(updated_at__in=stamps) if len(stamps) <= _MAX_STAMPS else Q(updated_at__gte=min(stamps))
        rows = list(self._read(self._rows(alias).filter(among)))
        lifted = [row for row in rows if row[_LIFTED_AT] is not None]
        known = self._held.intersection(row[_PK] for row in lifted)
        self._held -= known
        self._add(self._holding(row for row in rows if row[_LIFTED_AT] is None and not _has_ended(row, moment)), moment)
        self._remove(lifted)
        return known

    def agrees(self, alias: str, since: datetime, moment: Moment) -> bool:
        """Does the database count as many rows in force as were read, with the same sum of keys?

        New rows do not count here that ``read_changes`` will see.
        """
        ended = self._rows(alias).filter(lifted_at=None, expires_at__gt=self._ended_by, expires_at__lte=moment.database)
        rows = list(self._read(ended))
        self._held.difference_update(row[_PK] for row in rows)
        self._forget(rows)
        self._ended_by = moment.database
        known = self._in_force(alias).filter(Q(pk__lte=self._highest) | Q(updated_at__lt=since))
        found = known.aggregate(count=Count("pk"), total=Sum("pk"))
        return (found["count"], int(found["total"] or 0)) == (len(self._held), sum(self._held))

    def _rows(self, alias: str) -> QuerySet[Any]:
        return self.model._default_manager.using(alias).order_by()

    def _in_force(self, alias: str) -> QuerySet[Any]:
        return self._rows(alias).filter(in_force_at(self._ended_by))

    def _read(self, rows: QuerySet[Any]) -> Iterator[Row]:
        return rows.values_list(*_COLUMNS, *self.columns).iterator(_CHUNK)

    def _recent_stamps(self, alias: str, since: datetime) -> dict[datetime, tuple[int, int]]:
        stamps = self._rows(alias).filter(updated_at__gte=since).values_list("updated_at")
        groups = stamps.annotate(count=Count("pk"), total=Sum("pk"))
        return {stamp: (count, int(total)) for stamp, count, total in groups.iterator(_CHUNK)}

    def _holding(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            pk = row[_PK]
            self._held.add(pk)
            if pk > self._highest:
                self._highest = pk
            yield row

    # -- what each table is copied into ----------------------------------------------------------------------

    def _replace(self, rows: Iterator[Row], moment: Moment) -> None:
        raise NotImplementedError

    def _add(self, rows: Iterator[Row], moment: Moment) -> None:
        raise NotImplementedError

    def _remove(self, rows: list[Row]) -> None:
        """They were lifted."""
        raise NotImplementedError

    def _forget(self, rows: list[Row]) -> None:
        """They have ended. The replica knows by itself."""


class BlockFeed(Feed):
    model = Block
    columns = ("network", "rule", "list_name", "counter")

    def _replace(self, rows: Iterator[Row], moment: Moment) -> None:
        get_replica().replace_all(self._entries(rows, moment))

    def _add(self, rows: Iterator[Row], moment: Moment) -> None:
        get_replica().add_all(self._entries(rows, moment))

    def _remove(self, rows: list[Row]) -> None:
        known = get_replica().remove_all((network, str(reference)) for _, _, _, reference, network, *_ in rows)
        if get_store().shared:
            return
        for _, _, _, reference, network, _, list_name, counter in rows:
            if str(reference) in known and not list_name:
                # Whoever lifted it, from another process, could not reach the counters of this one.
                reset_counters(network, [counter])

    def _entries(self, rows: Iterator[Row], moment: Moment) -> Iterator[BlockEntry]:
        locally = moment.locally
        for _, expires_at, _, reference, network, rule, _, _ in rows:
            yield BlockEntry(network, str(reference), locally(expires_at), bool(rule))


class AllowedFeed(Feed):
    model = AllowedNetwork
    columns = ("network",)

    def _replace(self, rows: Iterator[Row], moment: Moment) -> None:
        get_replica().replace_allowed(self._entries(rows, moment))

    def _add(self, rows: Iterator[Row], moment: Moment) -> None:
        for entry in self._entries(rows, moment):
            get_replica().add_allowed(entry)

    def _remove(self, rows: list[Row]) -> None:
        for _, _, _, reference, network in rows:
            get_replica().remove_allowed(network, str(reference))

    def _entries(self, rows: Iterator[Row], moment: Moment) -> Iterator[BlockEntry]:
        for _, expires_at, _, reference, network in rows:
            yield BlockEntry(network, str(reference), moment.locally(expires_at))


class LockFeed(Feed):
    model = AccountLock
    columns = ("digest", "scope", "counter")

    def _replace(self, rows: Iterator[Row], moment: Moment) -> None:
        get_locks().replace_all(list(self._entries(rows, moment)))

    def _add(self, rows: Iterator[Row], moment: Moment) -> None:
        for entry in self._entries(rows, moment):
            get_locks().add(entry)

    def _remove(self, rows: list[Row]) -> None:
        for _, _, _, reference, digest, _, counter in rows:
            known = get_locks().remove(digest, str(reference))
            if known and not get_store().shared:
                _reset_account(digest, counter)

    def _forget(self, rows: list[Row]) -> None:
        for _, _, _, reference, digest, *_ in rows:
            get_locks().remove(digest, str(reference))

    def _entries(self, rows: Iterator[Row], moment: Moment) -> Iterator[LockEntry]:
        for _, expires_at, _, reference, digest, scope, _ in rows:
            yield LockEntry(digest, str(reference), moment.locally(expires_at), scope)


def _difference(group: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return group[0] - other[0], group[1] - other[1]


def _has_ended(row: Row, moment: Moment) -> bool:
    return row[_EXPIRES_AT] is not None and row[_EXPIRES_AT] <= moment.database


def _reset_account(digest: str, counter: str) -> None:
    from secguard.records.locks import reset_account  # which imports the synchroniser, and so this module

    reset_account([digest], [counter])
