"""Alerts reach people: by mail and webhooks, never on the way of a request. The app wires ``watch`` and ``close``."""

from __future__ import annotations

from secguard.alerts.channels import DeliveryError, channels_of
from secguard.alerts.desk import site_of
from secguard.alerts.handover import get_hand_over
from secguard.alerts.messages import Message
from secguard.alerts.worker import Worker
from secguard.conf import get_settings, until_settings_change
from secguard.events import Event

__all__ = ["close", "get_worker", "try_channels", "watch"]


@until_settings_change
def get_worker() -> Worker | None:
    """Who sends the alerts of this process; None where nobody is to be told."""
    options = get_settings().alerts
    if not options.enabled:
        return None
    return Worker(options, hand_over=get_hand_over())


def watch(event: Event) -> None:
    """Told of every event, in the thread where it happens."""
    worker = get_worker()
    if worker is not None:
        worker.put(event)


def close() -> None:
    """Send what waits: the process ends. Takes a few seconds at most."""
    worker = get_worker.value
    if isinstance(worker, Worker):
        worker.close()


def try_channels() -> list[tuple[str, str]]:
    """Send a test to everybody, at once. → the channels' names, and what went wrong, or an empty text"""
    options = get_settings().alerts
    message = Message("test", site_of(options))
    results = []
    for channel in channels_of(options):
        try:
            channel.send(message)
            results.append((channel.name, ""))
        except DeliveryError as failure:
            results.append((channel.name, str(failure)))
    return results
