"""What is worth a message, and when."""

from __future__ import annotations

import time

import pytest

from secguard.alerts.desk import Desk, Notice
from secguard.alerts.messages import MAX_LISTED, Message
from secguard.events import Event
from secguard.stores import MemoryStore
from secguard.testing import ManualClock
from tests.alerts.conftest import desk_of
from tests.alerts.events import event_of, locked, threat, warning

#: That trigger alone.
CRITICAL = {"locks": False, "suspicious": False}


def take(desk: Desk, *events: Event) -> Message | None:
    desk.take([Notice(time.time(), event) for event in events])
    return desk.message()


def told(desk: Desk, *events: Event) -> Message:
    message = take(desk, *events)
    assert message is not None
    return message


def subjects(message: Message) -> list[str]:
    return [alert.subject for alert in message.alerts]


def test_a_critical_event_is_told_at_once(clock: ManualClock) -> None:
    message = told(desk_of(clock), threat())
    assert (message.kind, subjects(message)) == ("alert", ["203.0.113.7"])
    assert message.title == "shop: Threat brute_force: 5 on address 203.0.113.7 within 900 s"


def test_what_is_not_grave_is_not_told(clock: ManualClock) -> None:
    assert take(desk_of(clock), warning(), locked()) is None


def test_the_same_is_told_once_in_a_quiet_period_and_then_with_its_repeats(clock: ManualClock) -> None:
    desk = desk_of(clock, quiet=600)
    told(desk, threat())
    assert [take(desk, threat()) for _ in range(3)] == [None] * 3
    clock.advance(599)
    assert take(desk, threat()) is None
    clock.advance(2)
    again = told(desk, threat())
    assert [alert.repeats for alert in again.alerts] == [4]
    assert "(4 times more since the last message)" in again.lines[0]


def test_repeats_are_told_once(clock: ManualClock) -> None:
    desk = desk_of(clock, quiet=600)
    for _ in range(2):
        take(desk, threat())
    clock.advance(601)
    told(desk, threat())
    clock.advance(601)
    assert told(desk, threat()).alerts[0].repeats == 0


def test_another_subject_rule_or_type_is_another_alert(clock: ManualClock) -> None:
    desk = desk_of(clock)
    message = told(desk, threat(1), threat(2), threat(1, rule="trap"), threat(1))
    assert (message.kind, subjects(message)) == ("digest", ["203.0.113.1", "203.0.113.2", "203.0.113.1"])


def test_what_follows_a_message_is_gathered_into_one(clock: ManualClock) -> None:
    desk = desk_of(clock, digest=60)
    told(desk, threat(1))
    assert [take(desk, threat(number)) for number in range(2, 9)] == [None] * 7
    clock.advance(59)
    assert desk.message() is None
    clock.advance(2)
    digest = desk.message()
    assert digest is not None
    assert (digest.kind, len(digest.alerts), digest.more) == ("digest", 7, 0)
    assert digest.title == "shop: 7 alerts (critical)"


def test_a_digest_lists_so_many_and_says_how_many_more(clock: ManualClock) -> None:
    message = told(
        desk_of(clock, triggers=CRITICAL),
        *(threat(1, subject=f"subject {number}") for number in range(MAX_LISTED + 30)),
    )
    assert (len(message.alerts), message.more) == (MAX_LISTED, 30)
    assert message.lines[-1] == "… and 30 more, which the log tells."
    assert message.title == "shop: 50 alerts (critical)"


def test_a_flood_of_one_kind_hides_no_other(clock: ManualClock) -> None:
    flood = [threat(1, subject=f"subject {number}") for number in range(500)]
    got_in = threat(2, rule="success_after_attack")
    for events in ([*flood, got_in], [got_in, *flood]):
        message = told(desk_of(clock, triggers=CRITICAL), *events)
        assert (len(message.alerts), message.more) == (MAX_LISTED, 481)
        assert [alert.subject for alert in message.alerts if alert.rule == "success_after_attack"] == ["203.0.113.2"]
        assert "subject 0" in subjects(message)


