"""Pending rows → the database, and the database → the replica. Never in a view's transaction.

What faces a user never raises: what cannot be read is read later, what cannot be saved is kept, counted
and said. What an operator asks for (``block_network``, ``unblock_network``) raises the database's errors.
"""

from secguard.records.database import TOKEN, announce, count_offences, database, database_now, insert
from secguard.records.operators import active_blocks, block_network, canonical_network, unblock_network
from secguard.records.synchroniser import (
    FULL_LOAD_INTERVAL,
    UNSHARED_INTERVAL,
    Synchroniser,
    get_synchroniser,
    save,
    save_outside_request,
)

__all__ = [
    "FULL_LOAD_INTERVAL",
    "TOKEN",
    "UNSHARED_INTERVAL",
    "Synchroniser",
    "active_blocks",
    "announce",
    "block_network",
    "canonical_network",
    "count_offences",
    "database",
    "database_now",
    "get_synchroniser",
    "insert",
    "save",
    "save_outside_request",
    "unblock_network",
]
