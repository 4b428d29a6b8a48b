"""What every store promises. An approximate store promises a window that is up to one part too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from secguard.detection.identity import NO_VALUE
from secguard.detection.store import (
    CLOSED,
    FORGET,
    GRANTED,
    LINKED,
    OPEN,
    OPENED,
    READ,
    REFUSED,
    RESERVE,
    WAIT,
    Op,
    Watch,
)
from tests.stores.drive import (
    ANNA,
    BERT,
    CARL,
    DENIALS,
    DENIED,
    DORA,
    GUESSES,
    KEY,
    LEASE,
    LOGIN,
    NAMES,
    NOW,
    OTHER_KEY,
    TALLY,
    WINDOW,
    Drive,
    hang_up,
    number,
    panel,
)

# -- counting ------------------------------------------------------------------------------------------


def test_a_record_that_was_never_written_counts_nothing(drive: Drive) -> None:
    reply = drive.under(GUESSES, NAMES).read()
    assert (reply.status, reply.counts, reply.threats) == (GRANTED, (0, 0), (CLOSED, CLOSED))


def test_failures_below_the_cap_are_counted_exactly(drive: Drive) -> None:
    drive.under(TALLY)
    assert [drive.fail(n, at=n).counts[0] for n in range(12)] == list(range(1, 13))


def test_distinct_values_are_counted_once_each(drive: Drive) -> None:
    drive.under(NAMES)
    assert [drive.fail(n, value).counts[0] for n, value in enumerate([ANNA, BERT, ANNA, BERT, CARL])] == [
        1, 2, 2, 2, 3,
    ]  # fmt: skip


def test_an_event_without_the_distinct_value_counts_as_no_value(drive: Drive) -> None:
    drive.under(NAMES, TALLY)
    drive.fail(1, NO_VALUE)
    assert drive.fail(2, ANNA).counts == (1, 2)


def test_counts_saturate_at_the_cap(drive: Drive) -> None:
    drive.under(TALLY, cap=5)
    for n in range(9):
        drive.fail(n, at=n)
    assert drive.count(at=9) == 5


def test_one_kind_of_event_cannot_push_another_out(drive: Drive) -> None:
    drive.under(TALLY, DENIALS, cap=5)
    drive.fail(1)
    drive.fail(2)
    for n in range(10, 30):
        drive.fail(n, stream=DENIED)
    assert drive.read().counts == (2, 5)


def test_attempts_in_flight_push_no_failure_out_of_a_full_record(drive: Drive) -> None:
    drive.under(TALLY, cap=5)
    for n in range(5):
        drive.fail(n)
    for n in range(10, 20):
        drive.reserve(n)
        drive.forget(n)
    assert drive.count() == 5


def test_an_event_counts_only_for_the_rules_of_its_kind(drive: Drive) -> None:
    drive.under(TALLY, DENIALS)
    drive.fail(1)
    assert drive.fail(2, stream=DENIED).counts == (0, 1)
    assert drive.read().counts == (1, 1)


def test_one_record_knows_nothing_of_another(drive: Drive) -> None:
    drive.fail(1)
    assert drive.count(key=OTHER_KEY) == 0


def test_operations_of_one_call_are_answered_in_order(drive: Drive) -> None:
    ops = [Op(READ, KEY, drive.panel)]
    for n in (1, 2):
        ops += [Op(b"F", KEY, drive.panel, number(n), LOGIN + ANNA), Op(READ, KEY, drive.panel)]
    assert [reply.counts[0] for reply in drive.execute(ops, NOW)] == [0, 1, 1, 2, 2]


def test_no_operations_are_no_replies(drive: Drive) -> None:
    assert drive.execute([], NOW) == []


def test_reading_changes_nothing(drive: Drive) -> None:
    drive.fail(1)
    assert [drive.read() for _ in range(3)] == [drive.read()] * 3


def test_a_store_has_a_clock_of_its_own(drive: Drive) -> None:
    op = Op(b"F", KEY, drive.panel, number(1), LOGIN + ANNA)
    assert drive.execute([op], None)[0].counts == (1,)
    assert drive.execute([Op(READ, KEY, drive.panel)], None)[0].counts == (1,)


def test_sent_operations_are_answered_when_they_are_collected(store: Any) -> None:
    pending = store.send([Op(b"F", KEY, panel(GUESSES), number(1), LOGIN + ANNA)], NOW)
    assert pending.collect()[0].counts == (1,)
    assert store.send([], NOW).collect() == []


# -- rules over more than one number ---------------------------------------------------------------------

EVENTS = Watch("spread#events", LOGIN + DENIED, False, WINDOW, 2**40, False)
VALUES = Watch("spread#values", LOGIN + DENIED, True, WINDOW, 2**40, False)
SUCCESSES = Watch("spread#successes", b"SS", False, WINDOW, 2**40, False)
TRIGGER = Watch("spread", b"##", False, WINDOW, 1, False)
SPREAD = (TRIGGER, VALUES, EVENTS, SUCCESSES)


def test_events_and_their_values_are_counted_side_by_side(drive: Drive) -> None:
    drive.under(*SPREAD)
    for n, value in enumerate([ANNA, ANNA, BERT, NO_VALUE]):
        drive.fail(n, value)
    assert drive.fail(5, CARL, DENIED).counts == (0, 3, 5, 0)


def test_successes_are_counted_apart_from_failures(drive: Drive) -> None:
    drive.under(*SPREAD)
    drive.fail(1, ANNA)
    assert drive.fail(2, ANNA, b"SS").counts == (0, 0, 0, 1)  # a reply tells what this entry counts for
    assert drive.read().counts == (0, 1, 1, 1)


def test_what_is_in_flight_is_neither_an_event_nor_a_value(drive: Drive) -> None:
    drive.under(GUESSES, *SPREAD)
    drive.reserve(1)
    drive.reserve(2, BERT)
    drive.abandon(2)
    assert drive.read().counts == (0, 0, 0, 0, 0)


def test_a_watch_that_only_counts_opens_nothing(drive: Drive) -> None:
    drive.under(*SPREAD)
    assert {threat for n in range(12) for threat in drive.fail(n, b"%08d" % n).threats} == {CLOSED}


def test_events_values_and_successes_leave_when_their_window_has_passed(drive: Drive) -> None:
    drive.under(*SPREAD)
    drive.fail(1, ANNA, b"SS")
    drive.fail(2, BERT)
    drive.fail(3, CARL, at=WINDOW // 2)
    assert drive.read(at=WINDOW - 1).counts == (0, 2, 2, 1)
    assert drive.read(at=WINDOW + drive.part).counts == (0, 1, 1, 0)


def test_successes_push_no_failure_out_of_a_full_record(drive: Drive) -> None:
    drive.under(*SPREAD, cap=3)
    for n in range(3):
        drive.fail(n, b"%08d" % n)
    for n in range(3, 9):
        drive.fail(n, ANNA, b"SS")
    assert drive.read().counts == (0, 3, 3, 3)


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_an_entry_of_its_own_opens_the_threat_whatever_was_counted_before(drive: Drive, failures: int) -> None:
    drive.under(*SPREAD)
    for n in range(failures):
        drive.fail(n)
    assert drive.fail(100, NO_VALUE, b"##").threats == (OPENED, CLOSED, CLOSED, CLOSED)
    assert drive.read().threats == (OPEN, CLOSED, CLOSED, CLOSED)


def test_only_another_entry_of_its_own_keeps_that_threat_open(drive: Drive) -> None:
    drive.under(*SPREAD)
    drive.fail(1, NO_VALUE, b"##")
    drive.fail(2, NO_VALUE, b"##", at=WINDOW // 2)
    drive.fail(3, ANNA, at=WINDOW)
    assert drive.threat(at=WINDOW + WINDOW // 2 - 1) == OPEN
    assert drive.threat(at=WINDOW + WINDOW // 2 + drive.part) == CLOSED


def test_a_success_forgives_a_failure_its_event_and_its_value(drive: Drive) -> None:
    drive.under(*SPREAD)
    drive.fail(1, ANNA)
    drive.fail(2, BERT)
    drive.fail(3, BERT, b"SS")
    drive.do(FORGET, payload=LOGIN + BERT)
    assert drive.read().counts == (0, 1, 1, 1)


# -- windows -------------------------------------------------------------------------------------------


def test_a_failure_counts_to_the_last_moment_of_its_window(drive: Drive) -> None:
    drive.fail(1)
    assert drive.count(at=WINDOW - 1) == 1


def test_a_failure_that_is_one_window_old_has_left_it(drive: Drive) -> None:
    drive.fail(1)
    assert drive.count(at=WINDOW + drive.part) == 0


def test_each_failure_leaves_by_itself(drive: Drive) -> None:
    drive.under(TALLY)
    for n in range(3):
        drive.fail(n, at=n * 10_000)
    found = [drive.count(at=WINDOW + drive.part + n * 10_000) for n in range(3)]
    assert found == [2, 1, 0]


def test_every_rule_has_its_own_window(drive: Drive) -> None:
    drive.under(GUESSES._replace(window_ms=10_000), TALLY)
    drive.fail(1)
    assert drive.read(at=15_000).counts == (0, 1)


def test_a_reserved_failure_counts_from_its_reservation(drive: Drive) -> None:
    drive.reserve(1)
    drive.fail(1, at=5_000)
    assert drive.count(at=WINDOW - 1) == 1
    assert drive.count(at=WINDOW + drive.part) == 0


def test_a_value_seen_again_after_its_window_counts_again(drive: Drive) -> None:
    drive.under(NAMES)
    drive.fail(1)
    assert drive.fail(2, at=WINDOW + drive.part).counts == (1,)


def test_a_value_seen_again_counts_from_then_where_windows_are_exact(drive: Drive) -> None:
    drive.under(NAMES)
    drive.fail(1)
    drive.fail(2, at=30_000)
    assert drive.count(at=WINDOW + drive.part) == (1 if drive.store.exact else 0)


# -- threats -------------------------------------------------------------------------------------------


def test_a_threat_opens_with_the_failure_that_reaches_the_threshold(drive: Drive) -> None:
    assert [drive.fail(n).threats[0] for n in range(3)] == [CLOSED, CLOSED, OPENED]


def test_a_threat_opens_once(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    assert [drive.fail(n).threats[0] for n in range(3, 6)] == [OPEN, OPEN, OPEN]


def test_an_open_threat_is_seen_by_readers(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    assert drive.threat() == OPEN


def test_a_threat_closes_one_window_after_the_last_failure(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    assert drive.threat(at=WINDOW - 1) == OPEN
    assert drive.threat(at=WINDOW) == CLOSED


def test_further_failures_at_the_threshold_keep_a_threat_open(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    drive.fail(3, at=40_000)
    assert drive.threat(at=40_000 + WINDOW - 1) == OPEN
    assert drive.threat(at=40_000 + WINDOW) == CLOSED


def test_a_failure_below_the_threshold_keeps_no_threat_open(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    drive.fail(3, at=WINDOW - 1)  # four within the window: open until then + one window
    drive.fail(4, at=WINDOW + drive.part + 1_000)  # two within the window
    assert drive.threat(at=2 * WINDOW - 2) == OPEN
    assert drive.threat(at=2 * WINDOW - 1) == CLOSED


def test_a_closed_threat_opens_again(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    later = 2 * WINDOW
    assert [drive.fail(10 + n, at=later).threats[0] for n in range(4)] == [CLOSED, CLOSED, OPENED, OPEN]


def test_each_rule_opens_its_own_threat(drive: Drive) -> None:
    drive.under(NAMES, TALLY)
    replies = [drive.fail(n, value).threats for n, value in enumerate([ANNA, ANNA, BERT, CARL])]
    assert replies == [(CLOSED, CLOSED), (CLOSED, CLOSED), (CLOSED, OPENED), (OPENED, OPEN)]


def test_attempts_in_flight_open_nothing(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    assert (drive.count(), drive.threat()) == (0, CLOSED)


# -- reservations --------------------------------------------------------------------------------------


def test_a_reservation_counts_as_if_it_had_failed(drive: Drive) -> None:
    drive.under(GUESSES, NAMES)
    drive.fail(1, ANNA)
    assert drive.reserve(2, ANNA).counts == (2, 1)
    assert drive.reserve(3, BERT).counts == (2, 2)


def test_as_many_attempts_as_the_limit_are_granted_and_the_next_waits(drive: Drive) -> None:
    assert [drive.reserve(n).status for n in range(4)] == [GRANTED, GRANTED, GRANTED, WAIT]


def test_a_limit_reached_by_failures_refuses(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
        drive.fail(n)
    assert drive.reserve(3).status == REFUSED


def test_failures_together_with_attempts_in_flight_make_the_next_wait(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    drive.fail(0)
    drive.fail(1)
    assert drive.reserve(3).status == WAIT


def test_a_refused_attempt_leaves_no_trace(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    for n in range(3, 9):
        drive.reserve(n, at=30_000)
    assert drive.reserve(9, at=WINDOW + drive.part).status == GRANTED
    assert drive.count(at=WINDOW + drive.part) == 0


def test_an_attempt_that_waits_holds_nothing(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    assert drive.reserve(3).status == WAIT
    drive.forget(0)
    assert drive.reserve(3).status == GRANTED


def test_a_refusal_says_when_there_is_room_again(drive: Drive) -> None:
    for n in range(5):
        drive.fail(n, at=n * 1_000)
    reply = drive.reserve(9, at=10_000)
    exact = 2_000 + WINDOW - 10_000  # when the third of five leaves, two are left
    assert reply.status == REFUSED
    assert exact <= reply.retry_after_ms <= exact + drive.part
    assert drive.reserve(9, at=10_000 + reply.retry_after_ms).status == GRANTED


def test_a_refusal_lasts_as_long_as_it_says(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    wait = drive.reserve(9).retry_after_ms
    assert drive.reserve(9, at=wait - 1).status == REFUSED
    assert drive.reserve(9, at=wait).status == GRANTED


def test_a_limit_on_distinct_values_counts_values(drive: Drive) -> None:
    drive.under(NAMES)
    for n, value in enumerate([ANNA, ANNA, ANNA, BERT]):
        assert drive.reserve(n, value).status == GRANTED
        drive.fail(n, value)
    assert drive.reserve(4, CARL).status == GRANTED
    assert drive.reserve(5, DORA).status == WAIT
    drive.fail(4, CARL)
    assert drive.reserve(5, DORA).status == REFUSED


def test_the_strictest_rule_decides(drive: Drive) -> None:
    drive.under(GUESSES, NAMES._replace(threshold=2))
    drive.fail(1, ANNA)
    drive.fail(2, BERT)
    assert drive.reserve(3, CARL).status == REFUSED


def test_a_rule_without_a_limit_grants_everything(drive: Drive) -> None:
    drive.under(TALLY)
    for n in range(6):
        drive.fail(n)
    assert drive.reserve(9).status == GRANTED


def test_a_limit_does_not_hold_for_other_kinds_of_events(drive: Drive) -> None:
    drive.under(GUESSES, DENIALS)
    for n in range(3):
        drive.fail(n)
    assert drive.reserve(9, stream=DENIED).status == GRANTED


def test_parallel_reservations_never_exceed_the_limit(store: Any) -> None:
    limit, guard = 3, panel(GUESSES)
    start = threading.Barrier(16)

    def ask(n: int) -> int:
        start.wait()
        return store.execute([Op(RESERVE, KEY, guard, number(n), LOGIN + ANNA)], NOW)[0].status

    with ThreadPoolExecutor(16) as pool:
        found = sorted(pool.map(ask, range(16)))
    granted = found.count(GRANTED)
    assert granted == limit if store.exact else 0 < granted <= limit
    assert set(found) == {GRANTED, WAIT}


# -- leases --------------------------------------------------------------------------------------------


def test_an_attempt_whose_lease_has_ended_still_limits(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    assert drive.reserve(9, at=LEASE - 1).status == WAIT
    # What nobody settled is unknown, which only an exact store can tell from what is in flight.
    assert drive.reserve(9, at=LEASE).status == (REFUSED if drive.store.exact else WAIT)


def test_an_attempt_whose_lease_has_ended_opens_nothing(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    reply = drive.read(at=LEASE)
    assert (reply.counts, reply.threats) == ((0,), (CLOSED,))


def test_an_unsettled_attempt_leaves_with_its_window(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    assert drive.reserve(9, at=WINDOW + drive.part).status == GRANTED


def test_a_failure_reported_after_the_lease_counts(drive: Drive) -> None:
    drive.reserve(1)
    assert drive.fail(1, at=LEASE + 1).counts == (1,)


def test_an_abandoned_attempt_limits_and_opens_nothing(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
        drive.abandon(n)
    assert drive.reserve(9).status == REFUSED
    assert (drive.count(), drive.threat()) == (0, CLOSED)


def test_an_abandoned_attempt_may_still_turn_out_to_have_failed(drive: Drive) -> None:
    drive.reserve(1)
    drive.abandon(1)
    assert drive.fail(1).counts == (1,)


def test_abandoning_a_settled_attempt_changes_nothing(drive: Drive) -> None:
    drive.reserve(1)
    drive.fail(1)
    drive.abandon(1)
    assert drive.count() == 1


def test_abandoning_an_unknown_attempt_changes_nothing(drive: Drive) -> None:
    drive.abandon(1)
    assert [drive.reserve(n).status for n in range(2, 5)] == [GRANTED] * 3


# -- forgetting ----------------------------------------------------------------------------------------


def test_forgetting_an_attempt_frees_its_slot(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    drive.forget(1)
    assert drive.reserve(3).status == GRANTED
    assert drive.reserve(4).status == WAIT


@pytest.mark.parametrize("end", ["fail", "abandon"])
def test_forgetting_a_settled_attempt_frees_its_slot(drive: Drive, end: str) -> None:
    settle: Callable[[int], object] = getattr(drive, end)
    for n in range(3):
        drive.reserve(n)
        settle(n)
    drive.forget(1)
    assert drive.reserve(3).status == GRANTED


def test_forgetting_by_id_forgives_nothing_else(drive: Drive) -> None:
    drive.under(TALLY)
    drive.fail(1)
    drive.fail(2)
    drive.forget(2)
    assert drive.count() == 1


def test_forgetting_an_attempt_takes_it_and_not_an_older_one(drive: Drive) -> None:
    drive.under(TALLY)
    drive.fail(1)
    drive.fail(2, at=30_000)
    drive.forget(2, at=30_000)
    assert drive.count(at=30_000) == 1
    assert drive.count(at=WINDOW + drive.part) == 0


def test_several_attempts_are_forgotten_at_once(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    drive.do(b"X", number(0) + number(2))
    assert [drive.reserve(n).status for n in (3, 4, 5)] == [GRANTED, GRANTED, WAIT]


def test_forgetting_one_attempt_on_a_value_keeps_the_value(drive: Drive) -> None:
    drive.under(NAMES)
    drive.reserve(1, ANNA)
    drive.reserve(2, ANNA)
    drive.forget(1)
    drive.reserve(3, BERT)
    drive.reserve(4, CARL)
    assert drive.reserve(5, DORA).status == WAIT
    drive.forget(2)
    assert drive.reserve(5, DORA).status == GRANTED


def test_a_success_forgives_the_failures_of_its_own_value(drive: Drive) -> None:
    drive.under(GUESSES, NAMES)
    drive.fail(1, ANNA)
    drive.fail(2, ANNA)
    drive.reserve(3, ANNA)
    drive.succeed(3, ANNA)
    assert drive.read().counts == (0, 0)
    assert [drive.reserve(n, ANNA).status for n in range(4, 7)] == [GRANTED] * 3


def test_a_success_never_forgives_another_value(drive: Drive) -> None:
    drive.under(GUESSES, NAMES)
    drive.fail(1, BERT)
    drive.fail(2, BERT)
    drive.reserve(3, ANNA)
    drive.succeed(3, ANNA)
    assert drive.read().counts == (2, 1)
    assert [drive.reserve(n, ANNA).status for n in (4, 5)] == [GRANTED, WAIT]


def test_a_success_never_forgives_another_kind_of_event(drive: Drive) -> None:
    drive.under(TALLY, DENIALS)
    drive.fail(1, ANNA, stream=DENIED)
    drive.succeed(2, ANNA)
    assert drive.read().counts == (0, 1)


def test_a_success_leaves_other_attempts_in_flight_alone(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n, ANNA)
    drive.succeed(0, ANNA)
    assert [drive.reserve(n, ANNA).status for n in (3, 4)] == [GRANTED, WAIT]


def test_a_success_forgives_abandoned_attempts_of_its_own_value(drive: Drive) -> None:
    for n in range(2):
        drive.reserve(n, ANNA)
        drive.abandon(n)
    drive.reserve(2, ANNA)
    drive.succeed(2, ANNA)
    assert [drive.reserve(n).status for n in range(3, 7)] == [GRANTED, GRANTED, GRANTED, WAIT]


def test_a_success_closes_no_threat(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    drive.succeed(9)
    assert (drive.count(), drive.threat()) == (0, OPEN)


def test_counts_of_a_forgetting_are_those_before_it(drive: Drive) -> None:
    drive.fail(1)
    drive.fail(2)
    assert drive.succeed(9).counts == (2,)


# -- idempotence ---------------------------------------------------------------------------------------


def test_a_failure_told_twice_counts_once(drive: Drive) -> None:
    drive.reserve(1)
    assert [drive.fail(1).counts, drive.fail(1).counts] == [(1,), (1,)]


def test_a_failure_told_twice_without_a_reservation_counts_once(drive: Drive) -> None:
    assert [drive.fail(1).counts, drive.fail(1).counts] == [(1,), (1,)]
    assert [drive.reserve(n).status for n in (2, 3, 4)] == [GRANTED, GRANTED, WAIT]


def test_a_failure_told_twice_extends_no_threat(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    assert drive.fail(2, at=30_000).threats == (OPEN,)
    assert drive.threat(at=WINDOW) == CLOSED


def test_a_reservation_made_twice_holds_one_slot(drive: Drive) -> None:
    for n in (1, 1, 1, 2, 3):
        assert drive.reserve(n).status == GRANTED
    assert drive.reserve(4).status == WAIT


def test_a_reservation_made_twice_is_granted_even_at_the_limit(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    assert drive.reserve(1).status == GRANTED


def test_an_attempt_forgotten_twice_is_gone_once(drive: Drive) -> None:
    for n in range(3):
        drive.reserve(n)
    drive.forget(0)
    drive.forget(0)
    assert [drive.reserve(n).status for n in (3, 4)] == [GRANTED, WAIT]


def test_a_success_told_twice_forgives_once(drive: Drive) -> None:
    drive.under(TALLY)
    drive.fail(1, ANNA)
    drive.fail(2, BERT)
    drive.succeed(3, ANNA)
    drive.succeed(3, ANNA)
    assert drive.count() == 1


def test_forgetting_what_a_success_has_forgiven_takes_nothing_from_others(drive: Drive) -> None:
    drive.under(TALLY)
    drive.fail(1, ANNA)
    drive.fail(2, BERT)
    drive.succeed(3, ANNA)
    drive.forget(1)
    assert drive.count() == 1


def test_an_abandonment_told_twice_holds_one_slot(drive: Drive) -> None:
    drive.reserve(1)
    drive.abandon(1)
    drive.abandon(1)
    assert [drive.reserve(n).status for n in (2, 3, 4)] == [GRANTED, GRANTED, WAIT]


# -- links and resets ----------------------------------------------------------------------------------

TARGET = bytes(range(240, 256))


def test_a_linked_record_says_where_it_lives(drive: Drive) -> None:
    drive.link(TARGET)
    for reply in (drive.read(), drive.reserve(1), drive.fail(1), drive.forget(1), drive.abandon(1)):
        assert (reply.status, reply.link) == (LINKED, TARGET)


def test_a_link_replaces_what_was_counted(drive: Drive) -> None:
    drive.fail(1)
    drive.link(TARGET)
    drive.reset()
    assert drive.count() == 0


def test_linking_twice_is_linking_once(drive: Drive) -> None:
    drive.link(TARGET)
    drive.link(TARGET)
    assert drive.read().link == TARGET


def test_a_reset_drops_the_counts(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    drive.reset()
    assert drive.count() == 0
    assert [drive.reserve(n).status for n in range(10, 14)] == [GRANTED, GRANTED, GRANTED, WAIT]


def test_a_reset_closes_the_threats(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n)
    drive.reset()
    assert drive.threat() == CLOSED
    assert [drive.fail(10 + n).threats[0] for n in range(3)] == [CLOSED, CLOSED, OPENED]


def test_a_reset_leaves_other_records_alone(drive: Drive) -> None:
    drive.fail(1)
    drive.fail(2, key=OTHER_KEY)
    drive.reset()
    assert drive.count(key=OTHER_KEY) == 1


def test_a_reset_holds_within_the_same_call(drive: Drive) -> None:
    drive.fail(1)
    ops = [Op(code, KEY, drive.panel) for code in (READ, b"D", READ)]
    assert [reply.counts for reply in drive.execute(ops, NOW)] == [(1,), (), (0,)]


def test_a_failure_after_a_reset_counts_anew(drive: Drive) -> None:
    drive.reserve(1)
    drive.reset()
    assert drive.fail(1).counts == (1,)


# -- a clock that steps back ---------------------------------------------------------------------------

HOUR = 3_600_000


def test_a_clock_that_stepped_back_keeps_no_failure_longer_than_a_window(drive: Drive) -> None:
    drive.fail(1, at=HOUR)
    drive.fail(2)
    assert drive.count(at=WINDOW + drive.part) == 0


def test_a_clock_that_stepped_back_keeps_no_threat_open_longer_than_a_window(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n, at=HOUR)
    drive.read()  # whoever comes first after the step
    assert drive.threat(at=WINDOW) == CLOSED


def test_a_clock_that_stepped_back_keeps_nobody_waiting_longer_than_a_window(drive: Drive) -> None:
    for n in range(3):
        drive.fail(n, at=HOUR)
    reply = drive.reserve(9)
    assert 0 <= reply.retry_after_ms <= WINDOW + drive.part
    assert drive.reserve(10, at=WINDOW + drive.part).status == GRANTED


# -- tokens --------------------------------------------------------------------------------------------


def test_a_token_that_was_never_set_is_none(store: Any) -> None:
    assert store.get_token("version") is None


def test_a_token_is_what_was_set_last(store: Any) -> None:
    store.set_token("version", "one")
    store.set_token("version", "two")
    assert (store.get_token("version"), store.get_token("other")) == ("two", None)


async def test_a_token_reads_the_same_when_it_is_awaited(store: Any) -> None:
    store.set_token("version", "one")
    assert (await store.aget_token("version"), await store.aget_token("other")) == ("one", None)
    await hang_up(store)
