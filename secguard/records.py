"""Pending rows → the database, and the database → the replica. Never in a view's transaction.

What faces a user never raises: what cannot be read is read later, what cannot be saved is kept, counted
and said. What an operator asks for (``block_network``, ``unblock_network``) raises the database's errors.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from threading import Lock
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.models import Q
from django.db.models.functions import Now
from django.db.models.sql import Query
from django.utils.dateparse import parse_datetime

from secguard import emit, signals
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.conf import get_settings, until_settings_change
from secguard.context import context_for
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.logging import get_event_logger
from secguard.models import Block
from secguard.network import parse_network
from secguard.pipeline import (
    block,
    get_replica,
    get_store,
    make_event,
    report_degraded,
    report_overdue_refusals,
    report_recovered,
)

#: The token in the store that changes whenever the blocks do.
TOKEN = "blocks"  # noqa: S105 - a name, no secret
#: A delta reads this far back again: a transaction that began earlier may have committed later.
OVERLAP = timedelta(minutes=1)
#: Seconds between two full loads, which make any miss short-lived.
FULL_LOAD_INTERVAL = 60.0
#: Seconds between two deltas where the store is this process's own and no other can say that there is news.
UNSHARED_INTERVAL = 5.0
#: Seconds until a database that failed is asked again: the first time, and at most.
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
#: Blocks that wait for the database, at most. They are in force meanwhile.
MAX_UNSAVED = 10_000
_MIGRATE = "If the tables are missing, run 'manage.py migrate secguard'. Blocks that are known stay in force."


def database() -> str:
    """The alias that blocks are written to, and so read from: a replica database lags behind."""
    return router.db_for_write(Block) or DEFAULT_DB_ALIAS


def database_now(alias: str) -> datetime:
    """The database's clock. No worker's own may decide when a block ends."""
    connection = connections[alias]
    sql, params = Query(None).get_compiler(using=alias).compile(Now())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}{connection.features.bare_select_suffix}", tuple(params))
        now: Any = cursor.fetchone()[0]
    now = parse_datetime(now) if isinstance(now, str) else now
    if now.tzinfo is None and django_settings.USE_TZ:
        now = now.replace(tzinfo=timezone.utc)
    return now if django_settings.USE_TZ else now.replace(tzinfo=None)  # type: ignore[no-any-return]


class Synchroniser:
    """Keeps this process's replica of the blocks up to date, from the path of requests, without a thread.

    At most once a SYNC_INTERVAL one request asks the store for a token. If it differs from the last one the
    changes are read; everything is read once a minute. Until the first load has ended requests pass.
    """

    def __init__(self) -> None:
        self.unsaved: deque[BlockRequest] = deque()
        self.lost_rows = 0
        self._busy = Lock()
        self._loading = Lock()
        self._next_poll = 0.0
        self._next_full = 0.0
        self._next_delta = 0.0
        self._token: str | None = None
        self._since: datetime | None = None
        self._failing_since: float | None = None
        self._retry = FIRST_RETRY

    def due(self) -> bool:
        """Is it time to ask? Called for every request."""
        return get_replica().clock() >= self._next_poll

    def poll(self) -> None:
        """Ask the store whether there is news, and read it."""
        if self._claim():
            self.refresh(get_store().get_token(TOKEN))

    async def apoll(self) -> None:
        """The same, without blocking the event loop."""
        if self._claim():
            token = await get_store().aget_token(TOKEN)
            if self._wants(token):
                await sync_to_async(self.refresh)(token)

    def _claim(self) -> bool:
        with self._busy:
            now = get_replica().clock()
            if now < self._next_poll:
                return False
            self._next_poll = now + max(get_settings().sync_interval, 0.001)
            return True

    def _wants(self, token: str | None) -> bool:
        now = get_replica().clock()
        timed = now >= self._next_full or (not get_store().shared and now >= self._next_delta)
        return timed or token != self._token or bool(self.unsaved)

    def refresh(self, token: str | None) -> None:
        """Save what waits, and read the changes (or everything) if there may be any."""
        report_overdue_refusals()
        # One thread at a time: behind a database that hangs there must not be one more stuck each second.
        if not self._wants(token) or not self._loading.acquire(blocking=False):
            return
        try:
            self.save_waiting()
            self._load(token)
        except Exception as error:
            self._failed(error)
        else:
            self._worked()
        finally:
            self._loading.release()

    def _load(self, token: str | None) -> None:
        replica, alias = get_replica(), database()
        now, database_time = replica.clock(), database_now(alias)
        rows = Block.objects.using(alias)
        if self._since is None or now >= self._next_full:
            active = rows.filter(Q(expires_at=None) | Q(expires_at__gt=database_time), lifted_at=None)
            replica.replace_all([_entry(row, database_time) for row in active.iterator()])
            self._next_full = now + FULL_LOAD_INTERVAL
        for row in rows.filter(updated_at__gte=(self._since or database_time) - OVERLAP).iterator():
            if row.lifted_at is None:
                if row.expires_at is None or row.expires_at > database_time:
                    replica.add(_entry(row, database_time))
            else:
                was_known = replica.remove(row.network, str(row.reference))
                if was_known and not get_store().shared:
                    # Whoever lifted it, from another process, could not reach the counters of this one.
                    _reset_counters(row.network, [row.counter])
        self._since, self._token, self._next_delta = database_time, token, now + UNSHARED_INTERVAL

    # -- saving ------------------------------------------------------------------------------------------

    def save(self, requests: Sequence[BlockRequest]) -> None:
        """Save blocks now, or keep them until the database is back."""
        self.unsaved.extend(requests)
        try:
            self.save_waiting()
        except Exception as error:
            self._failed(error)

    def save_waiting(self) -> None:
        """Save what waits for the database. Raises its errors, and keeps what could not be saved."""
        waiting = self._take_waiting()
        try:
            if waiting:
                insert(waiting)
        except DataError:
            self._save_singly(waiting)
        except DatabaseError:
            self.unsaved.extendleft(reversed(waiting))
            raise
        except Exception:
            self._save_singly(waiting)

    def _save_singly(self, waiting: list[BlockRequest]) -> None:
        """One of them cannot be a row: it must not keep the others out."""
        for at, request in enumerate(waiting):
            try:
                insert([request])
            except (OperationalError, InterfaceError):
                self.unsaved.extendleft(reversed(waiting[at:]))
                raise
            except Exception:
                self.lost_rows += 1
                report_failure("the block of %s cannot be saved; it holds in this process alone", request.network)

    def _take_waiting(self) -> list[BlockRequest]:
        """Each block is taken by one thread alone: a deque's pop is atomic."""
        while len(self.unsaved) > MAX_UNSAVED:
            self.unsaved.popleft()
            self.lost_rows += 1
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self.unsaved.popleft())
        return taken

    # -- a database that is away -------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        now = get_replica().clock()
        self._next_poll = max(self._next_poll, now + self._retry)
        self._retry = min(self._retry * 2, LONGEST_RETRY)
        if self._failing_since is None:
            self._failing_since = now
            report_degraded("database", error, _MIGRATE)

    def _worked(self) -> None:
        if self._failing_since is not None:
            seconds = get_replica().clock() - self._failing_since
            report_recovered("database", seconds, lost_rows=self.lost_rows)
        self._failing_since, self._retry = None, FIRST_RETRY


