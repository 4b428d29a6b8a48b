"""The queue and its thread: requests are never waited with, and nothing is lost silently."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.test import Client, override_settings

from secguard import conf
from secguard.alert_options import parse_alerts
from secguard.alerts import get_worker, watch, worker
from secguard.alerts.messages import Message
from secguard.alerts.worker import MAX_QUEUED, Worker
from secguard.emit import emit
from secguard.testing import capture_events
from tests.alerts.events import event_of, locked, threat, warning
from tests.alerts.servers import Mailbox, Receiver
from tests.end_to_end.serving import until
from tests.forking import in_a_child


def guard(receiver: Receiver, **alerts: Any) -> dict[str, Any]:
    return {"ALERTS": {"webhooks": [receiver.url], "site": "shop", **alerts}}


def titles(receiver: Receiver) -> list[str]:
    return [posted.told["title"] for posted in receiver.posts]


class Kept:
    """A channel that keeps what it is given; ``gate``: until it is open."""

    name = "kept"

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def send(self, message: Message, timeout: float = 10.0) -> None:
        self.asked.set()
        assert self.gate.wait(60)
        self.sent.append(message)


def worker_of(channel: Kept, **options: Any) -> Worker:
    return Worker(parse_alerts({"mail": True, "site": "shop", **options}), channels=[channel])


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "secguard-alerts"]


@pytest.fixture(autouse=True)
def _threads_end(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The thread of one test is gone before the next."""
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.05)
    yield
    conf.reset()
    until(lambda: not threads(), "the thread of the alerts ends")


def test_an_event_reaches_a_webhook_and_a_mailbox(receiver: Receiver, mailbox: Mailbox) -> None:
    with override_settings(SECGUARD=guard(receiver, mail=["soc@example.com"])):
        emit(threat())
        receiver.until(1)
        mailbox.until(1)
    assert titles(receiver) == ["shop: Threat brute_force: 5 on address 203.0.113.7 within 900 s"]


def test_without_alerts_there_is_no_worker_and_no_thread() -> None:
    emit(threat())
    assert get_worker() is None
    assert threads() == []


def test_what_no_trigger_wants_begins_no_thread(receiver: Receiver) -> None:
    with override_settings(SECGUARD=guard(receiver, triggers={"suspicious": False})):
        emit(warning())
        assert threads() == []


@pytest.mark.django_db
def test_a_request_is_answered_while_a_webhook_does_not_answer(receiver: Receiver, client: Client) -> None:
    receiver.gate.clear()
    with override_settings(SECGUARD=guard(receiver)):
        statuses = [client.post("/accounts/login/", {"username": "a", "password": "b"}).status_code for _ in range(6)]
        receiver.until(1)
        # It was asked, has not answered, and everybody else had his answer.
        assert statuses == [200] * 5 + [403]
        assert client.get("/healthz").status_code == 403
        receiver.gate.set()
        worker = get_worker()
        assert worker is not None
    assert titles(receiver) == ["shop: Threat brute_force: 5 on address 127.0.0.1 within 900 s"]


def test_a_queue_that_is_full_takes_no_more_and_says_how_many_it_did_not() -> None:
    channel = Kept()
    worker = worker_of(channel, digest=1)
    channel.gate.clear()
    worker.put(threat())
    channel.asked.wait(60)
    for number in range(MAX_QUEUED + 7):
        worker.put(threat(1, subject=f"subject {number}"))
    channel.gate.set()
    until(lambda: sum(message.lost for message in channel.sent) > 0, "the next message")
    assert sum(message.lost for message in channel.sent) == 7
    worker.close()
    told = sum(len(message.alerts) + message.more for message in channel.sent)
    assert told == MAX_QUEUED + 1 + 1  # and one of the rate of suspicious ones


def test_an_alert_that_was_not_delivered_alerts_nobody(receiver: Receiver) -> None:
    receiver.answers = [404] * 9
    every = {"critical": {"severity": "info"}}
    with override_settings(SECGUARD=guard(receiver, digest=1, triggers=every)), capture_events() as events:
        emit(threat())
        until(lambda: bool(events.of("alert_not_delivered")), "the event")
        worker = get_worker()
        assert worker is not None
        assert worker.wait_until_empty(60)
    (failed,) = events.of("alert_not_delivered")
    assert len(receiver.posts) == 1
    assert "s3cret" not in str(failed)
    assert failed.context["error"] == "it answered 404"
    assert failed.context["alert_event_ids"] == ["id-7"]


