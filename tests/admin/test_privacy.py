"""Where rows show pseudonyms or networks instead of addresses, who knows the address finds them."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from secguard.admin.search import digest_of
from secguard.privacy import shown_account, shown_address
from tests.admin.rows import event

HOST, NEIGHBOUR = "203.0.113.7", "198.51.100.9"


@pytest.mark.parametrize("mode", ["plain", "truncate", "hmac"])
def test_the_events_of_an_address_are_found_by_it(viewer: Client, mode: str) -> None:
    with override_settings(SECGUARD={"PERSIST_EVENTS": "none", "PRIVACY": mode}):
        for address in (HOST, NEIGHBOUR):
            event(ip_address=shown_address(address), network=shown_address(address), message=f"of {address}")
        listed = viewer.get(reverse("admin:secguard_eventrecord_changelist"), {"q": HOST}).content.decode()
        page = viewer.get(reverse("admin:secguard_address", args=[HOST])).content.decode()
    for text in (listed, page):
        assert f"of {HOST}" in text
        assert f"of {NEIGHBOUR}" not in text


def test_events_written_under_another_setting_are_found_by_the_address(viewer: Client) -> None:
    with override_settings(SECGUARD={"PERSIST_EVENTS": "none", "PRIVACY": "hmac"}):
        event(ip_address=shown_address(HOST), network=shown_address(HOST), message="under hmac")
        event(ip_address=shown_address(NEIGHBOUR), network=shown_address(NEIGHBOUR), message="of a neighbour")
    with override_settings(SECGUARD={"PERSIST_EVENTS": "none"}):
        event(ip_address=HOST, network=HOST, message="in plain")
        listed = viewer.get(reverse("admin:secguard_eventrecord_changelist"), {"q": HOST}).content.decode()
        page = viewer.get(reverse("admin:secguard_address", args=[HOST])).content.decode()
    for text in (listed, page):
        assert "under hmac" in text
        assert "in plain" in text
        assert "of a neighbour" not in text


@override_settings(SECGUARD={"PERSIST_EVENTS": "none", "PRIVACY": "hmac"})
def test_a_pseudonym_from_the_log_leads_to_its_events(viewer: Client) -> None:
    digest = digest_of("alice")
    event(ip_address=shown_address(HOST), network=shown_address(HOST), message="of the address")
    event(account=shown_account("alice"), account_digest=digest, message="of the account")
    find = reverse("admin:secguard_find")
    address = viewer.get(find, {"q": shown_address(HOST)}, follow=True).content.decode()
    assert "of the address" in address
    assert "of the account" not in address
    response = viewer.get(find, {"q": shown_account("alice")})
    assert response["Location"].startswith(reverse("admin:secguard_account", args=[digest]))
    assert "of the account" in viewer.get(response["Location"]).content.decode()
    unknown = viewer.get(find, {"q": "account:0123456789abcdef"}, follow=True)
    assert unknown.status_code == 200
    assert "of the account" not in unknown.content.decode()


def test_a_user_whose_name_looks_like_a_digest_is_found_by_it(viewer: Client) -> None:
    name = "0123456789abcdef" * 2
    assert digest_of(name) == name
    User.objects.create_user(name)
    assert digest_of(name) != name
    event(account=name, account_digest=digest_of(name), message="of that user")
    page = viewer.get(reverse("admin:secguard_find"), {"q": name}, follow=True).content.decode()
    assert "of that user" in page


@pytest.mark.parametrize("mode", ["truncate", "hmac"])
def test_the_dashboard_leads_to_no_page_that_is_not_there(viewer: Client, mode: str) -> None:
    with override_settings(SECGUARD={"PERSIST_EVENTS": "none", "PRIVACY": mode}):
        shown = shown_address(HOST)
        event(
            event_type="suspicious_activity", category="threat", rule="brute_force", ip_address=shown, network=shown,
            timestamp=timezone.now(),
        )  # fmt: skip
        page = viewer.get(reverse("admin:app_list", args=["secguard"])).content.decode()
        links = set(re.findall(r'href="(/admin/secguard/[^"]*)"', page))
        assert {link for link in links if viewer.get(html.unescape(link)).status_code not in (200, 302)} == set()


def test_who_may_not_see_users_is_not_told_whether_there_is_one(viewer: Client) -> None:
    User.objects.create_user("alice", "alice@example.com")
    for name in ("alice", "nobody-of-that-name"):
        page = viewer.get(reverse("admin:secguard_find"), {"q": name}, follow=True).content.decode()
        assert "alice@example.com" not in page
        assert "There is no such user" not in page


def test_an_operator_is_told_whose_account_it_is(operator: Client) -> None:
    User.objects.create_user("alice", "alice@example.com")
    page = operator.get(reverse("admin:secguard_find"), {"q": "alice"}, follow=True).content.decode()
    assert "alice@example.com" in page
