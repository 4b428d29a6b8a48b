"""Which database, what its clock says, and that the other workers hear of a change."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.models.functions import Now
from django.db.models.sql import Query
from django.utils.dateparse import parse_datetime

from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure
from secguard.formatters.text import one_line
from secguard.models import AccountLock, Block
from secguard.pipeline import get_store

#: Ladders are not longer.
_MOST_OFFENCES = 100
#: An attacker may be back the moment when his block ends, of which each worker has its own idea.
_SAME_MOMENT = timedelta(seconds=1)
#: The token in the store that changes whenever the blocks do.
TOKEN = "blocks"  # noqa: S105 - a name, no secret


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


def moment_at(seconds: float) -> datetime:
    """A time in seconds since the epoch, as the project's columns have it."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment if django_settings.USE_TZ else moment.astimezone().replace(tzinfo=None)


def waits_for_commit(keep: Callable[[], object], save: Callable[[], object], otherwise: str) -> bool:
    """Inside a transaction, ``keep`` what is to be saved and have it saved at the end. → was there one? Never raises.

    Rolled back it would be gone, and an error would break the transaction. ``otherwise``: what to report where the
    connection cannot be asked.
    """
    try:
        connection = connections[database()]
        # The transaction around a test case is none that is rolled back while anybody looks.
        if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            keep()
            transaction.on_commit(save, using=connection.alias)
            return True
    except Exception:
        report_failure(otherwise)
    return False


@until_settings_change
def _home() -> str:
    return _database_name()


def _database_name() -> str:
    return str(connections[database()].settings_dict["NAME"])


def note_home() -> None:
    """From now on this process has events, and they are of the database that there is."""
    _home()


def is_at_home() -> bool:
    """Is the database still the one that this process's events are of? After a run of tests it is the project's own."""
    try:
        return _home() == _database_name()
    except Exception:
        return True  # whoever saves says what is wrong


def insert(requests: Iterable[BlockRequest | LockRequest], ages: Sequence[float] = ()) -> None:
    """Write decisions into the database and tell the other workers. Raises the database's errors.

    ``ages``: how many seconds ago each was taken; without it, now. They last from then on.
    """
    alias = database()
    now = database_now(alias)
    blocks: list[Block] = []
    locks: list[AccountLock] = []
    for at, request in enumerate(requests):
        taken_at = now - timedelta(seconds=ages[at] if ages else 0)
        common: dict[str, Any] = {
            "reference": request.reference,
            "rule": request.rule,
            "reason": request.reason[:255],
            "counter": request.counter,
            "created_by": request.by[:150],
            "created_at": taken_at,
            "updated_at": now,
            "expires_at": None if request.duration is None else taken_at + timedelta(seconds=request.duration),
        }
        if isinstance(request, BlockRequest):
            blocks.append(Block(network=request.network, **common))
        else:
            # What was typed is hostile: not every database takes every character.
            account = one_line(request.account, 254)
            locks.append(AccountLock(digest=request.digest, account=account, scope=request.scope, **common))
    # A row may be there already, if only the answer to an earlier attempt was lost.
    if blocks:
        Block.objects.using(alias).bulk_create(blocks, ignore_conflicts=True)
    if locks:
        AccountLock.objects.using(alias).bulk_create(locks, ignore_conflicts=True)
    announce(alias)


def count_offences(network: str) -> int:
    """Blocks of rules that this network had since it was last quiet for OFFENCE_MEMORY; lifted ones were mistakes.

    Blocks that overlap are one offence: several workers may have answered one attack. One statement. Raises the
    database's errors.
    """
    alias = database()
    memory = timedelta(seconds=get_settings().offence_memory)
    rows = Block.objects.using(alias).filter(network=network, lifted_at=None).exclude(rule="").order_by("-created_at")
    spans = rows.annotate(now=Now()).values_list("created_at", "expires_at", "now")[:_MOST_OFFENCES]
    # An error must not break the transaction of the view that the attack was noticed in.
    with transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext():
        found = list(spans)
    if not found:
        return 0
    offences, later = 0, found[0][2]
    for began, ends, now in found:
        ended = now if ends is None else ends
        if later - ended >= memory:
            break
        offences += ended - later < _SAME_MOMENT
        later = min(later, began)
    return offences


class _Announcement:
    """Whether there is news that the other workers were not told, since the store was away."""

    is_owed = False


_announcement = until_settings_change(_Announcement)


def announce(alias: str) -> None:
    """Let every worker read the changes, once they are committed."""
    transaction.on_commit(_renew_token, using=alias)


def must_announce() -> bool:
    """Is the store back, and was there news meanwhile?"""
    return _announcement().is_owed and not get_store().degraded


def _renew_token() -> None:
    try:
        store, announcement = get_store(), _announcement()
        store.set_token(TOKEN, uuid.uuid4().hex)
        announcement.is_owed = store.degraded
    except Exception:
        report_failure("the blocks have changed, which other processes will see within a minute")
