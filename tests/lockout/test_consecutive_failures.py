"""Failures in a row: counted in the database, however long they take, until nobody gets in any more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection, connections, transaction

from secguard import pipeline, records
from secguard.events import EventType
from secguard.logging import security_event_logger
from secguard.models import AccountLock, FailureCount
from secguard.records import failures
from secguard.signals import consecutive_failures_exceeded
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import PATIENT, Configure, Visit
from tests.end_to_end.entry import RIGHT, WRONG, Entry, Visitor
from tests.lockout import hooks
from tests.lockout.conftest import Attack, ConfigureLockout
from tests.lockout.test_locks import masked, reset_page

pytestmark = pytest.mark.usefixtures("anna", "counting")

LIMIT = 5


@pytest.fixture
def counting(configure: Configure) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT)


@pytest.fixture
def exceeded() -> Iterator[list[dict[str, Any]]]:
    """What the signal said."""
    said: list[dict[str, Any]] = []

    def receive(account: str, count: int, user: Any, **kwargs: Any) -> None:
        said.append({"account": account, "count": count, "user": user})

    consecutive_failures_exceeded.connect(receive)
    yield said
    consecutive_failures_exceeded.disconnect(receive)


@pytest.fixture
def called() -> Iterator[list[tuple[Any, str, int]]]:
    hooks.called.clear()
    yield hooks.called
    hooks.called.clear()


def counts() -> dict[str, int]:
    return dict(FailureCount.objects.values_list("account", "count"))


def is_locked(visit: Visit, name: str = "anna", password: str = RIGHT) -> bool:
    return visit("203.0.113.99").log_in(name, password).status_code == 403


# -- counting ------------------------------------------------------------------------------------------------


def test_each_failure_counts_wherever_it_comes_from(attack: Attack) -> None:
    attack(times=3)
    assert counts() == {"anna": 3}


def test_nothing_is_counted_where_nobody_asks_for_it(visitor: Visitor, configure: Configure) -> None:
    configure()
    visitor.guess(3)
    assert counts() == {}


def test_a_login_begins_anew(visitor: Visitor, attack: Attack) -> None:
    attack(times=LIMIT - 1)
    visitor.log_in()
    assert counts() == {}
    attack(times=LIMIT - 1, first=100)
    assert counts() == {"anna": LIMIT - 1}
    assert not AccountLock.objects.exists()


def test_a_login_begins_anew_for_nobody_else(visitor: Visitor, attack: Attack, bert: User) -> None:
    attack(times=3)
    visitor.log_in("bert")
    assert counts() == {"anna": 3}


def test_other_events_begin_nothing_anew(visitor: Visitor, attack: Attack) -> None:
    attack(times=3)
    for event_type in (EventType.LOGOUT, EventType.PASSWORD_CHANGED, EventType.DATA_ACCESS, EventType.LOGIN_FAILED):
        security_event_logger.log(event_type, username="anna")
    assert counts() == {"anna": 4}


def test_a_right_password_of_somebody_who_is_no_staff_begins_nothing_anew(visitor: Visitor, attack: Attack) -> None:
    attack(times=3)
    visitor.post("/admin/login/?next=/admin/", {"username": "anna", "password": RIGHT})
    assert counts() == {"anna": 3}


def test_refused_attempts_are_not_counted(visitor: Visitor) -> None:
    visitor.guess(5)  # blocks the address
    FailureCount.objects.update(count=1)
    visitor.guess(3)
    assert counts() == {"anna": 1}


def test_an_attempt_without_a_name_is_not_counted(visitor: Visitor) -> None:
    visitor.post("log_in/", {"password": WRONG})
    assert counts() == {}


def test_names_that_no_database_takes_are_counted(visit: Visit) -> None:
    hostile = {"username": "a\0nna\u202e" + "x" * 400, "password": WRONG}
    visit("192.0.2.9").post("log_in/", hostile, content_type="application/json")
    ((name, count),) = counts().items()
    assert (count, len(name) <= 254, name.isprintable()) == (1, True, True)


def test_the_other_name_of_one_login_is_no_failure(visit: Visit) -> None:
    """A page that tries the mail address first would lock everybody in the end."""
    names = {"email": "anna@example.com", "username": "anna", "password": RIGHT}
    for number in range(3):
        assert visit(f"192.0.2.{number}").post("log_in_by_mail_or_name/", names).status_code == 302
    assert counts() == {}


def test_a_guess_at_somebody_else_in_the_same_request_is_one(visitor: Visitor, bert: User) -> None:
    visitor.post("log_in_by_mail_or_name/", {"email": "bert", "username": "anna", "password": WRONG})
    bert.set_password("bert's own")
    bert.save()
    visitor.post("log_in_by_mail_or_name/", {"email": "bert", "username": "anna", "password": RIGHT})
    assert counts() == {"bert": 2}


def test_a_count_is_kept_when_the_view_is_rolled_back(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    data = {"username": "anna", "password": WRONG, "number": 1}
    assert visitor.post("/sync/log_in_and_crash/", data).status_code == 500
    assert not User.objects.filter(username__startswith="rolled back").exists()
    assert counts() == {"anna": 1}


def test_outside_a_request_it_is_counted_at_once(entry: Entry) -> None:
    authenticate(username="anna", password=WRONG)
    assert counts() == {"anna": 1}


def test_outside_a_request_a_transaction_is_waited_for(entry: Entry) -> None:
    with transaction.atomic():
        authenticate(username="anna", password=WRONG)
        assert counts() == {}
    assert counts() == {"anna": 1}


def test_a_transaction_that_is_rolled_back_takes_no_failure_with_it(entry: Entry) -> None:
    with transaction.atomic():
        authenticate(username="anna", password=WRONG)
        transaction.set_rollback(True)
    assert counts() == {}
    authenticate(username="anna", password=WRONG)
    assert counts() == {"anna": 2}


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_once_lose_nothing_and_tell_it_once(
    configure: Configure, events: CapturedEvents
) -> None:
    failure = pipeline.Failure("ab" * 16, "anna")

    def count(number: int) -> None:
        clock = ManualClock()
        process = failures.FailureCounts(clock)
        try:
            process.save([failure])
            while process.waiting:  # SQLite in memory refuses whoever comes while another one writes
                clock.advance(60)
                process.save([])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(20)))
    assert counts() == {"anna": 20}
    assert AccountLock.objects.count() == 1
    assert [type_ for type_ in events.types if type_ not in ("degraded", "recovered")] == [
        "consecutive_failures_exceeded",
        "account_locked",
    ]


# -- the limit -----------------------------------------------------------------------------------------------


def test_at_the_limit_nobody_gets_in_any_more(attack: Attack, visit: Visit, checked: list[object]) -> None:
    assert attack(times=LIMIT + 2) == [200] * LIMIT + [403] * 2
    checked.clear()
    assert is_locked(visit)
    assert checked == []


def test_the_lock_has_no_end_and_is_for_everybody(attack: Attack) -> None:
    attack(times=LIMIT + 2)
    lock = AccountLock.objects.get()
    assert (lock.account, lock.rule, lock.scope, lock.expires_at) == ("anna", "consecutive_failures", "all", None)


def test_known_devices_are_locked_out_too(visitor: Visitor, attack: Attack, configure: Configure) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, ACCOUNT_LOCKOUT="unknown_devices")
    visitor.log_in()
    attack(times=LIMIT)
    assert visitor.log_in().status_code == 403


def test_the_limit_is_told_once(
    attack: Attack, events: CapturedEvents, exceeded: list[dict[str, Any]], anna: User
) -> None:
    attack(times=LIMIT + 2)
    (event,) = events.of("consecutive_failures_exceeded")
    assert (event.severity, event.context["username"], event.context["count"]) == ("critical", "anna", LIMIT)
    assert len(events.of("account_locked")) == 1
    assert exceeded == [{"account": "anna", "count": LIMIT, "user": anna}]


def test_a_name_that_nobody_has_is_locked_as_well(attack: Attack, visit: Visit, exceeded: list[dict[str, Any]]) -> None:
    attack("nobody", times=LIMIT)
    attack("anna", times=LIMIT, first=100)
    assert exceeded[0] == {"account": "nobody", "count": LIMIT, "user": None}
    nobody, known = visit("203.0.113.1").log_in("nobody", WRONG), visit("203.0.113.2").log_in("anna", RIGHT)
    assert masked(nobody) == masked(known)


def test_names_of_accounts_that_do_not_exist_can_be_kept_out_of_the_database(
    attack: Attack, configure: Configure
) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, UNKNOWN_ACCOUNT_NAMES="digest")
    attack("nobody", times=LIMIT)
    assert "nobody" not in str([counts(), list(AccountLock.objects.values())])


def test_monitor_mode_counts_and_tells_it_once_and_locks_nobody(
    attack: Attack, visit: Visit, configure: Configure, events: CapturedEvents, called: list[Any]
) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, MODE="monitor", ON_MAX_CONSECUTIVE_FAILURES=hooks.note)
    assert attack(times=LIMIT + 3) == [200] * (LIMIT + 3)
    assert counts() == {"anna": LIMIT + 3}
    assert len(events.of("consecutive_failures_exceeded")) == 1
    assert not is_locked(visit)
    assert (AccountLock.objects.exists(), called) == (False, [])


# -- the hook ------------------------------------------------------------------------------------------------


def test_the_hook_is_called_once(attack: Attack, configure: Configure, called: list[Any], anna: User) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, ON_MAX_CONSECUTIVE_FAILURES="tests.lockout.hooks.note")
    attack(times=LIMIT + 2)
    assert called == [(anna, "anna", LIMIT)]


def test_a_hook_that_raises_is_reported_and_harmless(
    attack: Attack, visit: Visit, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, ON_MAX_CONSECUTIVE_FAILURES=hooks.crash)
    assert attack(times=LIMIT) == [200] * LIMIT
    assert is_locked(visit)
    assert [record.name for record in caplog.records if record.exc_info] == ["secguard"]


def test_the_password_can_be_taken_away(attack: Attack, configure: Configure, anna: User, visit: Visit) -> None:
    hook = "secguard.hooks.disable_password"
    configure(MAX_CONSECUTIVE_FAILURES=LIMIT, ON_MAX_CONSECUTIVE_FAILURES=hook)
    attack(times=LIMIT)
    attack("nobody", times=LIMIT, first=100)
    anna.refresh_from_db()
    assert not anna.has_usable_password()
    records.unlock_account("anna")
    assert visit("203.0.113.99").log_in().status_code == 200  # unlocked, and yet nobody has the password


# -- what lasts, and what ends it ----------------------------------------------------------------------------


class TestWhatLasts:
    @pytest.fixture
    def store_settings(self, empty_redis: str) -> dict[str, Any]:
        return {"REDIS_URL": empty_redis, "STORE_TIMEOUT": PATIENT}

    def test_counters_that_are_lost_take_no_count_and_no_lock_with_them(
        self, attack: Attack, visit: Visit, redis_client: redis.Redis
    ) -> None:
        attack(times=LIMIT - 1)
        redis_client.flushall()
        attack(times=1, first=100)
        redis_client.flushall()
        assert is_locked(visit)

    def test_a_restart_takes_no_count_and_no_lock_with_it(
        self, attack: Attack, visit: Visit, configure: Configure
    ) -> None:
        attack(times=LIMIT - 1)
        configure(MAX_CONSECUTIVE_FAILURES=LIMIT)
        attack(times=1, first=100)
        configure(MAX_CONSECUTIVE_FAILURES=LIMIT)
        assert len(pipeline.get_locks()) == 0
        assert is_locked(visit)


def test_time_ends_nothing(attack: Attack, visit: Visit, clock: ManualClock) -> None:
    attack(times=LIMIT)
    clock.advance(10 * 365 * 86_400)
    assert is_locked(visit)


def test_an_operator_ends_it(attack: Attack, visit: Visit) -> None:
    attack(times=LIMIT)
    assert records.unlock_account("anna", by="operator") == 1
    assert counts() == {}
    assert not is_locked(visit)


def test_a_password_reset_ends_it(attack: Attack, visit: Visit, anna: User, events: CapturedEvents) -> None:
    attack(times=LIMIT)
    reset_page(visit("203.0.113.5"), anna)
    assert counts() == {}
    assert not is_locked(visit, password="a brand new one")
    (event,) = events.of("account_unlocked")
    assert (event.context["username"], event.context["by"]) == ("anna", "password_reset")
    assert AccountLock.objects.get().lifted_by == "password_reset"


def test_somebody_who_gets_in_past_it_ends_the_count_and_not_the_lock(
    attack: Attack, visit: Visit, visitor: Visitor, anna: User
) -> None:
    attack(times=LIMIT)
    visitor.force_login(anna)  # as after a remote or single sign-on
    assert counts() == {}
    assert is_locked(visit)


def test_a_password_reset_ends_it_for_the_mail_address_too(attack: Attack, visit: Visit, anna: User) -> None:
    attack("anna@example.com", times=LIMIT)
    reset_page(visit("203.0.113.5"), anna)
    assert not AccountLock.objects.filter(lifted_at=None).exists()


def test_a_password_reset_ends_nothing_for_an_address_that_another_user_has_too(
    attack: Attack, visit: Visit, anna: User, bert: User
) -> None:
    User.objects.filter(pk=bert.pk).update(email="anna@example.com")
    bert.refresh_from_db()
    attack("anna@example.com", times=LIMIT)
    reset_page(visit("203.0.113.5"), bert)
    assert AccountLock.objects.filter(lifted_at=None).count() == 1


def test_a_password_reset_that_is_rolled_back_ends_nothing(
    attack: Attack, visit: Visit, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack(times=LIMIT)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert reset_page(visit("203.0.113.5"), anna, "crash").status_code == 500
    monkeypatch.undo()  # Django allows it for sync views alone
    assert counts() == {"anna": LIMIT}
    assert is_locked(visit)


def test_a_password_reset_ends_no_other_lock(attack: Attack, visit: Visit, anna: User) -> None:
    attack(times=LIMIT)
    records.lock_account("anna", by="operator")
    reset_page(visit("203.0.113.5"), anna)
    assert [lock.created_by for lock in records.active_locks()] == ["operator"]


# -- a database that is away ---------------------------------------------------------------------------------


@contextmanager
def table_away() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE secguard_failurecount RENAME TO secguard_failurecount_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE secguard_failurecount_away RENAME TO secguard_failurecount")


def test_failures_wait_for_a_database_that_is_away(
    attack: Attack, visit: Visit, events: CapturedEvents, clock: ManualClock
) -> None:
    with table_away():
        assert attack(times=LIMIT - 1) == [200] * (LIMIT - 1)
    clock.advance(2)
    attack(times=1, first=100)
    assert is_locked(visit)
    (away,) = events.of("degraded")
    (back,) = events.of("recovered")
    assert away.context["component"] == back.context["component"] == "count of consecutive failures"


def test_a_database_that_is_away_is_not_asked_each_time(attack: Attack, clock: ManualClock) -> None:
    with table_away():
        attack(times=1)
    attack(times=1, first=100)
    assert counts() == {}
    clock.advance(1)
    attack(times=1, first=101)
    assert counts() == {"anna": 3}


def test_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch, attack: Attack, clock: ManualClock, events: CapturedEvents
) -> None:
    monkeypatch.setattr(failures, "MAX_WAITING", 2)
    with table_away():
        attack(times=4)
    clock.advance(60)
    failures.get_failure_counts().save([])
    assert counts() == {"anna": 2}
    assert events.of("recovered")[0].context["lost_changes"] == 2


# -- what it costs -------------------------------------------------------------------------------------------


def test_without_it_a_login_costs_no_query(
    visit: Visit, configure: ConfigureLockout, django_assert_num_queries: Any, entry: Entry
) -> None:
    configure()
    visitor = visit()
    visitor.guess(1)
    visitor.log_in()
    statements: list[str] = []

    def note(execute: Any, sql: str, *arguments: Any) -> Any:
        statements.append(sql)
        return execute(sql, *arguments)

    wrappers = entry.where_sync_code_runs(lambda: connection.execute_wrappers)
    wrappers.append(note)
    visitor.guess(1)
    visitor.log_in()
    wrappers.remove(note)
    assert statements
    assert not [sql for sql in statements if "secguard" in sql]
