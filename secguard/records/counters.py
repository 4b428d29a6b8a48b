"""What lifting a decision does to the counters: without it the next event would decide the same again."""

from __future__ import annotations

from collections.abc import Iterable

from secguard.logging import get_event_logger


def reset_counters(network: str, counters: Iterable[str]) -> None:
    """Count what was blocked from nought: the records that tripped a rule, and the address itself."""
    pipeline = get_event_logger().pipeline
    for key in filter(None, dict.fromkeys(counters)):
        pipeline.run(pipeline.detector.reset_record(key.encode()))
    get_event_logger().reset(ip_address=network.partition("/")[0])
