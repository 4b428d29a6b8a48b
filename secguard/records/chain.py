"""Rows of the record as a chain: each is linked to the one before it, under a key of the project's.

Whoever writes to the database without the key can change nothing that ``verification`` does not find. A link covers
what identifies nobody, and a commitment to the rest, so that somebody's fields can be erased and the link still holds.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from django.db import connections, transaction
from django.db.models import F, Max

from secguard.conf import get_settings, until_settings_change
from secguard.models import ChainHead, EventRecord

#: The key of the one row of ``ChainHead``.
HEAD = 1
#: Rows in one statement.
BATCH = 500
#: Seconds to wait for another writer on PostgreSQL, which itself would wait for ever for one that hangs. The rows are
#: not lost: whoever saves next takes them along.
LOCK_WAIT = 2.0
#: What a link covers as it is, and what through its commitment: the fields that may identify somebody.
STANDING = ("event_id", "timestamp", "event_type", "category", "severity", "country", "rule", "count", "method")
PERSONAL = (
    *("message", "ip_address", "network", "account", "account_digest", "user_id"),
    *("path", "user_agent", "request_id", "extra"),
)
#: What the fields of ``PERSONAL`` are once they are erased.
BLANK: Mapping[str, Any] = {name: {} if name == "extra" else "" for name in PERSONAL}
_EXACT = 2**53
_encode = json.JSONEncoder(sort_keys=True).encode

Mac = Callable[..., str]


@until_settings_change
def get_mac() -> Mac:
    """A function of texts → 64 hexadecimal digits, under a key that is used for nothing else."""
    key = hmac.digest(get_settings().hmac_key, b"secguard.audit_chain", "sha256")

    def mac(*parts: str) -> str:
        # Each part is preceded by its length, so that no choice of parts looks like another one.
        text = "".join([f"{len(part)}:{part}" for part in parts])
        return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()

    return mac


def insert(rows: Sequence[EventRecord], alias: str) -> None:
    """Save rows in one transaction, those of an earlier attempt that are there already left as they are.

    With AUDIT_CHAIN they are linked, and whoever else inserts waits for this transaction's end: never call this in a
    view's. Raises the database's errors; then none is saved.
    """
    with transaction.atomic(using=alias):
        manager = EventRecord.objects.using(alias)
        if not get_settings().audit_chain:
            manager.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)
            return
        head = locked_head(alias)
        link = head.link if is_sealed(head) else ""
        for row in _not_there(rows, alias):
            head.sequence += 1
            row.sequence, row.nonce = head.sequence, os.urandom(16).hex()
            row.commitment = commitment_of(row.nonce, _values(row, PERSONAL))
            link = row.link = link_of(link, head.sequence, _values(row, STANDING), row.commitment)
        head.link = link
        manager.bulk_create([row for row in rows if row.link], batch_size=BATCH)
        seal(head, alias)


def _not_there(rows: Sequence[EventRecord], alias: str) -> list[EventRecord]:
    """Only the answer to an earlier attempt may have been lost: a second time a row would have no place."""
    there: set[Any] = set()
    for at in range(0, len(rows), BATCH):
        ids = [row.event_id for row in rows[at : at + BATCH]]
        there.update(EventRecord.objects.using(alias).filter(event_id__in=ids).values_list("event_id", flat=True))
    for row in rows:
        row.pk, row.sequence, row.link = None, None, ""  # what an attempt left that was rolled back
    return [row for row in rows if row.event_id not in there]


# -- the head --------------------------------------------------------------------------------------------------------


def locked_head(alias: str) -> ChainHead:
    """The head, which nobody else changes until the transaction ends; made, if there is none.

    Locked by writing to it: SQLite refuses to write in a transaction that has read, if others have written meanwhile.
    """
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            limit = "SELECT set_config('lock_timeout', %s, true) WHERE current_setting('lock_timeout') = '0'"
            cursor.execute(limit, [f"{LOCK_WAIT * 1_000:.0f}"])
    rows = ChainHead.objects.using(alias).filter(pk=HEAD)
    if not rows.update(turns=F("turns") + 1):
        # Somebody has taken it away, unless this is the beginning: what follows must not fit what was there before.
        last = EventRecord.objects.using(alias).aggregate(last=Max("sequence"))["last"] or 0
        ChainHead.objects.using(alias).bulk_create([_first_head(last)], ignore_conflicts=True)
        rows.update(turns=F("turns") + 1)
    return rows.get()


def _first_head(sequence: int) -> ChainHead:
    head = ChainHead(pk=HEAD, sequence=sequence)
    head.seal = seal_of(head)
    return head


def seal(head: ChainHead, alias: str) -> None:
    """Save where the chain ends and begins."""
    head.seal = seal_of(head)
    head.save(using=alias, update_fields=["sequence", "link", "anchor_sequence", "anchor_link", "seal"])


def seal_of(head: ChainHead) -> str:
    return get_mac()("head", str(head.sequence), head.link, str(head.anchor_sequence), head.anchor_link)


def is_sealed(head: ChainHead) -> bool:
    """Did somebody with the project's key write it?"""
    return hmac.compare_digest(seal_of(head), head.seal)


# -- one row ---------------------------------------------------------------------------------------------------------


def link_of(previous: str, sequence: int, standing: Sequence[Any], commitment: str) -> str:
    return get_mac()("link", previous, str(sequence), *map(_spelt, standing), commitment)


def commitment_of(nonce: str, personal: Sequence[Any]) -> str:
    """Binds to the fields, and tells nothing of them once the nonce is gone: not even to who has the key."""
    return get_mac()("personal", nonce, *map(_spelt, personal))


def mark_of_erasure(event_id: Any) -> str:
    return get_mac()("erased", str(event_id))


def _values(row: EventRecord, names: Sequence[str]) -> list[Any]:
    return [getattr(row, name) for name in names]


def _spelt(value: Any) -> str:
    """One spelling for a value, whether it comes from memory or from any database."""
    if isinstance(value, str):
        return str(value)  # of a choice its value, as the database has it
    if isinstance(value, datetime):
        return (value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value).isoformat(" ")
    if isinstance(value, (dict, list)):
        return _encode(_plain(value))
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """JSON in which every number is spelt alike: PostgreSQL makes an integer of 1e20, MySQL one of 1.0."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): _plain(each) for key, each in value.items()}
    if kind is int:
        return value if -_EXACT < value < _EXACT else float(value)
    if kind is float:
        return int(value) if value.is_integer() and -_EXACT < value < _EXACT else value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value)