def test_messages_of_an_hour_are_bounded_whatever_comes_and_nothing_is_forgotten(clock: ManualClock) -> None:
    desk = desk_of(clock, per_hour=5, digest=60, triggers=CRITICAL)
    messages = []
    for second in range(3_600):
        desk.take([Notice(0.0, threat(1, subject=f"subject {second}"))])
        messages.append(desk.message())
        clock.advance(1)
    sent = [message for message in messages if message is not None]
    assert len(sent) == 5
    clock.advance(3_600)
    last = desk.message()
    assert last is not None
    assert sum(len(message.alerts) + message.more for message in [*sent, last]) == 3_600


def test_locks_are_told_when_there_are_so_many_in_the_window(clock: ManualClock) -> None:
    desk = desk_of(clock)
    assert take(desk, locked("a"), locked("b")) is None
    message = told(desk, locked("c"))
    (alert,) = message.alerts
    assert (alert.trigger, alert.count, alert.threshold, alert.window_seconds) == ("locks", 3, 3, 600.0)
    assert message.lines[0] == ("ERROR 3 accounts were locked within 600 s; the last one: Account c locked for 1800 s")


def test_locks_far_apart_are_not_told(clock: ManualClock) -> None:
    desk = desk_of(clock)
    for name in "abcdef":
        assert take(desk, locked(name)) is None
        clock.advance(301)


def test_a_storm_of_locks_is_one_alert(clock: ManualClock) -> None:
    desk = desk_of(clock, digest=1)
    told(desk, *map(locked, "abc"))
    for _ in range(100):
        clock.advance(2)
        assert take(desk, locked()) is None


def test_a_high_rate_of_suspicious_events_is_told(clock: ManualClock) -> None:
    desk = desk_of(clock)
    assert take(desk, *(warning() for _ in range(49))) is None
    assert told(desk, warning()).alerts[0].message.startswith("50 suspicious events within 600 s; the last one: Trap")


def test_processes_count_together_and_one_of_them_tells(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    first, second = desk_of(clock, store), desk_of(clock, store)
    assert take(first, locked("a"), locked("b")) is None
    assert told(second, locked("c")).alerts[0].count == 3
    assert take(first, locked("d")) is None
    assert told(first, threat()).kind == "alert"
    assert take(second, threat()) is None


def test_processes_share_the_messages_of_an_hour(clock: ManualClock) -> None:
    store = MemoryStore(clock=clock)
    desks = [desk_of(clock, store, per_hour=2) for _ in range(4)]
    sent = [take(desk, threat(number)) for number, desk in enumerate(desks)]
    assert [message is not None for message in sent] == [True, True, False, False]


class Broken(MemoryStore):
    """A store that is away."""

    asked = 0

    def execute(self, *args: object, **kwargs: object) -> list[object]:  # type: ignore[override]
        self.asked += 1
        raise ConnectionError("away")


def test_while_the_store_is_away_each_process_tells(clock: ManualClock) -> None:
    store = Broken()
    first, second = desk_of(clock, store), desk_of(clock, store)
    assert told(first, threat()).kind == told(second, threat()).kind == "alert"
    assert take(first, threat()) is None


def test_a_store_that_is_away_is_not_asked_for_each_event(clock: ManualClock) -> None:
    store = Broken()
    take(desk_of(clock, store), *(threat(number) for number in range(100)))
    assert store.asked < 5


def test_what_was_not_looked_at_is_said(clock: ManualClock) -> None:
    desk = desk_of(clock)
    desk.lost = 1_234
    message = told(desk, threat())
    assert message.lines[-1] == "1,234 events were not looked at: there were too many."
    desk.lost = 2
    clock.advance(61)
    assert told(desk).title == "shop: 2 events were not looked at"


@pytest.mark.parametrize("field", ["username", "email"])
def test_an_event_without_a_subject_is_told_by_its_account(clock: ManualClock, field: str) -> None:
    desk = desk_of(clock)
    told(desk, event_of(**{field: "anna"}))
    clock.advance(61)
    assert take(desk, event_of(**{field: "anna"})) is None
    assert told(desk, event_of(**{field: "berta"})).alerts[0].account == "berta"


def test_the_end_of_a_process_does_not_wait_for_the_digest_but_for_the_hour(clock: ManualClock) -> None:
    desk = desk_of(clock, per_hour=2)
    told(desk, threat(1))
    assert take(desk, threat(2)) is None
    assert desk.message(at_once=True) is not None
    assert take(desk, threat(3)) is None
    assert desk.message(at_once=True) is None
    assert desk.waiting == 1
