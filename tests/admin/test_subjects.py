"""The pages of an address and of an account: all that is known, and what can be decided there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from secguard import records
from secguard.logging import security_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block, FailureCount
from secguard.records import database_now
from secguard.testing import capture_events
from tests.admin.rows import (
    HOST,
    HOSTILE,
    IPV6,
    LIST,
    NOON,
    OTHER,
    account_page,
    address_page,
    digest,
    event,
    events,
)
from tests.conftest import without_block_table
from tests.records.rows import ago, lock_row, row

pytestmark = pytest.mark.django_db


def text_of(client: Client, page: str) -> str:
    response = client.get(page)
    assert response.status_code == 200, response
    return " ".join(response.content.decode().split())


def context_of(client: Client, page: str) -> Any:
    return client.get(page).context


def attack(times: int = 5, address: str = HOST, name: str = "anna") -> None:
    for _ in range(times):
        security_event_logger.log_login_failed(username=name, ip_address=address)


# -- an address ------------------------------------------------------------------------------------------------------


def test_an_address_under_attack_shows_all_that_is_known_of_it(operator: Client) -> None:
    attack()
    event(message="the last", country="DE", timestamp=NOON + timedelta(days=1))
    events(30, account="bob", user_agent="curl")
    event(network=OTHER, account="carol", message="elsewhere")
    context = context_of(operator, address_page())
    assert "refused: blocked, by the rule brute_force, for another 1" in dict(context["facts"])["A request"]
    (counter,) = (each for each in context["counters"] if each["rule"] == "brute_force")
    assert (counter["count"], counter["threshold"], counter["open"]) == (5, 5, True)
    assert context["threats"] == ["brute_force"]
    assert context["events"][0]["message"] == "the last"
    assert len(context["events"]) == 25
    assert [(each.label, each.number, each.link) for each in context["accounts"]] == [
        ("bob", 30, account_page("bob")),
        ("anna", 1, account_page()),
    ]
    assert [(each.label, each.number) for each in context["agents"]] == [("curl", 30), ("Firefox", 1)]
    assert [each.label for each in context["countries"]] == ["DE"]
    text = text_of(operator, address_page())
    assert "elsewhere" not in text
    assert "carol" not in text
    assert f'href="{reverse(LIST)}?q={HOST}"' in text


@pytest.mark.parametrize(
    ("typed", "page"),
    [("2001:db8::1", IPV6), ("::ffff:203.0.113.7", HOST), ("203.0.113.7/32", HOST), ("2001:DB8::/64", IPV6)],
)
def test_every_spelling_leads_to_the_one_page(viewer: Client, typed: str, page: str) -> None:
    response = viewer.get(reverse("admin:secguard_address", args=[typed]))
    assert response["Location"] == address_page(page)
    assert viewer.get(address_page(page)).status_code == 200


@pytest.mark.parametrize(
    "wrong", ["nonsense", "203.0.113.7/24", "999.1.1.1", HOSTILE, "../../x", "\x00", "a" * 5_000, "::g"]
)
def test_what_is_no_address_has_no_page(viewer: Client, wrong: str) -> None:
    path = reverse("admin:secguard_address", args=["X"]).replace("X", quote(wrong, safe=""))
    assert viewer.get(path).status_code == 404


def test_a_network_shows_what_its_addresses_did(viewer: Client) -> None:
    event(message="inside")
    event(message="outside", network=OTHER)
    row("203.0.0.0/16")
    text = text_of(viewer, address_page("203.0.113.0/24"))
    assert "inside" in text
    assert "outside" not in text
    assert "203.0.0.0/16" in text
    assert "too wide for its events" in text_of(viewer, address_page("203.0.0.0/16"))


def test_the_history_of_an_address_says_who_decided_what_and_why(viewer: Client) -> None:
    row(reason="scans", created_by="eve", lifted_at=ago(seconds=5), lifted_by="mallory", lift_reason="paid")
    row(list_name="feed")
    text = text_of(viewer, address_page())
    for words in ("scans", "eve", "mallory: paid", "feed", "in force", "lifted"):
        assert words in text


def test_an_address_is_blocked_allowed_and_lifted_from_its_page(operator: Client) -> None:
    text = text_of(operator, address_page())
    for name in ("block", "allowednetwork"):
        assert f'action="{reverse(f"admin:secguard_{name}_add")}"' in text
    context = context_of(operator, address_page())
    given = {"network": context["block_form"].initial["network"], "duration": "3600", "reason": "seen"}
    response = operator.post(context["block_url"], given, follow=True)
    assert response.redirect_chain == [(address_page(), 302)]
    assert "was added" in response.content.decode()
    (lift_url,) = (each["lift_url"] for each in response.context["decisions"])
    response = operator.post(lift_url, {"reason": "wrong one"}, follow=True)
    assert response.redirect_chain == [(address_page(), 302)]
    assert "wrong one" in response.content.decode()
    assert Block.objects.get().lift_reason == "wrong one"
    operator.post(context["allow_url"], given)
    assert AllowedNetwork.objects.get().reason == "seen"
    assert dict(context_of(operator, address_page())["facts"])["Never refused, by"] == "an operator"


def test_who_lifts_from_a_page_comes_back_to_it_and_goes_nowhere_else(operator: Client) -> None:
    row("203.0.113.0/24")
    lift_url = reverse("admin:secguard_block_lift", args=[Block.objects.get().pk])
    assert f'name="next" value="{address_page()}"' in text_of(operator, address_page())
    assert operator.post(lift_url, {"next": address_page()})["Location"] == address_page()
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert operator.post(lift_url, {"next": elsewhere})["Location"] == address_page("203.0.113.0/24")


def test_an_address_is_counted_from_nought_on_request_and_that_is_an_event(operator: Client) -> None:
    attack(3)
    assert security_event_logger.get_failed_login_count(HOST) == 3
    with capture_events() as events:
        response = operator.post(reverse("admin:secguard_address_reset", args=[HOST]), {"reason": "a test"})
    assert response["Location"] == address_page()
    assert security_event_logger.get_failed_login_count(HOST) == 0
    (told,) = events.of("counters_reset")
    assert [told.context[name] for name in ("subject", "by", "reason")] == [HOST, "operator", "a test"]


def test_a_network_that_rules_count_is_counted_from_nought_too(operator: Client) -> None:
    for number in range(3):
        attack(1, f"203.0.113.{number}", f"user{number}")

    def count() -> int:
        counters = context_of(operator, address_page("203.0.113.0/24"))["counters"]
        return max(each["count"] for each in counters)

    assert count() == 3
    operator.post(reverse("admin:secguard_address_reset", args=["203.0.113.0/24"]))
    assert count() == 0


# -- an account ------------------------------------------------------------------------------------------------------


def test_an_account_under_attack_shows_all_that_is_known_of_it(operator: Client) -> None:
    owner = User.objects.create_user("anna", "anna@example.org")
    for number in range(12):
        attack(1, f"203.0.113.{number}")
    event(message="hers", network=OTHER)
    event(account="bob", message="his")
    records.lock_account("anna", reason="while it lasts", by="eve")
    FailureCount.objects.create(
        digest=digest("anna"), account="anna", count=12, since=ago(hours=1), updated_at=database_now("default")
    )
    context = context_of(operator, account_page())
    facts = dict(context["facts"])
    assert facts["A login"] == "refused: locked, by eve, for good"
    assert facts["Failures in a row"] == 12
    counts = {each["rule"]: (each["count"], each["open"]) for each in context["counters"]}
    assert counts["account_failures"] == (12, False)
    assert counts["distributed_attack"] == (12, True)
    assert [(each.label, each.link) for each in context["addresses"]] == [(OTHER, address_page(OTHER))]
    other = "anna@example.org"
    assert context["other_names"] == [(other, f"{account_page(other)}?name=anna%40example.org")]
    text = text_of(operator, account_page())
    assert "while it lasts" in text
    assert "his" not in [each["message"] for each in context["events"]]
    assert reverse("admin:auth_user_change", args=[owner.pk]) not in text
    User.objects.get(username="operator").user_permissions.add(Permission.objects.get(codename="view_user"))
    assert reverse("admin:auth_user_change", args=[owner.pk]) in text_of(operator, account_page())


def test_a_name_that_nobody_has_has_a_page_too(operator: Client) -> None:
    attack(3, name="nobody")
    without_rows = context_of(operator, account_page("nobody"))
    assert without_rows["counters"] == []
    assert "search for it" in text_of(operator, account_page("nobody"))
    found = operator.get(reverse("admin:secguard_find"), {"q": "nobody"}, follow=True)
    counts = {each["rule"]: each["count"] for each in found.context["counters"]}
    assert counts["account_failures"] == 3
    assert "There is no such user." in found.content.decode()


def test_another_name_in_the_address_bar_is_not_believed(viewer: Client) -> None:
    event(account="anna")
    context = context_of(viewer, account_page() + "?name=bob")
    assert context["subject"] == "anna"


def test_a_name_that_is_not_shown_as_it_was_is_known_by_its_digest_alone(viewer: Client) -> None:
    event(account="account:0123456789abcdef", account_digest=digest("anna"))
    context = context_of(viewer, account_page())
    assert (context["subject"], context["name"]) == ("account:0123456789abcdef", "")


def test_hostile_names_have_pages_and_stay_text(operator: Client) -> None:
    for name in (HOSTILE, "../../etc", "a/b", "?x=1#y", "ünï©ode", "x" * 3_000):
        records.lock_account(name)
        found = operator.get(reverse("admin:secguard_find"), {"q": name}, follow=True)
        assert found.status_code == 200
        assert "<script>alert" not in found.content.decode()
        for each in found.context["decisions"]:
            assert operator.post(each["lift_url"]).status_code == 302
    assert not AccountLock.objects.filter(lifted_at=None).exists()


@pytest.mark.parametrize("wrong", ["x", "0" * 31, "0" * 33, "G" * 32, "A" * 32])
def test_what_is_no_digest_has_no_page(viewer: Client, wrong: str) -> None:
    assert viewer.get(reverse("admin:secguard_account", args=[wrong])).status_code == 404


def test_an_account_is_locked_unlocked_and_counted_from_nought_from_its_page(operator: Client) -> None:
    attack(3)
    page = f"{account_page()}?name=anna"
    context = context_of(operator, page)
    response = operator.post(context["lock_url"], {**context["lock_form"].initial, "scope": "all"}, follow=True)
    assert response.redirect_chain == [(account_page(), 302)]
    (lift_url,) = (each["lift_url"] for each in response.context["decisions"])
    operator.post(lift_url, {"reason": "hers"})
    assert AccountLock.objects.get().lift_reason == "hers"
    attack(3)
    with capture_events() as events:
        response = operator.post(context["reset_url"], {"account": "anna", "reason": "a test"})
    assert response["Location"] == page
    assert {each["count"] for each in context_of(operator, page)["counters"]} == {0}
    (told,) = events.of("counters_reset")
    assert [told.context[name] for name in ("username", "by", "reason")] == ["anna", "operator", "a test"]


def test_an_account_is_locked_by_its_digest_where_its_name_is_not_known(operator: Client) -> None:
    context = context_of(operator, account_page("secret"))
    operator.post(context["lock_url"], {**context["lock_form"].initial, "scope": "all"})
    assert AccountLock.objects.get().digest == digest("secret")


def test_a_reset_is_only_of_whom_the_page_is_about(operator: Client) -> None:
    attack(3, name="bob")
    operator.post(reverse("admin:secguard_account_reset", args=[digest("anna")]), {"account": "bob"})
    found = operator.get(reverse("admin:secguard_find"), {"q": "bob"}, follow=True)
    assert {each["rule"]: each["count"] for each in found.context["counters"]}["account_failures"] == 3


# -- while something is away -----------------------------------------------------------------------------------------


def test_while_the_store_is_away_the_pages_say_that_the_counters_are_unknown(
    operator: Client, dead_redis_url: str
) -> None:
    row()
    lock_row(digest("anna"), account="anna")
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url}):
        for page in (address_page(), account_page(), address_page("203.0.113.0/24")):
            text = text_of(operator, page)
            assert "the counters are unknown" in text
            assert "<dt>Open threats</dt><dd>unknown</dd>" in text
        block = Block.objects.get()
        response = operator.post(reverse("admin:secguard_block_lift", args=[block.pk]), {"reason": "still possible"})
        assert response.status_code == 302
    block.refresh_from_db()
    assert block.lift_reason == "still possible"


def test_with_counters_of_each_process_alone_the_pages_say_so(viewer: Client) -> None:
    assert "each process's own" in text_of(viewer, address_page()).replace("&#x27;", "'")


def test_before_the_tables_are_made_the_pages_say_what_to_do(operator: Client) -> None:
    with without_block_table():
        for page in (reverse("admin:secguard_block_changelist"), address_page()):
            response = operator.get(page)
            assert response.status_code == 503
            assert "manage.py migrate" in response.content.decode()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE secguard_eventrecord RENAME TO secguard_away")
    for page in (reverse(LIST), account_page(), reverse("admin:secguard_eventrecord_export", args=["csv"])):
        assert operator.get(page).status_code == 503
    assert operator.get(reverse("admin:app_list", args=["secguard"])).status_code == 200