def _entry(row: Block, database_time: datetime) -> BlockEntry:
    left = FOREVER if row.expires_at is None else (row.expires_at - database_time).total_seconds()
    return BlockEntry(row.network, str(row.reference), get_replica().clock() + left)


@until_settings_change
def get_synchroniser() -> Synchroniser:
    return Synchroniser()


def save(requests: Sequence[BlockRequest]) -> None:
    """Save blocks that were decided, after the view's transaction; never raises."""
    get_synchroniser().save(requests)


def save_outside_request(requests: Sequence[BlockRequest]) -> None:
    """Save blocks that were decided where no middleware waits for the end. Never raises.

    Inside a transaction they wait for its end: rolled back they would be gone, and an error would break it. They
    are in force meanwhile, and whoever saves or loads next in this process takes them along.
    """
    synchroniser = get_synchroniser()
    try:
        connection = connections[database()]
        # The transaction around a test case is none that is rolled back while anybody looks.
        if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            synchroniser.unsaved.extend(requests)
            transaction.on_commit(lambda: synchroniser.save([]), using=connection.alias)
            return
    except Exception:
        report_failure("a transaction could not be asked after; a block is saved all the same")
    synchroniser.save(requests)


def insert(requests: Iterable[BlockRequest]) -> None:
    """Write blocks into the database and tell the other workers. Raises the database's errors."""
    alias = database()
    now = database_now(alias)
    rows = [
        Block(
            network=request.network,
            reference=request.reference,
            rule=request.rule,
            reason=request.reason[:255],
            counter=request.counter,
            created_by=request.by[:150],
            created_at=now,
            updated_at=now,
            expires_at=None if request.duration is None else now + timedelta(seconds=request.duration),
        )
        for request in requests
    ]
    # A row may be there already, if only the answer to an earlier attempt was lost.
    Block.objects.using(alias).bulk_create(rows, ignore_conflicts=True)
    announce(alias)


