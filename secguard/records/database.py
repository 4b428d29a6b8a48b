"""Which database, what its clock says, and that the other workers hear of a change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
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
from secguard.models import AccountLock, Block
from secguard.pipeline import get_store

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
            account = request.account[:254]
            locks.append(AccountLock(digest=request.digest, account=account, scope=request.scope, **common))
    # A row may be there already, if only the answer to an earlier attempt was lost.
    if blocks:
        Block.objects.using(alias).bulk_create(blocks, ignore_conflicts=True)
    if locks:
        AccountLock.objects.using(alias).bulk_create(locks, ignore_conflicts=True)
    announce(alias)


def count_offences(network: str) -> int:
    """Blocks of rules that this network had since it was last quiet for OFFENCE_MEMORY; lifted ones were mistakes.

    One statement. Raises the database's errors.
    """
    since = Now() - timedelta(seconds=get_settings().offence_memory)
    rows = Block.objects.using(database()).filter(network=network, lifted_at=None, created_at__gt=since)
    return rows.exclude(rule="").count()


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
