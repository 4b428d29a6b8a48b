"""The task that sends a message to one channel. Imported only where there are tasks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import django
from django.db import connections

from secguard.alerts.channels import Channel, channels_of
from secguard.alerts.messages import Message
from secguard.alerts.outbox import Delivery, attempt, report_undelivered
from secguard.conf import get_settings

if TYPE_CHECKING:
    task: Any
    task_backends: Any
    ImmediateBackend: type
    DummyBackend: type
elif django.VERSION >= (6, 0):
    from django.tasks import task, task_backends
    from django.tasks.backends.dummy import DummyBackend
    from django.tasks.backends.immediate import ImmediateBackend
else:
    from django_tasks import task, task_backends
    from django_tasks.backends.dummy import DummyBackend
    from django_tasks.backends.immediate import ImmediateBackend

#: Seconds between the attempts of one task: others wait for the worker that runs it.
DELAYS = (1.0, 5.0, 15.0)


def runs_elsewhere(alias: str) -> bool:
    """Has this alias of TASKS a backend that does the work in another process?"""
    return not isinstance(task_backends[alias], (ImmediateBackend, DummyBackend))


def enqueue(alias: str, message: Message, channels: Iterable[str]) -> None:
    """One task for each channel. Raises what the backend raises. A backend may need the database of this thread."""
    try:
        for name in channels:
            send_alert.using(backend=alias).enqueue(message.as_dict(), name)
    finally:
        connections.close_all()


def send(told: dict[str, Any], name: str) -> None:
    """Send a message to the channel of this name; say in the log if it does not get through."""
    channel = _channel(name)
    if channel is None:
        return  # it has left the settings meanwhile
    delivery = Delivery(channel, Message.from_dict(told), 0.0)
    for delay in (*DELAYS, None):
        if attempt(delivery):
            return
        if delay is None or not delivery.again:
            break
        time.sleep(delay)
    report_undelivered(delivery)


def _channel(name: str) -> Channel | None:
    return next((each for each in channels_of(get_settings().alerts) if each.name == name), None)


@task()  # type: ignore[untyped-decorator]
def send_alert(told: dict[str, Any], name: str) -> None:
    """What the tasks' worker calls."""
    send(told, name)
