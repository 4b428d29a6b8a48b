"""Counting somebody from nought, as operators ask for, where nothing is lifted."""

from __future__ import annotations

from secguard import emit
from secguard.detection import Observation
from secguard.events import EventType, new_event_id
from secguard.logging import get_event_logger
from secguard.network import parse_network
from secguard.pipeline import make_event
from secguard.records.accounts import account_of
from secguard.records.locks import reset_account
from secguard.records.operators import canonical_network


def reset_network(network: str, *, reason: str = "", by: str = "") -> None:
    """Close the threats of an address, or of a network that rules count, and count it from nought.

    Raises ValueError for what is no network.
    """
    canonical = canonical_network(network)
    parsed = parse_network(canonical)
    is_single = parsed.prefixlen == (32 if parsed.version == 4 else 64)
    pipeline = get_event_logger().pipeline
    who = Observation(canonical) if is_single else Observation(network=canonical)
    pipeline.run(pipeline.detector.reset(pipeline.detector.records_of(who)))
    _report({"subject": canonical}, canonical, reason, by)


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
