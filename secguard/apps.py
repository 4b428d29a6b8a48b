"""The only wiring: what listens to what."""

from __future__ import annotations

import atexit
import logging

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class SecguardConfig(AppConfig):
    name = "secguard"
    verbose_name = _("Security")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard import alerts, checks, emit, integrations, pipeline, receivers, records
        from secguard.pipeline import decisions

        checks.register()
        receivers.connect()
        decisions.save_now = records.save_outside_request
        decisions.count_offences = records.count_offences
        emit.sinks[:] = [records.record, alerts.watch]
        attach_handler()
        integrations.install()
        # Called in reverse: what the last floods say is saved, and sent, too.
        atexit.register(records.save_at_exit)  # what the end of the alerts said
        atexit.register(alerts.close)
        atexit.register(records.save_at_exit)
        atexit.register(pipeline.report_all_refusals)
        try:
            pipeline.report_mode_override()
        except ImproperlyConfigured:
            return  # the system checks name what is wrong, and the middleware refuses to start


def attach_handler() -> None:
    """Security events go to standard error as JSON lines, unless the project configured their logger."""
    from secguard.emit import EventStreamHandler, security_logger
    from secguard.formatters import SecurityJsonFormatter

    parent = logging.getLogger("security")
    if security_logger.handlers or security_logger.level or not security_logger.propagate or parent.handlers:
        return
    handler = EventStreamHandler()
    handler.setFormatter(SecurityJsonFormatter())
    security_logger.addHandler(handler)
    security_logger.setLevel(logging.INFO)
    # One event is one line: handlers of the root logger would write each a second time.
    security_logger.propagate = not logging.getLogger().handlers
