"""event → detect → emit → decide: the one place that knows them all."""

from secguard.pipeline.attempts import Pipeline
from secguard.pipeline.consecutive import Clearance, Failure, note_failure, note_rebinding, note_success
from secguard.pipeline.decisions import block, follow_up, is_exempt, keep_up, lock
from secguard.pipeline.names import are_anothers_too, may_hold
from secguard.pipeline.parts import fail_mode, get_locks, get_replica, get_store, get_waiting_room
from secguard.pipeline.reports import (
    get_refusals,
    is_worth_a_line,
    make_event,
    note_blocked,
    note_rate_limited,
    note_suspicious,
    report_address_unknown,
    report_all_refusals,
    report_degraded,
    report_mode_override,
    report_overdue_refusals,
    report_recovered,
    report_suppressed,
)

__all__ = [
    "Clearance",
    "Failure",
    "Pipeline",
    "are_anothers_too",
    "block",
    "fail_mode",
    "follow_up",
    "get_locks",
    "get_refusals",
    "get_replica",
    "get_store",
    "get_waiting_room",
    "is_exempt",
    "is_worth_a_line",
    "keep_up",
    "lock",
    "make_event",
    "may_hold",
    "note_blocked",
    "note_failure",
    "note_rate_limited",
    "note_rebinding",
    "note_success",
    "note_suspicious",
    "report_address_unknown",
    "report_all_refusals",
    "report_degraded",
    "report_mode_override",
    "report_overdue_refusals",
    "report_recovered",
    "report_suppressed",
]
