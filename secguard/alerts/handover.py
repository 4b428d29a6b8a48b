"""Django's tasks, where they have a backend that runs elsewhere: then that sends the messages, and tries again."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import django
from django.apps import apps

from secguard.alerts.channels import channels_of
from secguard.alerts.messages import Message
from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure


@until_settings_change
def get_hand_over() -> Callable[[Message], bool]:
    """A function that gives a message to the tasks. → was it taken?"""
    alias = get_settings().alerts.tasks
    if alias is None or not _has_tasks():
        return _keep
    try:
        tasks = import_module("secguard.alerts.tasks")
        if not tasks.runs_elsewhere(alias):
            return _keep
    except Exception:  # no such alias, no such queue, a backend that cannot be imported
        report_failure("SECGUARD['ALERTS']['tasks']: %r cannot send alerts; this process does", alias)
        return _keep

    def hand_over(message: Message) -> bool:
        try:
            tasks.enqueue(alias, message, [channel.name for channel in channels_of(get_settings().alerts)])
        except Exception:
            report_failure("the tasks did not take an alert; this process sends it")
            return False
        return True

    return hand_over


def _keep(message: Message) -> bool:
    return False


def _has_tasks() -> bool:
    """Django's own from 6.0 on, before it those of the package django-tasks, if it is installed."""
    if django.VERSION >= (6, 0):
        return True
    return apps.is_installed("django_tasks") and find_spec("django_tasks") is not None
