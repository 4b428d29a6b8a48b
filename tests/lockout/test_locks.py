"""Locked accounts: who is refused, what he sees, and what he cannot tell from it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from secguard import pipeline, records
from secguard.logging import get_event_logger, security_event_logger
from secguard.models import AccountLock
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import PATIENT, Configure, Visit
from tests.end_to_end.entry import RIGHT, WRONG, Visitor
from tests.lockout.conftest import FRESH, Attack

pytestmark = pytest.mark.usefixtures("anna")

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def reset_page(visitor: Visitor, user: User, name: str = "reset") -> HttpResponse:
    """A new password, by the link that Django mails. → the last answer"""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    link = reverse(name, args=[uid, default_token_generator.make_token(user)])
    form = visitor.get(link)
    assert form.status_code == 302
    new = {"new_password1": "a brand new one", "new_password2": "a brand new one"}
    return visitor.post(form["Location"], new)


# -- whom a lock refuses -------------------------------------------------------------------------------------


def test_an_attack_from_many_addresses_locks_the_account(attack: Attack, stranger: Visitor) -> None:
    attack()
    assert stranger.log_in().status_code == 403
    assert {lock.account for lock in AccountLock.objects.all()} == {"anna"}


def test_no_password_is_checked_while_the_account_is_locked(
    attack: Attack, stranger: Visitor, checked: list[object]
) -> None:
    answers = attack()
    assert len(checked) == answers.count(200) == 10  # different addresses are what the rule counts
    stranger.log_in()
    assert len(checked) == 10


def test_the_owner_gets_in_where_she_was_logged_in_before(visitor: Visitor, attack: Attack, stranger: Visitor) -> None:
    visitor.log_in()
    attack()
    assert stranger.log_in().status_code == 403
    assert visitor.log_in().status_code == 302


def test_locked_for_all_means_for_the_owner_too(visitor: Visitor, attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="all")
    visitor.log_in()
    attack()
    assert visitor.log_in().status_code == 403


def test_without_a_lockout_no_account_is_locked(attack: Attack, stranger: Visitor, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="off")
    assert attack() == [200] * 30
    assert stranger.log_in().status_code == 302
    assert not AccountLock.objects.exists()


def test_other_accounts_are_not_locked(attack: Attack, stranger: Visitor, bert: User) -> None:
    attack()
    assert stranger.log_in("bert").status_code == 302


def test_a_lock_by_an_operator_refuses_known_devices_too(visitor: Visitor) -> None:
    visitor.log_in()
    records.lock_account("anna", by="operator")
    assert visitor.log_in().status_code == 403


def test_an_operator_may_lock_unknown_devices_alone(visitor: Visitor, stranger: Visitor) -> None:
    visitor.log_in()
    records.lock_account("anna", scope="unknown_devices", by="operator")
    assert visitor.log_in().status_code == 302
    assert stranger.log_in().status_code == 403


def test_case_and_spaces_are_no_way_around_a_lock(stranger: Visitor) -> None:
    records.lock_account("anna")
    assert [stranger.log_in(name).status_code for name in ("ANNA", " anna ", "ａnna")] == [403] * 3


def test_who_is_logged_in_stays_logged_in(visitor: Visitor) -> None:
    visitor.log_in()
    records.lock_account("anna")
    assert visitor.get("whoami/").content == b"anna"


def test_pages_stay_open_at_the_address_that_was_refused(stranger: Visitor) -> None:
    records.lock_account("anna")
    stranger.log_in()
    assert stranger.get("home/").status_code == 200


@pytest.mark.parametrize(
    "secguard",
    [{"ALLOWLIST": [FRESH]}, {"TRUSTED_PROXIES": [FRESH]}, {"EXEMPT_WHEN": lambda request: True}],
    ids=["allowlist", "trusted-proxy", "exempt"],
)
def test_the_exempt_get_into_a_locked_account(
    stranger: Visitor, configure: Configure, secguard: dict[str, Any]
) -> None:
    configure(ACCOUNT_LOCKOUT="all", **secguard)
    records.lock_account("anna")
    assert stranger.log_in().status_code == 302


def test_monitor_mode_locks_nobody_out(
    attack: Attack, stranger: Visitor, configure: Configure, events: CapturedEvents
) -> None:
    configure(ACCOUNT_LOCKOUT="all", MODE="monitor")
    assert attack() == [200] * 30
    records.lock_account("anna")
    assert stranger.log_in().status_code == 302
    assert {event.context["reason"] for event in events.of("block_suppressed")} == {"monitor"}
    assert not events.of("attempt_refused")


def test_a_new_password_can_be_had_while_the_account_is_locked(stranger: Visitor, anna: User) -> None:
    records.lock_account("anna", scope="unknown_devices")
    assert reset_page(stranger, anna).status_code == 302
    anna.refresh_from_db()
    assert anna.check_password("a brand new one")


def test_a_client_whose_address_is_unknown_is_refused_too(visit: Visit) -> None:
    records.lock_account("anna")
    assert visit(None).log_in().status_code == 403


# -- when it ends --------------------------------------------------------------------------------------------


def test_a_lock_ends(stranger: Visitor, clock: ManualClock) -> None:
    stranger.get("home/")  # reads the locks, whose end is the database's clock's
    records.lock_account("anna", duration=600)
    clock.advance(599)
    assert stranger.log_in().status_code == 403
    clock.advance(1)
    assert stranger.log_in().status_code == 302


def test_lock_duration_is_a_setting(attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="all", LOCK_DURATION=7_200)
    attack()
    lock = AccountLock.objects.get()
    assert lock.expires_at is not None
    assert (lock.expires_at - lock.created_at).total_seconds() == 7_200


def test_an_operator_lets_everybody_in_again(attack: Attack, stranger: Visitor) -> None:
    attack()
    assert records.unlock_account("anna", by="operator") == 1
    assert stranger.log_in().status_code == 302


def test_counters_may_be_kept_when_a_lock_is_lifted(attack: Attack, stranger: Visitor) -> None:
    attack()
    records.unlock_account("anna", keep_counters=True)
    # The account is open, and its limit is as full as before.
    assert pipeline.get_locks().find(*get_event_logger().pipeline.detector.account_digests("anna")) is None
    assert stranger.log_in().status_code == 403


# -- what the refused see ------------------------------------------------------------------------------------


def test_a_refusal_says_when_to_come_back(stranger: Visitor, clock: ManualClock) -> None:
    stranger.get("home/")
    records.lock_account("anna", duration=600)
    assert stranger.log_in()["Retry-After"] == "600"
    clock.advance(100)
    assert stranger.log_in()["Retry-After"] == "500"


def test_a_lock_without_an_end_does_not_show(stranger: Visitor) -> None:
    records.lock_account("anna")
    assert stranger.log_in()["Retry-After"] == "1800"


def test_a_refused_attempt_is_one_event_that_names_the_lock(stranger: Visitor, events: CapturedEvents) -> None:
    lock = records.lock_account("anna")
    refused = [stranger.log_in() for _ in range(5)]
    (event,) = events.of("attempt_refused")
    assert (event.context["locked"], event.context["lock"], event.context["subject"]) == (True, lock.reference, FRESH)
    assert {json.loads(answer.content)["reference"] for answer in refused} == {event.context["reference"]}
    assert "login_failed" not in events.types


def test_the_rest_of_a_flood_names_the_lock_too(
    stranger: Visitor, visit: Visit, events: CapturedEvents, clock: ManualClock, configure: Configure
) -> None:
    configure(ACCOUNT_LOCKOUT="all", SYNC_INTERVAL=1)
    lock = records.lock_account("anna")
    for _ in range(5):
        stranger.log_in()
    clock.advance(121)
    visit().get("home/")
    told = events.of("attempt_refused")
    assert [(event.context["count"], event.context["lock"]) for event in told] == [
        (1, lock.reference),
        (4, lock.reference),
    ]


def masked(answer: HttpResponse) -> tuple[int, object, dict[str, str]]:
    """An answer without what differs from one second or one flood to the next. The kinds of headers stay."""
    headers = dict(answer.headers)
    assert headers.pop("Retry-After").isdigit()
    headers.pop("Content-Length", None)
    if answer["Content-Type"] == "application/json":
        return answer.status_code, sorted(json.loads(answer.content)), headers
    lines = answer.content.decode().splitlines()
    return answer.status_code, [line for line in lines if "<code>" not in line and "seconds" not in line], headers


@pytest.mark.parametrize("accept", [BROWSER, "application/json"])
@pytest.mark.parametrize("lockout", ["unknown_devices", "all"])
def test_all_locked_accounts_answer_alike_whether_they_exist_or_not(
    visit: Visit, attack: Attack, configure: Configure, bert: User, lockout: str, accept: str
) -> None:
    configure(ACCOUNT_LOCKOUT=lockout)
    attack("anna")
    attack("nobody", first=100)
    records.lock_account("bert", reason="by hand")
    records.lock_account("no one", duration=60)
    names = {"anna": RIGHT, "nobody": WRONG, "bert": RIGHT, "no one": WRONG}
    answers = []
    for number, (name, password) in enumerate(names.items()):
        answer = visit(f"203.0.113.{number}", Accept=accept).log_in(name, password)
        answers.append(masked(answer))
        assert not answer.cookies
    assert answers == answers[:1] * 4
    assert answers[0][0] == 403


def test_a_lock_answers_as_a_limit_does(visit: Visit, attack: Attack, configure: Configure) -> None:
    attack("anna")
    attack("nobody", first=100)
    records.unlock_account("nobody", keep_counters=True)
    locked, limited = visit("203.0.113.1").log_in("anna"), visit("203.0.113.2").log_in("nobody")
    assert masked(locked) == masked(limited)


# -- names that are linked -----------------------------------------------------------------------------------


class TestAnotherNameOfTheAccount:
    @pytest.fixture
    def store_settings(self, empty_redis: str) -> dict[str, Any]:
        """Links outlive a process only where the store does."""
        return {"REDIS_URL": empty_redis, "STORE_TIMEOUT": PATIENT}

    @pytest.fixture(autouse=True)
    def _by_mail(self, settings: Any, configure: Configure) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            "secguard.backends.SecurityGuardBackend",
            "tests.end_to_end.backends.CountingBackend",
            "tests.end_to_end.backends.MailBackend",
        ]

    @staticmethod
    def in_a_new_process(configure: Any, **secguard: Any) -> None:
        """Nothing that was learned is left, but for what the store and the locks say."""
        known = pipeline.get_locks()
        configure(**secguard)
        pipeline.get_locks.value = known

    def test_is_locked_with_it(self, visitor: Visitor, stranger: Visitor) -> None:
        visitor.log_in("anna@example.com")
        records.lock_account("anna")
        assert stranger.log_in("anna@example.com").status_code == 403

    def test_locks_it(self, visitor: Visitor, stranger: Visitor) -> None:
        visitor.log_in("anna@example.com")
        records.lock_account("anna@example.com")
        assert stranger.log_in("anna").status_code == 403

    def test_is_locked_where_the_link_is_only_found_while_reserving(
        self, visitor: Visitor, stranger: Visitor, configure: Configure, checked: list[object]
    ) -> None:
        visitor.log_in("anna@example.com")
        records.lock_account("anna")
        self.in_a_new_process(configure, ACCOUNT_LOCKOUT="all")
        checked.clear()
        assert stranger.log_in("anna@example.com").status_code == 403
        assert checked == []

    def test_a_refusal_found_while_reserving_takes_no_slot(
        self, visitor: Visitor, stranger: Visitor, configure: Configure
    ) -> None:
        visitor.log_in("anna@example.com")
        records.lock_account("anna")
        self.in_a_new_process(configure, ACCOUNT_LOCKOUT="all", RULES={"brute_force": {"threshold": 1}}, RESERVE_WAIT=0)
        assert stranger.log_in("anna@example.com").status_code == 403
        # Held, the only slot of the address would be taken.
        assert stranger.log_in("bert", WRONG).status_code == 200

    def test_is_unlocked_with_it(self, visitor: Visitor, stranger: Visitor, configure: Configure) -> None:
        visitor.log_in("anna@example.com")
        records.lock_account("anna")
        self.in_a_new_process(configure, ACCOUNT_LOCKOUT="all")
        assert records.unlock_account("anna@example.com") == 1
        assert stranger.log_in("anna").status_code == 302

    def test_a_device_that_knows_one_name_knows_the_other(
        self, visitor: Visitor, attack: Attack, stranger: Visitor
    ) -> None:
        visitor.log_in("anna@example.com")
        attack("anna")
        attack("anna@example.com", first=100)
        assert stranger.log_in("anna@example.com").status_code == 403
        assert [visitor.log_in(name).status_code for name in ("anna", "anna@example.com")] == [302] * 2

    def test_a_device_is_known_by_the_name_that_was_typed_even_if_an_attack_keeps_it_from_being_linked(
        self, visitor: Visitor, attack: Attack, stranger: Visitor
    ) -> None:
        attack("anna@example.com", times=3)
        visitor.log_in("anna@example.com")
        attack("anna@example.com", first=100)
        assert stranger.log_in("anna@example.com").status_code == 403
        assert visitor.log_in("anna@example.com").status_code == 302

    def test_a_device_is_known_by_a_name_that_was_linked_elsewhere(
        self, visit: Visit, visitor: Visitor, attack: Attack, configure: Configure
    ) -> None:
        visit("192.0.2.50").log_in("anna@example.com")
        visitor.log_in("anna")
        attack("anna")
        self.in_a_new_process(configure, ACCOUNT_LOCKOUT="unknown_devices")
        assert visitor.log_in("anna@example.com").status_code == 302

    def test_a_name_that_somebody_put_into_his_profile_does_not_make_his_device_known(
        self, visit: Visit, attack: Attack, bert: User
    ) -> None:
        bert.email = "anna"
        bert.set_password("bert's own")
        bert.save()
        villain = visit("192.0.2.66")
        assert villain.log_in("anna", "bert's own").status_code == 302
        attack("anna")
        attack("bert", first=100)
        assert villain.log_in("anna", WRONG).status_code == 403
        assert villain.log_in("bert", "bert's own").status_code == 302


# -- many at once --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_parallel_guesses_from_everywhere_get_no_further_than_the_limit(
    configure: Configure, checked: list[object], settings: Any
) -> None:
    configure(ACCOUNT_LOCKOUT="all", RULES={"distributed_attack": None}, RESERVE_WAIT=5)

    def guess(number: int) -> int:
        try:
            client = Client(REMOTE_ADDR=f"198.51.100.{number}")
            return int(client.post("/sync/log_in/", {"username": "anna", "password": WRONG}).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(guess, range(60)))
    assert checked == ["anna"] * 20
    assert sorted(answers) == [200] * 20 + [403] * 40
    assert not pipeline.get_store().degraded


def test_the_counts_of_an_account_are_no_more_than_those_that_were_checked(attack: Attack) -> None:
    attack()
    assert security_event_logger.pipeline.findings(account="anna").counts["account_failures"] == 10
