"""Two people whose names count as one: neither opens the other's lock, nor ends his failures in a row."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core import mail

from secguard.models import AccountLock, FailureCount
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import RIGHT, Visitor
from tests.lockout.conftest import Attack
from tests.lockout.test_locks import reset_page

pytestmark = pytest.mark.usefixtures("anna")

COOKIE = "secguard_device"


@pytest.fixture(autouse=True)
def twin(transactional_db: None) -> User:
    """Django's own user names differ by case."""
    return User.objects.create_user("ANNA", "mallory@example.com", RIGHT)


def test_a_login_makes_no_device_known_for_anothers_name(visitor: Visitor, attack: Attack) -> None:
    assert COOKIE not in visitor.log_in("ANNA").cookies
    attack("anna")
    assert visitor.log_in("anna").status_code == 403


def test_a_login_ends_no_failures_in_a_row_at_another(visitor: Visitor, visit: Visit, configure: Configure) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=100)
    visit("198.51.100.1").guess(3, "anna")
    visitor.log_in("ANNA")
    assert FailureCount.objects.get(account="anna").count == 3


def test_nor_does_a_new_password(twin: User, visit: Visit, configure: Configure) -> None:
    configure(MAX_CONSECUTIVE_FAILURES=3)
    visit("198.51.100.1").guess(3, "anna")
    reset_page(visit("203.0.113.7"), twin)
    twin.refresh_from_db()
    assert twin.check_password("a brand new one")
    assert AccountLock.objects.get().lifted_at is None


def test_nobody_is_mailed_a_link_that_unlocks_anothers_account(attack: Attack, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="all", UNLOCK_BASE_URL="https://www.example.org")
    User.objects.create_user("bea@example.com", "mallory@example.com", RIGHT)
    User.objects.create_user("bea", "bea@example.com", RIGHT)
    attack("bea@example.com")
    assert AccountLock.objects.count() == 1
    assert mail.outbox == []