def announce(alias: str) -> None:
    """Let every worker read the changes, once they are committed."""
    transaction.on_commit(_renew_token, using=alias)


def _renew_token() -> None:
    try:
        get_store().set_token(TOKEN, uuid.uuid4().hex)
    except Exception:
        report_failure("the blocks have changed, which other processes will see within a minute")


# -- what operators do -----------------------------------------------------------------------------------


def active_blocks() -> list[Block]:
    """The blocks in force, newest first."""
    alias = database()
    get_synchroniser().save_waiting()
    now = database_now(alias)
    return list(Block.objects.using(alias).filter(Q(expires_at=None) | Q(expires_at__gt=now), lifted_at=None))


def block_network(network: str, *, duration: float | None = None, reason: str = "", by: str = "") -> BlockRequest:
    """Block an address or CIDR, for ``duration`` seconds or for good.

    Raises ValueError for what is no network or may never be blocked, and the database's errors.
    """
    canonical = canonical_network(network)
    request = BlockRequest(canonical, duration, reason=reason, by=by)
    insert([request])
    block(request, context_for(None), saved=True)
    return request


def unblock_network(network: str, *, reason: str = "", by: str = "", keep_counters: bool = False) -> int:
    """Lift the blocks of exactly this address or CIDR. → how many there were.

    Closes its threats and counts it from nought too, or the next event would block it again. Raises
    ValueError for what is no network, and the database's errors.
    """
    canonical = canonical_network(network)
    alias = database()
    get_synchroniser().save_waiting()
    now = database_now(alias)
    rows = Block.objects.using(alias).filter(network=canonical, lifted_at=None)
    rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    counters = list(rows.values_list("counter", flat=True))
    lifted = rows.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    get_replica().remove_network(canonical)
    announce(alias)
    if not keep_counters:
        try:
            _reset_counters(canonical, counters)
        except Exception:
            # Settings that are wrong, which is when somebody needs to be let in: the block is lifted all the same.
            report_failure("the counters of %s could not be reset", canonical)
    if lifted:
        details = {
            "subject": canonical,
            "by": by,
            "reason": reason,
            "count": lifted,
            "event_id": new_event_id(),
        }
        emit.emit(make_event(EventType.ADDRESS_UNBLOCKED, f"Unblocked {canonical}", details))
        emit.send(signals.address_unblocked, network=canonical, by=by)
    return lifted


def _reset_counters(network: str, counters: Iterable[str]) -> None:
    """Count what was blocked from nought: the records that tripped a rule, and the address itself."""
    pipeline = get_event_logger().pipeline
    for key in filter(None, dict.fromkeys(counters)):
        pipeline.run(pipeline.detector.reset_record(key.encode()))
    get_event_logger().reset(ip_address=network.partition("/")[0])


def canonical_network(text: str) -> str:
    """The one spelling of a network: an IPv4 address, else CIDR; a single IPv6 address is its /64.

    Raises ValueError, which says what was found.
    """
    network = parse_network(text)
    if network.prefixlen == network.max_prefixlen:
        if network.version == 4:
            return str(network.network_address)
        if "/" not in text:
            return str(network.supernet(new_prefix=64))
    return str(network)
