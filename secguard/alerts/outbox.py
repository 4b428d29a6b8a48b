"""Messages on their way: each channel gets its own attempts, further and further apart, and a bounded number."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secguard import emit
from secguard.alerts.channels import TIMEOUT, Channel, DeliveryError
from secguard.alerts.messages import Message
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.pipeline import make_event

#: Seconds between one attempt and the next. After the last one a message is given up.
DELAYS = (10.0, 60.0, 300.0, 900.0)
#: Deliveries that wait for another attempt, at most: then the oldest is given up.
MAX_PENDING = 200


@dataclass(slots=True)
class Delivery:
    """One message to one channel. ``due``: when it is tried next, by the clock."""

    channel: Channel
    message: Message
    due: float
    attempts: int = 0
    error: str = ""
    again: bool = True


class Outbox:
    """Delivers, and tries again. ``clock``: seconds, monotonic. Used by one thread."""

    def __init__(self, channels: Sequence[Channel], clock: Callable[[], float] = time.monotonic) -> None:
        self._channels = channels
        self._clock = clock
        self._pending: deque[Delivery] = deque()
        self._trying = 0
        #: Somebody waits for the end: no attempt is begun but by ``close()``.
        self.is_closing = False

    def __len__(self) -> int:
        """Deliveries that have not ended."""
        return len(self._pending) + self._trying

    @property
    def next_due(self) -> float | None:
        """When a delivery is to be tried, by the clock; None: there is none."""
        return min((each.due for each in self._pending), default=None)

    def add(self, message: Message) -> None:
        """Send a message to everybody, at the next ``work()``."""
        for channel in self._channels:
            self._put(Delivery(channel, message, self._clock()))

    def _put(self, delivery: Delivery) -> None:
        self._pending.append(delivery)
        if len(self._pending) > MAX_PENDING:
            oldest = self._pending.popleft()
            report_undelivered(oldest, "there are too many messages that wait")

    def work(self) -> None:
        """Try what is due."""
        for _ in range(len(self._pending)):
            if self.is_closing:
                return
            delivery = self._pending.popleft()
            if delivery.due > self._clock():
                self._pending.append(delivery)
                continue
            self._trying = 1
            if not attempt(delivery) and self._is_worth_another(delivery):
                delivery.due = self._clock() + DELAYS[delivery.attempts - 1]
                self._pending.append(delivery)
            self._trying = 0

    def _is_worth_another(self, delivery: Delivery) -> bool:
        if delivery.attempts <= len(DELAYS) and delivery.again:
            return True
        report_undelivered(delivery)
        return False

    def close(self, deadline: float) -> None:
        """Try everything once more, all within the time that is left: the process ends. ``deadline``: by the clock"""
        while self._pending:
            delivery = self._pending[0]
            left = deadline - self._clock()
            share = left / len(self._pending)
            if left <= 0 or not attempt(delivery, timeout=min(TIMEOUT, max(share, 0.1))):
                report_undelivered(delivery, "the process ended")
            self._pending.popleft()


def attempt(delivery: Delivery, timeout: float = TIMEOUT) -> bool:
    """Try once. Never raises."""
    delivery.attempts += 1
    try:
        delivery.channel.send(delivery.message, timeout)
    except DeliveryError as failure:
        delivery.error, delivery.again = str(failure), failure.again
        return False
    except Exception as error:  # a mailer of the project's own may raise anything
        report_failure("the channel %s of alerts raised", delivery.channel.name)
        delivery.error = type(error).__name__
        return False
    return True


def report_undelivered(delivery: Delivery, why: str = "") -> None:
    """Say in the log that a message did not get through, and what it would have said."""
    message = delivery.message
    error = ": ".join(filter(None, (why, delivery.error)))
    details = {
        "channel": delivery.channel.name,
        "attempts": delivery.attempts,
        "error": error,
        "alerts": len(message.alerts) + message.more,
        "alert_title": message.title,
        "alert_event_ids": [alert.event_id for alert in message.alerts if alert.event_id],
        "event_id": new_event_id(),
    }
    emit.emit(
        make_event(EventType.ALERT_NOT_DELIVERED, f"An alert did not reach {delivery.channel.name}: {error}", details)
    )


def report_unsent(deliveries: int, alerts: int, events: int) -> None:
    """Say that the process ended with messages on their way, alerts that waited, and events nobody had looked at."""
    details = {"deliveries": deliveries, "alerts": alerts, "events": events, "event_id": new_event_id()}
    text = f"The process ended with {deliveries} messages, {alerts} alerts and {events} events that were not sent"
    emit.emit(make_event(EventType.ALERT_NOT_DELIVERED, text, details))
