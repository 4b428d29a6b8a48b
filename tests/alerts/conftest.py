"""A mail server and a webhook's server, both real, and what to alert of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from secguard.alert_options import AlertOptions, parse_alerts
from secguard.alerts.counters import Counters
from secguard.alerts.desk import Desk
from secguard.stores import MemoryStore
from secguard.testing import ManualClock
from tests.alerts.servers import Mailbox, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """A mail server, which the project mails by."""
    with Mailbox() as running:
        mail_by(settings, running.port)
        yield running


def mail_by(settings: Any, port: int) -> None:
    """Have the project mail by the server at this port: as Django says it since 6.1, or as before."""
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": {"host": "127.0.0.1", "port": port}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = smtp, "127.0.0.1", port


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def counters_of(options: AlertOptions, clock: ManualClock, store: MemoryStore | None = None) -> Counters:
    """Counters on a store that follows the clock; processes that share the store share them."""
    shared = MemoryStore(clock=clock) if store is None else store
    return Counters(options, shared=lambda: shared)


def desk_of(clock: ManualClock, store: MemoryStore | None = None, **options: Any) -> Desk:
    parsed = parse_alerts({"mail": True, "site": "shop", **options})
    return Desk(parsed, counters_of(parsed, clock, store), clock)
