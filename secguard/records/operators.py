"""What operators do to blocks and allowed networks. Raises the database's errors, and ValueError for no network."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import NamedTuple

from secguard import emit, signals
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.context import context_for
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.models import AllowedNetwork, Block, in_force_at
from secguard.network import canonical_network as canonical_network
from secguard.network import describe_too_wide, parse_network
from secguard.pipeline import block, get_replica, make_event
from secguard.privacy import shown_address
from secguard.records.counters import reset_counters
from secguard.records.database import announce, database, database_now, insert
from secguard.records.synchroniser import get_synchroniser


def active_blocks() -> list[Block]:
    """The blocks in force, newest first."""
    alias = database()
    get_synchroniser().save_waiting()
    now = database_now(alias)
    return list(Block.objects.using(alias).filter(in_force_at(now)))


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
    rows = Block.objects.using(alias).filter(in_force_at(now), network=canonical)
    counters = list(rows.values_list("counter", flat=True))
    lifted = rows.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    get_replica().remove_network(canonical)
    announce(alias)
    if not keep_counters:
        try:
            reset_counters(canonical, counters)
        except Exception:
            # Settings that are wrong, which is when somebody needs to be let in: the block is lifted all the same.
            report_failure("the counters of %s could not be reset", shown_address(canonical))
    if lifted:
        details = {
            "subject": canonical,
            "by": by,
            "reason": reason,
            "count": lifted,
            "event_id": new_event_id(),
        }
        emit.emit(make_event(EventType.ADDRESS_UNBLOCKED, "Unblocked {}", details, name=canonical))
        emit.send(signals.address_unblocked, network=canonical, by=by)
    return lifted


class Allowance(NamedTuple):
    """A network that is never refused from now on. ``lifted``: how many blocks of exactly this network there were."""

    network: str
    reference: str
    lifted: int


def active_allowed() -> list[AllowedNetwork]:
    """The networks that operators allowed and that still are, newest first."""
    alias = database()
    now = database_now(alias)
    return list(AllowedNetwork.objects.using(alias).filter(in_force_at(now)))


def allow_network(network: str, *, duration: float | None = None, reason: str = "", by: str = "") -> Allowance:
    """Never refuse an address or CIDR, for ``duration`` seconds or for good, and lift the blocks of exactly it.

    Raises ValueError for what is no network or too wide to be allowed, and the database's errors.
    """
    canonical = canonical_network(network)
    too_wide = describe_too_wide(parse_network(canonical))
    if too_wide:
        raise ValueError(too_wide)
    alias = database()
    now = database_now(alias)
    row = AllowedNetwork.objects.using(alias).create(
        network=canonical,
        reference=uuid.uuid4(),
        reason=reason[:255],
        created_by=by[:150],
        created_at=now,
        updated_at=now,
        expires_at=None if duration is None else now + timedelta(seconds=duration),
    )
    lasting = FOREVER if duration is None else get_replica().clock() + duration
    get_replica().add_allowed(BlockEntry(canonical, str(row.reference), lasting))
    announce(alias)
    lasts = "" if duration is None else f" for {duration:g} s"
    details = {"subject": canonical, "reason": reason, "duration_seconds": duration, "by": by}
    details |= {"reference": str(row.reference), "event_id": new_event_id()}
    emit.emit(make_event(EventType.NETWORK_ALLOWED, "Allowed {}" + lasts, details, name=canonical))
    lifted = unblock_network(canonical, reason=reason or "allowed", by=by)
    return Allowance(canonical, str(row.reference), lifted)


def disallow_network(network: str, *, reason: str = "", by: str = "") -> int:
    """Take back what ``allow_network`` said of exactly this address or CIDR. → how many rows there were.

    Raises ValueError for what is no network, and the database's errors.
    """
    canonical = canonical_network(network)
    alias = database()
    now = database_now(alias)
    rows = AllowedNetwork.objects.using(alias).filter(in_force_at(now), network=canonical)
    ended = rows.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    get_replica().remove_allowed(canonical)
    announce(alias)
    if ended:
        details = {"subject": canonical, "by": by, "reason": reason, "count": ended, "event_id": new_event_id()}
        emit.emit(make_event(EventType.NETWORK_DISALLOWED, "No longer allowed: {}", details, name=canonical))
    return ended
