"""What other processes do to the tables and to the store, and what this one makes of it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from secguard.context import get_resolver
from secguard.logging import security_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block
from secguard.network import ClientAddress
from secguard.pipeline import get_replica
from secguard.records import TOKEN, Synchroniser, database_now
from secguard.stores import MemoryStore, ResilientStore
from secguard.testing import ManualClock

HOST, OTHER = "203.0.113.7", "203.0.113.8"

in_transaction = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


class SharedStore(MemoryStore):
    """Stands for a server: other processes may have changed a token."""

    shared = True


def client(text: str = HOST) -> ClientAddress:
    address = get_resolver().address(text)
    assert address is not None
    return address


def is_blocked(text: str = HOST) -> bool:
    return get_replica().find(client(text)) is not None


def is_allowed(text: str = HOST) -> bool:
    return get_replica().is_allowed(client(text))


def row(network: str = HOST, **fields: Any) -> Block:
    """A block that another process saved."""
    return Block.objects.create(**{"network": network, **_now(), **fields})


def allowed_row(network: str = HOST, **fields: Any) -> AllowedNetwork:
    return AllowedNetwork.objects.create(**{"network": network, **_now(), **fields})


def lock_row(digest: str, **fields: Any) -> AccountLock:
    return AccountLock.objects.create(**{"digest": digest, **_now(), **fields})


def _now() -> dict[str, datetime]:
    now = database_now("default")
    return {"created_at": now, "updated_at": now}


def lift(decision: Block | AllowedNetwork | AccountLock) -> None:
    """Another process lifts it."""
    now = database_now("default")
    type(decision)._default_manager.filter(pk=decision.pk).update(lifted_at=now, updated_at=now)


def ago(**span: float) -> datetime:
    return database_now("default") - timedelta(**span)


def news(store: ResilientStore) -> None:
    """Another process says that the blocks have changed."""
    store.set_token(TOKEN, uuid.uuid4().hex)


def later(clock: ManualClock, sync: Synchroniser, seconds: float = 1.0) -> None:
    clock.advance(seconds)
    assert sync.due()
    sync.poll()


def fail(number: int, address: str = HOST) -> None:
    for _ in range(number):
        security_event_logger.log_login_failed(ip_address=address, email="anna@example.com")
