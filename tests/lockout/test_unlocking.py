"""The link by mail with which owners unlock their accounts: who gets it, what it does, and how often."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail, signing
from django.core.mail.backends.locmem import EmailBackend
from django.db import connections
from django.http import HttpResponse
from django.urls import reverse

from secguard import pipeline, records
from secguard.blocking.policy import LockRequest
from secguard.context import context_for
from secguard.logging import security_event_logger
from secguard.models import AccountLock
from secguard.records import unlocking
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import RIGHT, WRONG, Visitor
from tests.lockout.conftest import Attack, ConfigureLockout

pytestmark = pytest.mark.usefixtures("anna", "mailing")

BASE = "https://www.example.org"
COOKIE = "secguard_device"
LOCKED_AT = 10  # addresses


@pytest.fixture
def mailing(configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="unknown_devices", UNLOCK_BASE_URL=BASE)


def link_in(message: Any) -> str:
    """The path of the link in a mail."""
    (link,) = re.findall(r"https?://\S+", message.body)
    assert link.startswith(BASE)
    return str(link.removeprefix(BASE))


@pytest.fixture
def link(attack: Attack) -> str:
    """Of an account that is locked."""
    attack()
    (message,) = mail.outbox
    return link_in(message)


# -- who gets one --------------------------------------------------------------------------------------------


def test_the_owner_gets_a_mail(attack: Attack, events: CapturedEvents) -> None:
    attack()
    (message,) = mail.outbox
    assert message.to == ["anna@example.com"]
    assert message.subject == "Your account at www.example.org was locked"
    (event,) = events.of("unlock_mail_sent")
    assert event.context["username"] == "anna"
    assert event.context["reference"] == str(AccountLock.objects.get().reference)


def test_who_guesses_does_not_wait_for_it(
    attack: Attack, visit: Visit, monkeypatch: pytest.MonkeyPatch, configure: Configure
) -> None:
    """The mail goes out when the response is closed, which is after it was sent."""
    attack(times=LOCKED_AT - 1)
    order: list[str] = []
    original = HttpResponse.close
    monkeypatch.setattr(unlocking, "_mail_link", lambda lock: order.append("mailed"))

    def close(self: HttpResponse) -> None:
        order.append("closed")
        original(self)

    monkeypatch.setattr(HttpResponse, "close", close)
    visit("198.51.100.99").guess()
    assert order == ["closed", "mailed"]


def test_no_mail_is_sent_unless_a_host_is_set(attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="unknown_devices")
    attack()
    assert AccountLock.objects.exists()
    assert mail.outbox == []


@pytest.mark.parametrize(
    "change",
    [{"email": ""}, {"is_active": False}, {"username": "renamed", "email": ""}],
    ids=["address", "active", "user"],
)
def test_nobody_is_mailed_without_an_account_that_can_be_used(attack: Attack, change: dict[str, Any]) -> None:
    User.objects.update(**change)
    attack()
    assert AccountLock.objects.exists()
    assert mail.outbox == []


def test_who_logs_in_by_mail_address_gets_one_too(attack: Attack) -> None:
    attack("anna@example.com")
    assert [message.to for message in mail.outbox] == [["anna@example.com"]]


def test_an_address_of_several_users_gets_none(attack: Attack, bert: User) -> None:
    User.objects.update(email="both@example.com")
    attack("both@example.com")
    assert mail.outbox == []


def test_what_an_operator_locks_mails_nobody(configure: Configure, visitor: Visitor) -> None:
    records.lock_account("anna", duration=60, by="operator")
    visitor.log_in()
    assert mail.outbox == []


def test_consecutive_failures_mail_nobody(attack: Attack, configure: Configure) -> None:
    """Only a new password ends that lock."""
    configure(MAX_CONSECUTIVE_FAILURES=5, UNLOCK_BASE_URL=BASE)
    attack()
    assert AccountLock.objects.exists()
    assert mail.outbox == []


def test_an_account_is_mailed_no_more_often_than_a_setting_says(attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="all", UNLOCK_BASE_URL=BASE, UNLOCK_MAILS_PER_HOUR=2)
    for number in range(4):
        attack(first=1 + number * 40)
        records.unlock_account("anna")
    assert AccountLock.objects.count() == 4
    assert len(mail.outbox) == 2


def test_an_hour_later_it_is_mailed_again(attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="all", UNLOCK_BASE_URL=BASE, UNLOCK_MAILS_PER_HOUR=1)
    for number in range(2):
        attack(first=1 + number * 40)
        records.unlock_account("anna")
        AccountLock.objects.update(created_at=records.database_now("default") - timedelta(minutes=61))
    assert len(mail.outbox) == 2


def test_a_mail_server_that_is_away_is_reported_and_harmless(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: Any) -> None:
        raise ConnectionRefusedError("the mail server is away")

    # In the place of the test runner's outbox: which setting names a backend depends on Django's version.
    monkeypatch.setattr(EmailBackend, "send_messages", away)
    assert attack() == [200] * LOCKED_AT + [403] * 20
    (record,) = [record for record in caplog.records if record.name == "secguard"]
    assert "the mail server is away" in str(record.exc_info)


def test_a_refusal_in_the_same_request_keeps_no_mail_back(visit: Visit, configure: Configure) -> None:
    rules = {"account_failures": {"threshold": 1}}
    configure(ACCOUNT_LOCKOUT="all", UNLOCK_BASE_URL=BASE, RULES=rules)
    names = {"email": "anna", "username": "anna", "password": WRONG}
    assert visit().post("log_in_by_mail_or_name/", names).status_code == 403
    assert len(mail.outbox) == 1


# -- what is in it -------------------------------------------------------------------------------------------


def test_the_host_is_the_settings_and_never_the_requests(visit: Visit, attack: Attack, settings: Any) -> None:
    settings.USE_X_FORWARDED_HOST = True
    attack(times=LOCKED_AT - 1)
    visit("198.51.100.99", **{"X-Forwarded-Host": "evil.example"}).guess()
    (message,) = mail.outbox
    assert "evil.example" not in str(message.message())
    assert link_in(message)


def test_nothing_that_users_write_is_in_it(attack: Attack) -> None:
    User.objects.update(username="buy-at-evil.example", first_name="Cheap", last_name="Pills")
    attack("buy-at-evil.example")
    text = str(mail.outbox[0].message())
    assert not [word for word in ("evil", "Cheap", "Pills") if word in text]


def test_an_address_that_would_add_a_header_gets_none(attack: Attack, caplog: pytest.LogCaptureFixture) -> None:
    User.objects.update(email="anna@example.com\nBcc: villain@example.com")
    attack()
    assert mail.outbox == []
    (record,) = [record for record in caplog.records if record.name == "secguard"]
    assert record.exc_info
    # Django's BadHeaderError; since Django 6.0 a plain ValueError of Python's own, in other words.
    assert isinstance(record.exc_info[1], ValueError)
    assert str(record.exc_info[1]).startswith("Header values")


@pytest.mark.usefixtures("own_templates")
def test_the_text_can_be_the_projects_own_and_its_subject_stays_one_line(attack: Attack) -> None:
    attack()
    (message,) = mail.outbox
    assert message.subject == "Our own subject for anna, on two lines"
    assert "Our own text for anna" in message.body
    assert link_in(message)


@pytest.fixture
def own_templates(settings: Any, tmp_path: Any) -> None:
    folder = tmp_path / "secguard"
    folder.mkdir()
    (folder / "unlock_subject.txt").write_text("Our own subject for {{ user.username }},\n on two lines\n")
    (folder / "unlock_mail.txt").write_text("Our own text for {{ user.username }}: {{ link }}\n")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]


def test_the_language_is_the_sites_and_not_that_of_who_guesses(
    visit: Visit, attack: Attack, settings: Any, tmp_path: Any
) -> None:
    (tmp_path / "secguard").mkdir()
    template = "{% load i18n %}{% get_current_language as LANGUAGE %}{{ LANGUAGE }}"
    (tmp_path / "secguard" / "unlock_subject.txt").write_text(template)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    settings.LANGUAGE_CODE = "fr"
    attack(times=LOCKED_AT - 1)
    visit("198.51.100.99", **{"Accept-Language": "de"}).guess()
    assert mail.outbox[0].subject == "fr"


# -- what it does --------------------------------------------------------------------------------------------


def test_looking_at_the_page_unlocks_nothing(link: str, visitor: Visitor, stranger: Visitor) -> None:
    """What scans mails follows the links in them."""
    for method in ("get", "head"):
        answer = visitor.request(method, link)
        assert answer.status_code == 200
    assert b'<form method="post">' in visitor.get(link).content
    assert stranger.log_in().status_code == 403


def test_pressing_the_button_unlocks_the_account_for_everybody(
    link: str, visitor: Visitor, stranger: Visitor, events: CapturedEvents
) -> None:
    assert visitor.post(link).status_code == 200
    assert stranger.log_in().status_code == 302
    assert security_event_logger.pipeline.findings(account="anna").counts["account_failures"] == 0
    (event,) = events.of("account_unlocked")
    assert (event.context["username"], event.context["by"]) == ("anna", "owner")
    assert AccountLock.objects.get().lifted_by == "owner"


def test_the_device_is_known_from_then_on(link: str, visitor: Visitor, stranger: Visitor, attack: Attack) -> None:
    assert visitor.post(link).cookies[COOKIE]
    attack(first=100)
    assert stranger.log_in().status_code == 403
    assert visitor.log_in().status_code == 302


def test_who_only_looks_is_not_known(link: str, visitor: Visitor) -> None:
    assert COOKIE not in visitor.get(link).cookies


def test_a_link_works_once(link: str, visitor: Visitor, attack: Attack, stranger: Visitor) -> None:
    visitor.post(link)
    attack(first=100)
    assert visitor.post(link).status_code == 404
    assert stranger.log_in().status_code == 403


def test_two_who_use_a_link_at_once_unlock_it_once(
    link: str, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, events: CapturedEvents
) -> None:
    row = AccountLock.objects.get()
    visitor.post(link)
    monkeypatch.setattr(unlocking, "find_locked", lambda token: row)  # as both saw it before either had written
    assert visitor.post(link).status_code == 404
    assert len(events.of("account_unlocked")) == 1


def test_what_other_processes_locked_at_the_same_time_is_lifted_too(
    link: str, visitor: Visitor, stranger: Visitor, events: CapturedEvents
) -> None:
    first = AccountLock.objects.get()
    again = LockRequest("anna", first.digest, 1_800, rule=first.rule)
    records.insert([again])
    pipeline.lock(again, context_for(None), saved=True)
    visitor.post(link)
    assert stranger.log_in().status_code == 302
    assert [event.context["count"] for event in events.of("account_unlocked")] == [2]


def test_a_lock_by_an_operator_stays(link: str, visitor: Visitor, stranger: Visitor) -> None:
    records.lock_account("anna", by="operator")
    visitor.post(link)
    assert stranger.log_in().status_code == 403


@pytest.mark.parametrize("protected", [True, False], ids=["middleware", "without"])
def test_a_form_without_the_token_of_the_page_is_refused(
    link: str, visitor: Any, stranger: Visitor, settings: Any, protected: bool
) -> None:
    if not protected:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    visitor.client.handler.enforce_csrf_checks = True
    assert visitor.post(link).status_code == 403
    assert stranger.log_in().status_code == 403
    visitor.client.handler.enforce_csrf_checks = False


def test_the_button_works_where_forms_are_protected(link: str, visitor: Any, stranger: Visitor) -> None:
    visitor.client.handler.enforce_csrf_checks = True
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', visitor.get(link).content.decode())
    assert visitor.post(link, {"csrfmiddlewaretoken": token}).status_code == 200
    visitor.client.handler.enforce_csrf_checks = False


# -- links that are worth nothing ----------------------------------------------------------------------------


def unlock_path(token: str) -> str:
    return reverse("secguard:unlock", args=[token])


def lock_here(**fields: Any) -> str:
    """An automatic lock that was saved. → a link that names it"""
    request = LockRequest("anna", "ab" * 16, fields.pop("duration", 1_800), rule=fields.pop("rule", "account_failures"))
    records.insert([request])
    AccountLock.objects.filter(reference=request.reference).update(**fields)
    return unlock_path(unlocking.token_for(request.reference))


def expired_lock() -> str:
    return lock_here(expires_at=records.database_now("default") - timedelta(seconds=1))


def lifted_lock() -> str:
    return lock_here(lifted_at=records.database_now("default"))


def no_such_lock() -> str:
    return unlock_path(unlocking.token_for("0" * 32))


def consecutive_failures() -> str:
    return lock_here(rule="consecutive_failures", duration=None)


def by_an_operator() -> str:
    return lock_here(rule="")


def signed_for_something_else() -> str:
    return unlock_path(signing.TimestampSigner(salt="other").sign(lock_here().strip("/").split("/")[-1].split(":")[0]))


def no_token() -> str:
    return unlock_path("x")


def oversized() -> str:
    return unlock_path("A" * 5_000)


def not_ascii() -> str:
    return unlock_path("é:ü:ß")


def changed() -> str:
    link = lock_here().rstrip("/")
    return link[:-1] + ("A" if link[-1] != "A" else "B") + "/"


WORTHLESS: list[Callable[[], str]] = [
    expired_lock,
    lifted_lock,
    no_such_lock,
    consecutive_failures,
    by_an_operator,
    signed_for_something_else,
    no_token,
    oversized,
    not_ascii,
    changed,
]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("worthless", WORTHLESS)
def test_a_link_that_is_worth_nothing_does_not_say_why(
    visitor: Visitor, worthless: Callable[[], str], method: str
) -> None:
    reference = visitor.request(method, unlock_path("x"))
    answer = visitor.request(method, worthless())
    assert answer.status_code == 404
    assert (answer.content, answer["Content-Type"]) == (reference.content, reference["Content-Type"])
    assert b"not valid" in answer.content
    assert b"<form" not in answer.content


def test_the_other_tests_links_are_worth_something(visitor: Visitor) -> None:
    link = lock_here()
    assert visitor.request("get", link).status_code == 200
    assert visitor.request("post", link).status_code == 200


@pytest.mark.parametrize(("age", "status"), [(24 * 3600 - 1, 200), (24 * 3600 + 1, 404)])
def test_a_link_lasts_a_day_even_if_the_lock_does_not_end(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, age: int, status: int
) -> None:
    now = time.time()
    with monkeypatch.context() as earlier:
        earlier.setattr("django.core.signing.time.time", lambda: now - age)
        link = lock_here(duration=None)
    monkeypatch.setattr("django.core.signing.time.time", lambda: now)
    assert visitor.request("get", link).status_code == status


def test_a_link_outlives_a_new_secret_key(
    link: str, visitor: Visitor, settings: Any, configure: ConfigureLockout
) -> None:
    configure.hang_up()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-" + "y" * 50
    configure(UNLOCK_BASE_URL=BASE)
    assert visitor.post(link).status_code == 200


def test_the_page_is_kept_nowhere(link: str, visitor: Visitor) -> None:
    answer = visitor.get(link)
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "same-origin"
    assert b'content="noindex"' in answer.content


def test_a_page_that_fails_takes_nothing_back(
    link: str, visitor: Visitor, stranger: Visitor, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False}]
    assert visitor.post(link).status_code == 500
    monkeypatch.undo()  # Django allows it for sync views alone
    assert AccountLock.objects.get().lifted_by == "owner"
    assert stranger.log_in().status_code == 302


def test_a_blocked_address_is_refused_here_as_everywhere(link: str, visit: Visit, clock: ManualClock) -> None:
    records.block_network("192.0.2.66")
    assert visit("192.0.2.66").post(link).status_code == 403
    assert AccountLock.objects.get().lifted_at is None


def test_links_need_their_page(attack: Attack, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    assert attack() == [200] * LOCKED_AT + [403] * 20
    assert mail.outbox == []
    assert "NoReverseMatch" in "".join(str(record.exc_info) for record in caplog.records if record.name == "secguard")


def test_an_unlocked_account_still_asks_for_its_password(link: str, visitor: Visitor) -> None:
    visitor.post(link)
    assert visitor.log_in("anna", WRONG).status_code == 200
    assert visitor.log_in("anna", RIGHT).status_code == 302
