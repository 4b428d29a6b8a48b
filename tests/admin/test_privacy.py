"""Where rows show pseudonyms or networks instead of addresses, who knows the address finds them."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from secguard.privacy import shown_address
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
