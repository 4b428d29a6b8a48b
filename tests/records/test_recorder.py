"""Which events become rows, when they are written, and what becomes of those that cannot be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from secguard import records
from secguard.events import EventType
from secguard.logging import security_event_logger
from secguard.models import EventRecord
from secguard.records import get_recorder, recorder
from secguard.records.recorder import MAX_ROWS_PER_SECOND, Recorder
from secguard.records.resetting import reset_network
from secguard.testing import CapturedEvents, ManualClock, capture_events
from tests.records.rows import HOST, committing, fail, in_transaction

if TYPE_CHECKING:
    from tests.conftest import RunPython


def persisting(wanted: str) -> Any:
    return override_settings(SECGUARD={"PERSIST_EVENTS": wanted})


@pytest.fixture
def at_rest(clock: ManualClock) -> Recorder:
    """This process's recorder, on the test's clock."""
    get_recorder.value = Recorder(clock)
    return get_recorder()


@pytest.fixture
def events() -> Iterator[CapturedEvents]:
    with capture_events() as captured:
        yield captured


def types() -> list[str]:
    return sorted(EventRecord.objects.values_list("event_type", flat=True))


# -- which ---------------------------------------------------------------------------------------------------------


@in_transaction
def test_an_attack_is_a_row_for_its_threat_and_its_block_and_none_for_its_guesses() -> None:
    fail(5)
    assert types() == ["address_blocked", "suspicious_activity"]


@in_transaction
@persisting("all")
def test_with_all_every_guess_is_a_row_at_the_next_poll() -> None:
    fail(2)
    assert types() == []
    records.keep_up()
    assert types() == ["login_failed", "login_failed"]


@in_transaction
@persisting("none")
def test_with_none_nothing_is_a_row() -> None:
    fail(5)
    records.keep_up()
    assert types() == []


@in_transaction
def test_a_success_is_a_row_after_failures_alone() -> None:
    security_event_logger.log_login_success(ip_address=HOST, username="berta")
    records.keep_up()
    assert types() == []
    fail(4)
    security_event_logger.log_login_success(ip_address=HOST, username="berta")
    records.keep_up()
    assert types() == ["login_success"]


@in_transaction
def test_a_projects_own_event_is_a_row() -> None:
    security_event_logger.log("coupon_failed", ip_address=HOST, coupon="X")
    assert types() == ["coupon_failed"]


# -- what ----------------------------------------------------------------------------------------------------------


@in_transaction
def test_a_row_says_what_the_line_says(events: CapturedEvents) -> None:
    security_event_logger.log_password_changed(
        ip_address="2001:db8::7", user_id=5, username=" Anna ", user_agent="Browser", reason="by mail", source="x"
    )
    (event,), row = events, EventRecord.objects.get()
    assert str(row.event_id) == event.context["event_id"]
    assert (row.event_type, row.category, row.severity) == ("password_changed", "account", "info")
    assert (row.ip_address, row.network, row.account, row.user_id) == ("2001:db8::7", "2001:db8::/64", "anna", "5")
    assert (row.message, row.user_agent) == (event.message, "Browser")
    assert row.extra == {"username": " Anna ", "reason": "by mail", "source": "x", "is_suspicious": False}


@in_transaction
def test_the_digest_of_an_account_is_that_of_its_counters() -> None:
    security_event_logger.log_password_changed(username="ANNA")
    detector = security_event_logger.pipeline.detector
    assert EventRecord.objects.get().account_digest == detector.account_digest("anna")


@in_transaction
def test_a_threats_row_says_rule_and_count() -> None:
    fail(5)
    row = EventRecord.objects.get(event_type="suspicious_activity")
    assert (row.rule, row.count, row.network, row.extra["technique"]) == ("brute_force", 5, HOST, "T1110.001")


@in_transaction
def test_a_block_by_an_operator_is_about_the_network_that_he_blocks() -> None:
    records.block_network("198.51.100.0/24", by="anna")
    assert EventRecord.objects.get().network == "198.51.100.0/24"


@in_transaction
def test_a_row_is_of_the_moment_that_its_id_holds(events: CapturedEvents) -> None:
    security_event_logger.log_logout(ip_address=HOST)
    security_event_logger.log_password_changed(ip_address=HOST)
    row = EventRecord.objects.get()
    assert round(row.timestamp.timestamp() * 1000) == int(str(row.event_id).replace("-", "")[:12], 16)


@in_transaction
@pytest.mark.parametrize("hostile", ["\x00\ud800\r\n", "x" * 100_000, {"a": ["\x00" * 10_000] * 100}, object()])
def test_whatever_is_put_in_fits_its_row(hostile: Any) -> None:
    security_event_logger.log_password_changed(
        ip_address=HOST, username=hostile, user_agent=hostile, reason=hostile, more=hostile, count=hostile, rule=hostile
    )
    row = EventRecord.objects.get()
    assert len(json.dumps(row.extra)) <= 5_000
    row.full_clean(exclude=["extra"], validate_unique=False)


# -- when ----------------------------------------------------------------------------------------------------------


@committing
def test_what_happens_in_a_transaction_that_is_rolled_back_is_recorded() -> None:
    with transaction.atomic():
        fail(5)
        assert types() == []
        transaction.set_rollback(True)
    records.keep_up()
    assert types() == ["address_blocked", "suspicious_activity"]


@committing
def test_what_happens_in_a_transaction_is_recorded_when_it_ends() -> None:
    with transaction.atomic():
        fail(5)
    assert types() == ["address_blocked", "suspicious_activity"]


@in_transaction
async def test_an_event_on_an_event_loops_thread_waits_for_the_next_poll() -> None:
    security_event_logger.log_password_changed(ip_address=HOST)
    assert len(get_recorder().waiting) == 1


@in_transaction
def test_many_rows_are_one_statement(at_rest: Recorder) -> None:
    with persisting("all"):
        get_recorder.value = at_rest
        fail(40)
        with CaptureQueriesContext(connection) as queries:
            records.keep_up()
    assert sum(query["sql"].startswith("INSERT") for query in queries) == 1


# -- what cannot be written ----------------------------------------------------------------------------------------


@in_transaction
def test_in_a_flood_so_many_rows_a_second_are_written_and_the_rest_is_one_with_their_number(
    at_rest: Recorder, events: CapturedEvents
) -> None:
    many = MAX_ROWS_PER_SECOND + 30
    for number in range(many):
        security_event_logger.log("project_event", user_id=number, ip_address=HOST)
    records.keep_up()
    rows = EventRecord.objects.filter(event_type="project_event")
    assert rows.filter(count=None).count() == MAX_ROWS_PER_SECOND
    assert list(rows.exclude(count=None).values_list("count", "extra")) == [(30, {"aggregated": True})]
    (said,) = events.of("events_not_recorded")
    assert (said.context["count"], said.context["types"]) == (30, "project_event: 30")


@in_transaction
def test_after_a_second_there_are_rows_again(at_rest: Recorder, clock: ManualClock) -> None:
    for _ in range(2 * MAX_ROWS_PER_SECOND):
        security_event_logger.log("project_event", ip_address=HOST)
    clock.advance(1)
    security_event_logger.log(EventType.EMAIL_ADDED, ip_address=HOST)
    assert "email_added" in types()


@in_transaction
def test_a_flood_leaves_threats_their_rows(at_rest: Recorder) -> None:
    for _ in range(2 * MAX_ROWS_PER_SECOND):
        security_event_logger.log("project_event", ip_address="203.0.113.99")
    fail(5)
    assert {"address_blocked", "suspicious_activity"} <= set(types())


class Away:
    """The table of events cannot be written, until it can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        monkeypatch.setattr(recorder, "insert", self)

    def __call__(self, rows: Any) -> None:
        self.tries += 1
        raise OperationalError("away")