def test_the_thread_ends_when_there_is_nothing_to_do_and_begins_again() -> None:
    channel = Kept()
    worker = worker_of(channel, digest=1)
    for number in (1, 2):
        worker.put(threat(number))
        assert worker.wait_until_empty(60)
        until(lambda: not threads(), "the thread ends")
        worker.close()
    assert len(channel.sent) == 2


def test_closing_sends_what_waits_for_a_digest() -> None:
    channel = Kept()
    worker = worker_of(channel, digest=3_600)
    for number in range(1, 4):
        worker.put(threat(number))
    until(lambda: bool(channel.sent), "the first message")
    worker.put(threat(4))
    worker.close()
    assert sum(len(message.alerts) for message in channel.sent) == 4


def test_closing_waits_for_no_channel_longer_than_it_may_and_says_what_was_not_sent() -> None:
    channel = Kept()
    channel.gate.clear()
    worker = worker_of(channel)
    worker.put(threat())
    channel.asked.wait(60)
    worker.put(locked())
    with capture_events() as events:
        begun = time.monotonic()
        worker.close(0.1)
        assert time.monotonic() - begun < 30
    channel.gate.set()
    (failed,) = events.of("alert_not_delivered")
    assert failed.message == "The process ended with 1 messages, 0 alerts and 1 events that were not sent"


def test_what_the_messages_of_an_hour_do_not_suffice_for_is_said_at_the_end() -> None:
    channel = Kept()
    worker = worker_of(channel, per_hour=1)
    worker.put(threat(1))
    until(lambda: bool(channel.sent), "the only message")
    worker.put(threat(2))
    with capture_events() as events:
        worker.close()
    assert len(channel.sent) == 1
    (failed,) = events.of("alert_not_delivered")
    assert failed.context["alerts"] == 1


def test_nor_is_an_end_held_up_by_events_that_nobody_looked_at() -> None:
    channel = Kept()
    worker = worker_of(channel, per_hour=1)
    worker.put(threat(1))
    until(lambda: bool(channel.sent), "the only message")
    worker._lost = 5
    worker.put(threat(1))  # the same again: nothing to tell but those five
    with capture_events() as events:
        worker.close()
    assert worker.wait_until_empty(60)
    assert [event.context["events"] for event in events.of("alert_not_delivered")] == [5]


def test_where_no_thread_can_begin_alerts_wait_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    channel = Kept()
    worker = worker_of(channel)
    worker.put(threat())
    assert channel.sent == []
    worker.close()
    assert [message.kind for message in channel.sent] == ["alert"]


def test_what_raises_in_the_thread_ends_it_not(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Kept()
    worker = worker_of(channel, digest=1)
    monkeypatch.setattr("secguard.alerts.worker._PAUSE_SECONDS", 0.01)
    taken, take = [], worker._desk.take

    def fail_once(notices: Any) -> None:
        taken.append(notices)
        if len(taken) == 1:
            raise KeyError("bug")
        take(notices)

    monkeypatch.setattr(worker._desk, "take", fail_once)
    worker.put(threat(1))
    until(lambda: len(taken) == 1, "the first event")
    worker.put(threat(2))
    until(lambda: bool(channel.sent), "the second event")
    assert channel.sent[0].alerts[0].subject == "203.0.113.2"


def test_a_message_that_the_tasks_took_is_not_sent_here() -> None:
    taken: list[Message] = []
    channel = Kept()
    options = parse_alerts({"mail": True, "site": "shop"})
    worker = Worker(options, channels=[channel], hand_over=lambda message: not taken.append(message))
    worker.put(threat())
    assert worker.wait_until_empty(60)
    assert (len(taken), channel.sent) == (1, [])


def test_wrong_settings_hurt_nobody_who_emits() -> None:
    with override_settings(SECGUARD={"ALERTS": {"mail": 1}}):
        conf.reset()
        emit(event_of())  # reported, not raised


def test_a_forked_process_has_a_queue_and_a_thread_of_its_own(receiver: Receiver) -> None:
    channel = Kept()
    channel.gate.clear()
    with override_settings(SECGUARD=guard(receiver)):
        parents = get_worker.value = worker_of(channel)
        watch(threat(1))
        channel.asked.wait(60)  # the parent's thread is in the midst of it

        def in_child() -> bool:
            watch(threat(3))
            childs = get_worker()
            return childs is not None and childs is not parents and childs.wait_until_empty(15)

        assert in_a_child(in_child)
        channel.gate.set()
        assert parents.wait_until_empty(60)
    assert [posted.told["alerts"][0]["subject"] for posted in receiver.posts] == ["203.0.113.3"]
    assert [message.alerts[0].subject for message in channel.sent] == ["203.0.113.1"]
