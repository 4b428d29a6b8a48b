"""A process that is forked while other threads are at work."""

from __future__ import annotations

import os
import threading

import pytest

from secguard.conf import get_settings
from secguard.pipeline import get_store
from tests.forking import in_a_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def test_a_child_has_a_store_of_its_own() -> None:
    parents = get_store()
    assert in_a_child(lambda: get_store() is not parents)
    assert get_store() is parents


def test_a_lock_that_a_thread_of_the_parent_holds_stops_no_child() -> None:
    get_settings()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with get_settings._lock, get_store().breaker._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        assert in_a_child(lambda: get_settings().enforces and get_store().breaker.failed())
    finally:
        done.set()
        thread.join()
