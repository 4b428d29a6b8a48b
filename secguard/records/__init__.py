"""Pending rows → the database, and the database → the replica. Never in a view's transaction.

What faces a user never raises: what cannot be read is read later, what cannot be saved is kept, counted
and said. What an operator asks for (``block_network``, ``unblock_network``) raises the database's errors.
"""

from secguard.records.accounts import names_of_owner
from secguard.records.database import TOKEN, announce, count_offences, database, database_now, insert
from secguard.records.locks import CONSECUTIVE_FAILURES, active_locks, lock_account, unlock_account
from secguard.records.operators import (
    Allowance,
    active_allowed,
    active_blocks,
    allow_network,
    block_network,
    canonical_network,
    disallow_network,
    unblock_network,
)
from secguard.records.recorder import Recorder, get_recorder, record
from secguard.records.rollups import Rollups, get_rollups
from secguard.records.saving import is_due, keep_up, save, save_at_exit, save_outside_request
from secguard.records.synchroniser import (
    FULL_LOAD_INTERVAL,
    UNSHARED_INTERVAL,
    Synchroniser,
    after_poll,
    get_synchroniser,
)
from secguard.records.unlocking import URL_NAME as UNLOCK_URL_NAME
from secguard.records.unlocking import mail_after, remember_owner

__all__ = [
    "CONSECUTIVE_FAILURES",
    "FULL_LOAD_INTERVAL",
    "TOKEN",
    "UNLOCK_URL_NAME",
    "UNSHARED_INTERVAL",
    "Allowance",
    "Recorder",
    "Rollups",
    "Synchroniser",
    "active_allowed",
    "active_blocks",
    "active_locks",
    "after_poll",
    "allow_network",
    "announce",
    "block_network",
    "canonical_network",
    "count_offences",
    "database",
    "database_now",
    "disallow_network",
    "get_recorder",
    "get_rollups",
    "get_synchroniser",
    "insert",
    "is_due",
    "keep_up",
    "lock_account",
    "mail_after",
    "names_of_owner",
    "record",
    "remember_owner",
    "save",
    "save_at_exit",
    "save_outside_request",
    "unblock_network",
    "unlock_account",
]
