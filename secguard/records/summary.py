"""How much is in force, and what was decided lately. Raises the database's errors."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from secguard.events import EventType
from secguard.models import AccountLock, AllowedNetwork, Block, Decision, EventRecord, in_force_at
from secguard.network import Network, parse_network
from secguard.records.database import database, database_now

D = TypeVar("D", bound=Decision)


def in_force(model: type[D]) -> QuerySet[D]:
    """The rows of a kind of decision that hold now, newest first."""
    return model._default_manager.using(database()).filter(in_force_at(Now()))


def counts_in_force() -> dict[str, int]:
    """How many blocks (by who raised them), locks and allowed networks are in force."""
    listed = ~Q(list_name="")
    found = in_force(Block).aggregate(
        rules=Count("pk", filter=~Q(rule="") & ~listed),
        operators=Count("pk", filter=Q(rule="") & ~listed),
        lists=Count("pk", filter=listed),
    )
    return {
        **{f"blocks_by_{kind}": number for kind, number in found.items()},
        "locks": in_force(AccountLock).count(),
        "allowed_networks": in_force(AllowedNetwork).count(),
    }


def counts_since(seconds: float = 3_600) -> dict[str, int]:
    """How many blocks and locks were decided, and how many of them lifted. Imported lists are left out."""
    alias = database()
    since = database_now(alias) - timedelta(seconds=seconds)
    blocks = Block.objects.using(alias).filter(list_name="")
    locks = AccountLock.objects.using(alias)
    return {
        "blocks": blocks.filter(created_at__gt=since).count(),
        "locks": locks.filter(created_at__gt=since).count(),
        "lifts": blocks.filter(lifted_at__gt=since).count() + locks.filter(lifted_at__gt=since).count(),
    }


def alerts_not_delivered(seconds: float = 3_600) -> int:
    """How many messages of alerts did not get through, as far as events have rows."""
    alias = database()
    since = database_now(alias) - timedelta(seconds=seconds)
    undelivered = EventRecord.objects.using(alias).filter(event_type=EventType.ALERT_NOT_DELIVERED)
    return undelivered.filter(timestamp__gt=since).count()


def blocks_around(wanted: Network) -> list[str]:
    """The wider networks in force that this one lies in, the widest first: they refuse it too."""
    names = [str(wanted.supernet(new_prefix=prefix)) for prefix in range(wanted.prefixlen)]
    found = set(in_force(Block).filter(network__in=names).values_list("network", flat=True))
    return sorted(found, key=lambda name: parse_network(name).prefixlen)


def lists_with(network: str) -> list[str]:
    """The imported lists that have a block of exactly this network in force."""
    rows = in_force(Block).filter(network=network).exclude(list_name="")
    return sorted(set(rows.values_list("list_name", flat=True)))
