"""What a project may have that raises: a log handler, and receivers of our signals."""

from __future__ import annotations

import logging

from django.apps import AppConfig


class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("broken")


def receive(**kwargs: object) -> None:
    raise RuntimeError("broken")


class Receivers(AppConfig):
    name = "tests.end_to_end"

    def ready(self) -> None:
        from secguard import signals

        for signal in (signals.event_logged, signals.threat_detected, signals.address_blocked):
            signal.connect(receive)