@in_transaction
def test_while_the_database_is_away_rows_wait_and_it_is_not_asked_each_time(
    at_rest: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        away = Away(context)
        for _ in range(10):
            security_event_logger.log(EventType.EMAIL_CHANGED, ip_address=HOST)
        assert (away.tries, len(at_rest.waiting)) == (1, 10)
    clock.advance(1.1)
    records.keep_up()
    assert types() == ["email_changed"] * 10


@in_transaction
def test_of_too_many_rows_that_wait_the_oldest_are_dropped_and_said(
    at_rest: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, events: CapturedEvents
) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING", 3)
    with monkeypatch.context() as context:
        Away(context)
        for number in range(5):
            security_event_logger.log(EventType.EMAIL_CHANGED, user_id=number, ip_address=HOST)
    clock.advance(60)
    records.keep_up()
    assert sorted(EventRecord.objects.filter(event_type="email_changed").values_list("user_id", flat=True)) == [
        "2", "3", "4",
    ]  # fmt: skip
    assert sum(event.context["count"] for event in events.of("events_not_recorded")) == 2


@committing
def test_a_missing_table_costs_the_row_and_nothing_else() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE secguard_eventrecord RENAME TO secguard_eventrecord_away")
    try:
        fail(5)
        assert security_event_logger.is_suspicious_activity(ip_address=HOST)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE secguard_eventrecord_away RENAME TO secguard_eventrecord")
    get_recorder()._backoff.until = 0
    records.keep_up()
    assert types() == ["address_blocked", "suspicious_activity"]


@in_transaction
def test_a_row_that_is_saved_twice_is_one() -> None:
    security_event_logger.log_password_changed(ip_address=HOST)
    row = EventRecord.objects.get()
    row.pk = None
    recorder.insert([row])
    assert EventRecord.objects.count() == 1


@in_transaction
def test_a_row_that_no_table_takes_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch, events: CapturedEvents) -> None:
    write = recorder.insert

    def insert(rows: Any) -> None:
        if any(row.user_id == "poison" for row in rows):
            raise DataError("too long")
        write(rows)

    monkeypatch.setattr(recorder, "insert", insert)
    with persisting("all"):
        for user_id in ("1", "poison", "3"):
            security_event_logger.log("logout", user_id=user_id)
        records.keep_up()
        assert sorted(EventRecord.objects.filter(event_type="logout").values_list("user_id", flat=True)) == ["1", "3"]
    (said,) = events.of("events_not_recorded")
    assert said.context["types"] == "logout: 1"


