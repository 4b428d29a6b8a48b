"""Counting somebody from nought. Where a decision is lifted, the next event would decide the same again without it."""

from __future__ import annotations

from collections.abc import Iterable

from secguard.logging import get_event_logger
from secguard.records.subjects import Subject


def reset_subject(subject: Subject) -> None:
    """All records of somebody: of an account, of an address, or of a network that rules count."""
    pipeline = get_event_logger().pipeline
    pipeline.run(pipeline.detector.reset(pipeline.detector.records_of(subject.observation)))


def reset_records(keys: Iterable[bytes]) -> None:
    """These records, each once."""
    pipeline = get_event_logger().pipeline
    for key in dict.fromkeys(keys):
        pipeline.run(pipeline.detector.reset_record(key))


def reset_counters(network: str, counters: Iterable[str]) -> None:
    """Count what was blocked from nought: the records that tripped a rule, and the address itself."""
    reset_records(counter.encode() for counter in counters if counter)
    get_event_logger().reset(ip_address=network.partition("/")[0])
