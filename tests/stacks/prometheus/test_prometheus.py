"""What the guard counts stands beside what django-prometheus counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from secguard import emit, records
from secguard.conf import get_settings
from secguard.events import Category, Event, Severity
from secguard.integrations import prometheus
from secguard.logging import security_event_logger
from secguard.pipeline import get_store, report_all_refusals
from tests.conftest import without_block_table
from tests.stacks.base import SECGUARD
from tests.stacks.browser import Browser
from tests.stacks.conftest import RIGHT, WRONG, Browse

MONITOR = "192.0.2.200"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"secguard_{name}", labels) or 0.0


@pytest.fixture
def grown() -> Callable[..., float]:
    """By how much a figure has grown since the test began: the registry is the process's own."""
    before = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in REGISTRY.collect() for s in f.samples}

    def growth(name: str, **labels: str) -> float:
        return value(name, **labels) - before.get((f"secguard_{name}", tuple(sorted(labels.items()))), 0.0)

    return growth


def log_in(visitor: Browser, name: str = "anna", password: str = WRONG) -> int:
    visitor.get("/accounts/login/")
    return visitor.post("/accounts/login/", {"username": name, "password": password}).status


def test_the_page_of_django_prometheus_shows_our_metrics_too(browse: Browse, anna: User) -> None:
    log_in(browse("198.51.100.1"))
    text = browse(MONITOR).get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in prometheus.METRICS:
        assert families[metric._name].documentation == metric._documentation
    assert "django_http_requests_before_middlewares" in families


def test_events_threats_and_refusals_are_counted_truthfully(
    browse: Browse, anna: User, grown: Callable[..., float]
) -> None:
    attacker = browse("198.51.100.2")
    assert log_in(browse("198.51.100.3"), password=RIGHT) == 302
    assert [log_in(attacker) for _ in range(5)][-1] in (200, 403)
    for _ in range(7):
        assert attacker.get("/").status == 403
    report_all_refusals()  # as the process's end does: what had no line yet
    assert grown("events_total", type="login_failed", outcome="failure") == 5
    assert grown("events_total", type="login_success", outcome="success") == 1
    assert grown("threats_total", rule="brute_force", severity="critical") == 1
    refused = grown("refused_requests_total", reason="block")
    assert refused == grown("events_total", type="request_blocked", outcome="success") >= 7


def test_the_threats_of_every_rule_are_counted_from_nought() -> None:
    known = {sample.labels["rule"] for sample in next(iter(prometheus.THREATS.collect())).samples}
    assert {rule.name for rule in get_settings().rules} <= known


def test_denials_beyond_the_lines_of_a_client_are_counted(browse: Browse, grown: Callable[..., float]) -> None:
    visitor = browse("198.51.100.4")
    for _ in range(9):
        visitor.get("/denied/")
    report_all_refusals()
    assert grown("events_total", type="permission_denied", outcome="failure") == 9


def test_the_count_of_a_rule_is_no_number_of_events() -> None:
    threat = {"event_type": "suspicious_activity", "count": 5, "reference": "x"}
    assert prometheus.times_of(Event("suspicious_activity", "", Severity.CRITICAL, Category.THREAT, threat)) == 1
    refused = {"count": 12, "reference": "x"}
    assert prometheus.times_of(Event("request_blocked", "", Severity.WARNING, Category.THREAT, refused)) == 12
    for odd in ("12", -1, 0, True, None, 1.5):
        said = {"count": odd, "reference": "x"}
        assert prometheus.times_of(Event("request_blocked", "", Severity.WARNING, Category.THREAT, said)) == 1


def test_types_of_the_projects_own_are_told_apart_up_to_a_bound(
    db: None, grown: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "_own_types", set())
    for number in range(prometheus.MAX_OWN_TYPES + 3):
        security_event_logger.log(f"own_{number}", ip_address="198.51.100.5")
    assert grown("events_total", type="own_0", outcome="unknown") == 1
    assert grown("events_total", type="other", outcome="unknown") == 3


def test_gauges_say_what_is_in_force(browse: Browse) -> None:
    records.block_network("203.0.113.0/24")
    records.block_network("203.0.114.1")
    records.lock_account("bob")
    browse(MONITOR).get("/")
    assert (value("blocks_active"), value("locks_active")) == (2, 1)
    assert (value("store_breaker_open"), value("database_failing"), value("unsaved_rows")) == (0, 0, 0)
    records.unblock_network("203.0.114.1")
    browse(MONITOR).get("/")
    assert value("blocks_active") == 1


def test_a_store_that_is_away_is_seen(browse: Browse, anna: User, dead_redis_url: str) -> None:
    failed = value("store_seconds_count", outcome="failed")
    with override_settings(SECGUARD={**SECGUARD, "REDIS_URL": dead_redis_url, "SYNC_INTERVAL": 0}):
        assert browse(MONITOR).get("/").status == 200
        assert get_store().degraded
        assert value("store_breaker_open") == 1
    assert value("store_seconds_count", outcome="failed") > failed


def test_calls_of_the_store_are_timed(browse: Browse, anna: User, grown: Callable[..., float]) -> None:
    log_in(browse("198.51.100.6"))
    assert grown("store_seconds_count", outcome="answered") >= 2
    assert grown("store_seconds_sum", outcome="answered") > 0


def test_a_database_that_is_away_makes_the_replica_older(db: None) -> None:
    synchroniser = records.get_synchroniser()
    synchroniser.poll()
    assert value("replica_age_seconds") < 1
    with without_block_table():
        synchroniser._next_check = synchroniser._next_delta = synchroniser._next_poll = 0.0
        synchroniser._confirmed_at -= 100
        synchroniser.poll()
    assert value("database_failing") == 1
    assert value("replica_age_seconds") >= 100


def test_rows_that_are_given_up_and_events_that_are_lost_are_counted(
    db: None, grown: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    synchroniser = records.get_synchroniser()
    synchroniser.lost_rows = 4
    monkeypatch.setattr(emit, "lost_events", emit.lost_events + 3)
    synchroniser.poll()
    assert (grown("dropped_rows_total"), grown("lost_events_total")) == (4, 3)


def test_what_cannot_be_counted_harms_nobody(
    browse: Browse, anna: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any, **more: Any) -> Any:
        raise OSError("No space left on device")

    for metric in (prometheus.BLOCKS, prometheus.REFUSED, prometheus.EVENTS, prometheus.STORE_SECONDS):
        for method in ("labels", "set", "inc"):
            monkeypatch.setattr(metric, method, full, raising=False)
    assert log_in(browse("198.51.100.7"), password=RIGHT) == 302
    assert "could not be counted" in caplog.text