@in_transaction
def test_a_strangers_flood_keeps_no_operators_act_out_of_the_record(at_rest: Recorder) -> None:
    for number in range(2 * MAX_ROWS_PER_SECOND):
        security_event_logger.log(EventType.CSRF_FAILED, ip_address=f"198.51.100.{number}")
    security_event_logger.log(EventType.PRIVILEGES_CHANGED, username="anna", by="root")
    assert "privileges_changed" in types()


@in_transaction
def test_what_was_reset_is_found_by_its_address() -> None:
    reset_network(HOST, by="root")
    assert EventRecord.objects.get(event_type="counters_reset").network == HOST


def test_a_run_of_tests_writes_nothing_into_the_projects_database(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(RUN % str(tmp_path / "real.sqlite3"))
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "real.sqlite3")) as real:
        assert real.execute("SELECT count(*) FROM secguard_eventcount").fetchone() == (0,)


RUN = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "secguard"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r}},
    AUTHENTICATION_BACKENDS=["secguard.backends.SecurityGuardBackend", "django.contrib.auth.backends.ModelBackend"],
)
django.setup()
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.test.utils import get_runner
call_command("migrate", verbosity=0)
runner = get_runner(settings)(verbosity=0)
runner.setup_test_environment()
old = runner.setup_databases()
authenticate(username="anna", password="wrong")
runner.teardown_databases(old)
runner.teardown_test_environment()
"""
