"""Attempts: further and further apart, a bounded number, and what is given up is said."""

from __future__ import annotations

import pytest

from secguard.alerts.channels import DeliveryError
from secguard.alerts.messages import Message
from secguard.alerts.outbox import DELAYS, MAX_PENDING, Outbox
from secguard.testing import CapturedEvents, ManualClock, capture_events


class Patchy:
    """A channel that fails as often as is said."""

    def __init__(self, name: str = "patchy", *failures: Exception) -> None:
        self.name = name
        self.failures = list(failures)
        self.sent: list[Message] = []
        self.timeouts: list[float] = []

    def send(self, message: Message, timeout: float = 10.0) -> None:
        self.timeouts.append(timeout)
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


def down(times: int) -> list[Exception]:
    return [DeliveryError("it is down") for _ in range(times)]


def work(outbox: Outbox, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    outbox.work()


def failed(events: CapturedEvents) -> list[tuple[object, ...]]:
    told = events.of("alert_not_delivered")
    return [(each.context["channel"], each.context["attempts"], each.context["error"]) for each in told]


TEST = Message("test", "shop")


def test_it_tries_again_later_and_later_until_it_works(clock: ManualClock) -> None:
    channel = Patchy("patchy", *down(len(DELAYS)))
    outbox = Outbox([channel], clock)
    outbox.add(TEST)
    outbox.work()
    for number, delay in enumerate(DELAYS, 1):
        assert len(channel.timeouts) == number
        work(outbox, clock, delay - 1)
        assert len(channel.timeouts) == number
        work(outbox, clock, 1)
    assert channel.sent == [TEST]
    assert (len(outbox), outbox.next_due) == (0, None)


def test_it_gives_up_after_so_many_attempts_and_says_so_once(clock: ManualClock) -> None:
    outbox = Outbox([Patchy("patchy", *down(99))], clock)
    outbox.add(TEST)
    with capture_events() as events:
        outbox.work()
        for delay in (*DELAYS, 9_999):
            work(outbox, clock, delay)
    assert failed(events) == [("patchy", len(DELAYS) + 1, "it is down")]
    assert events[0].context["alert_title"] == "shop: a test, nothing happened"
    assert events[0].severity == "error"


def test_what_cannot_get_better_is_not_tried_again(clock: ManualClock) -> None:
    outbox = Outbox([Patchy("patchy", DeliveryError("it answered 404", again=False))], clock)
    outbox.add(TEST)
    with capture_events() as events:
        outbox.work()
    assert failed(events) == [("patchy", 1, "it answered 404")]
    assert len(outbox) == 0


def test_one_channel_that_is_down_holds_up_no_other(clock: ManualClock) -> None:
    broken, well = Patchy("broken", *down(1)), Patchy("well")
    outbox = Outbox([broken, well], clock)
    outbox.add(TEST)
    outbox.work()
    assert (broken.sent, well.sent) == ([], [TEST])
    work(outbox, clock, DELAYS[0])
    assert (broken.sent, well.sent) == ([TEST], [TEST])


def test_a_channel_that_raises_anything_is_tried_again(clock: ManualClock) -> None:
    channel = Patchy("patchy", KeyError("bug"))
    outbox = Outbox([channel], clock)
    outbox.add(TEST)
    outbox.work()
    work(outbox, clock, DELAYS[0])
    assert channel.sent == [TEST]


def test_what_waits_is_bounded_and_the_oldest_is_given_up(clock: ManualClock) -> None:
    outbox = Outbox([Patchy("patchy", *down(9_999))], clock)
    with capture_events() as events:
        for _ in range(MAX_PENDING + 2):
            outbox.add(TEST)
            outbox.work()
    assert len(outbox) == MAX_PENDING
    assert failed(events) == [("patchy", 1, "there are too many messages that wait: it is down")] * 2


def test_at_the_end_everything_is_tried_once_more_within_the_time_that_is_left(clock: ManualClock) -> None:
    channels = [Patchy("a", *down(2)), Patchy("b", *down(1))]
    outbox = Outbox(channels, clock)
    outbox.add(TEST)
    outbox.work()
    with capture_events() as events:
        outbox.close(clock() + 4)
    assert [channel.timeouts[-1] for channel in channels] == [2, 4]
    assert failed(events) == [("a", 2, "the process ended: it is down")]
    assert (channels[1].sent, len(outbox)) == ([TEST], 0)


def test_what_the_time_does_not_suffice_for_is_said(clock: ManualClock) -> None:
    channel = Patchy()
    outbox = Outbox([channel], clock)
    outbox.add(TEST)
    with capture_events() as events:
        outbox.close(clock() - 1)
    assert failed(events) == [("patchy", 0, "the process ended")]
    assert channel.sent == []


@pytest.mark.parametrize("count", [1, 3])
def test_each_message_of_a_channel_is_its_own_delivery(clock: ManualClock, count: int) -> None:
    channel = Patchy()
    outbox = Outbox([channel], clock)
    for _ in range(count):
        outbox.add(TEST)
    outbox.work()
    assert len(channel.sent) == count
