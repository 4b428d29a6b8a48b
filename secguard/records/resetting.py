"""Counting somebody from nought, as operators ask for, where nothing is lifted."""

from __future__ import annotations

from secguard import emit
from secguard.events import EventType, new_event_id
from secguard.pipeline import make_event
from secguard.records.accounts import account_of
from secguard.records.counters import reset_subject
from secguard.records.locks import reset_account
from secguard.records.subjects import network_subject


def reset_network(network: str, *, reason: str = "", by: str = "") -> None:
    """Close the threats of an address, or of a network that rules count, and count it from nought.

    Raises ValueError for what is no network.
    """
    subject = network_subject(network)
    reset_subject(subject)
    _report({"subject": subject.name}, subject.name, reason, by)


def reset_identifier(account: str, *, reason: str = "", by: str = "") -> None:
    """Close the threats of an account, by its identifier or digest, and count it from nought, under its canonical name
    too.

    Raises ValueError for what is no account.
    """
    found = account_of(account)
    reset_account(found.digests)
    _report({"username": found.name}, found.name, reason, by)


def _report(whom: dict[str, str], subject: str, reason: str, by: str) -> None:
    details = {**whom, "by": by, "reason": reason, "event_id": new_event_id()}
    emit.emit(make_event(EventType.COUNTERS_RESET, f"Counters of {subject} reset", details))
