"""Blocks, allowed networks and account locks: taken and lifted as the command does it, and never edited."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from secguard import records
from secguard.admin import decisions
from secguard.logging import security_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block
from secguard.testing import capture_events
from tests.admin.rows import HOST, IPV6, OTHER, account_page, address_page, digest
from tests.records.rows import ago, is_allowed, is_blocked, lock_row, row

pytestmark = pytest.mark.django_db
BLOCKS, LOCKS = reverse("admin:secguard_block_changelist"), "admin:secguard_accountlock_changelist"


def add(client: Client, what: str, **given: Any) -> HttpResponse:
    response: HttpResponse = client.post(reverse(f"admin:secguard_{what}_add"), given)
    return response


def lift(client: Client, row: Any, reason: str = "") -> HttpResponse:
    page = reverse(f"admin:secguard_{row._meta.model_name}_lift", args=[row.pk])
    response: HttpResponse = client.post(page, {"reason": reason})
    return response


def said(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def errors(response: Any, field: str) -> list[str]:
    return list(response.context["form"].errors.get(field, []))


def shown(client: Client, page: str, **parameters: Any) -> list[str]:
    response = client.get(page, parameters)
    assert response.status_code == 200
    return [str(each) for each in response.context["cl"].result_list]


# -- adding ----------------------------------------------------------------------------------------------------------


def test_a_block_is_in_force_at_once_and_leads_to_the_page_of_its_address(operator: Client) -> None:
    with capture_events() as events:
        response = add(operator, "block", network=" 203.0.113.7/32 ", duration="3600", reason="guesses")
    assert response["Location"] == address_page()
    assert is_blocked()
    block = Block.objects.get()
    assert (block.network, block.reason, block.created_by, block.rule) == (HOST, "guesses", "operator", "")
    assert block.expires_at == block.created_at + timedelta(hours=1)
    (event,) = events.of("address_blocked")
    assert (event.context["subject"], event.context["by"]) == (HOST, "operator")
    assert LogEntry.objects.get().object_id == str(block.pk)


def test_a_block_may_last_for_good_and_be_of_a_network(operator: Client) -> None:
    add(operator, "block", network="2001:db8::/48", duration="")
    block = Block.objects.get()
    assert (block.network, block.expires_at) == ("2001:db8::/48", None)


def test_a_single_address_of_ipv6_is_blocked_by_its_64(operator: Client) -> None:
    assert add(operator, "block", network="2001:db8::1")["Location"] == address_page(IPV6)
    assert Block.objects.get().network == IPV6


@pytest.mark.parametrize("wrong", ["", "nonsense", "203.0.113.7/24", "203.0.113.0/33", "a" * 200, "203.0.113.7\n=1"])
def test_what_is_no_network_is_said_at_its_field(operator: Client, wrong: str) -> None:
    for what in ("block", "allowednetwork"):
        response = add(operator, what, network=wrong)
        assert response.status_code == 200
        assert errors(response, "network")
    assert not Block.objects.exists()
    assert not AllowedNetwork.objects.exists()


def test_a_network_too_wide_to_be_allowed_is_said_at_its_field(operator: Client) -> None:
    assert "too wide" in errors(add(operator, "allowednetwork", network="0.0.0.0/1"), "network")[0]


@pytest.mark.parametrize("network", ["192.0.2.44", "192.0.2.0/24", "0.0.0.0/0", "::ffff:192.0.2.44"])
def test_an_operator_who_would_block_himself_is_asked_first(operator: Client, network: str) -> None:
    response = add(operator, "block", network=network, reason="tests")
    assert "192.0.2.44, the address you are connected from" in errors(response, "confirmed")[0]
    assert not Block.objects.exists()
    text = response.content.decode()
    assert '<input type="checkbox" name="confirmed"' in text
    assert 'value="tests"' in text
    assert add(operator, "block", network=network, reason="tests", confirmed="on").status_code == 302
    assert Block.objects.count() == 1


def test_a_good_part_of_the_internet_is_blocked_only_after_a_question(operator: Client) -> None:
    response = add(operator, "block", network="2000::/3")
    assert errors(response, "confirmed") == ["2000::/3 is a good part of the internet."]


def test_a_link_answers_no_question(operator: Client) -> None:
    asked = {"network": "2000::/3", "duration": "", "confirmed": "on"}
    page = operator.get(reverse("admin:secguard_block_add"), asked)
    assert page.context["form"]["network"].value() == "2000::/3"
    assert not page.context["form"]["confirmed"].value()


def test_another_address_is_blocked_without_a_question(operator: Client) -> None:
    assert "checkbox" not in operator.get(reverse("admin:secguard_block_add")).content.decode()
    assert add(operator, "block", network="192.0.2.45").status_code == 302


def test_the_form_may_be_filled_by_a_link(operator: Client) -> None:
    text = operator.get(reverse("admin:secguard_block_add"), {"network": HOST}).content.decode()
    assert f'value="{HOST}"' in text


def test_a_network_is_allowed_and_its_block_lifted(operator: Client) -> None:
    records.block_network(HOST)
    assert add(operator, "allowednetwork", network=HOST, reason="a partner").status_code == 302
    assert is_allowed()
    assert not is_blocked()
    assert Block.objects.get().lifted_by == "operator"


def test_an_account_is_locked_whether_it_exists_or_not(operator: Client) -> None:
    response = add(operator, "accountlock", account=" Anna ", scope="unknown_devices", duration="900", reason="why")
    assert response["Location"] == account_page()
    lock = AccountLock.objects.get()
    assert (lock.account, lock.digest, lock.scope, lock.created_by) == (
        "anna", digest("anna"), "unknown_devices", "operator",
    )  # fmt: skip


@pytest.mark.parametrize("given", [{"account": ""}, {"account": "  "}, {"account": "anna", "scope": "some"}])
def test_what_is_no_lock_is_said_at_its_field(operator: Client, given: dict[str, str]) -> None:
    response = add(operator, "accountlock", **{"scope": "all", **given})
    assert response.status_code == 200
    assert response.context["form"].errors
    assert not AccountLock.objects.exists()


@pytest.mark.parametrize("name", ["operator", "Operator@Example.org"])
def test_an_operator_who_would_lock_himself_is_asked_first(operator: Client, name: str) -> None:
    response = add(operator, "accountlock", account=name, scope="all")
    assert "your own account" in errors(response, "confirmed")[0]
    assert not AccountLock.objects.exists()
    assert add(operator, "accountlock", account=name, scope="all", confirmed="on").status_code == 302


def test_an_unknown_duration_is_refused(operator: Client) -> None:
    assert errors(add(operator, "block", network=HOST, duration="1e9"), "duration")


# -- lifting ---------------------------------------------------------------------------------------------------------


def guessed(times: int = 5) -> Block:
    """HOST guessed so often that the rule blocked it."""
    for _ in range(times):
        security_event_logger.log_login_failed(username="anna", ip_address=HOST)
    return Block.objects.get()


def test_a_block_is_lifted_with_the_reason_and_its_threat_is_closed(operator: Client) -> None:
    block = guessed()
    assert security_event_logger.is_suspicious_activity(ip_address=HOST)
    with capture_events() as events:
        response = lift(operator, block, "a mistake")
    assert response["Location"] == address_page()
    assert said(response) == [f"{HOST}: 1 row was lifted."]
    assert not is_blocked()
    assert not security_event_logger.is_suspicious_activity(ip_address=HOST)
    block.refresh_from_db()
    assert (block.lifted_by, block.lift_reason) == ("operator", "a mistake")
    assert events.of("address_unblocked")[0].context["reason"] == "a mistake"
    entry = LogEntry.objects.get()
    # Nobody erases that history: it names neither the address nor what somebody wrote.
    assert (entry.get_change_message(), entry.object_repr) == ("Lifted", str(block.reference))


def test_what_is_over_is_not_lifted_again(operator: Client) -> None:
    block = row(expires_at=ago(seconds=5), created_at=ago(seconds=60))
    response = lift(operator, block)
    assert said(response) == [f"{HOST} was not in force any more."]
    block.refresh_from_db()
    assert block.lifted_at is None
    page = operator.get(reverse("admin:secguard_block_change", args=[block.pk])).content.decode()
    assert "sg-lift" not in page
    assert "expired" in page


def test_what_refuses_it_all_the_same_is_said(operator: Client) -> None:
    row("203.0.113.0/24")
    row(HOST, list_name="feed")
    response = lift(operator, Block.objects.get(network=HOST))
    assert said(response)[1:] == [
        "It is still inside the blocked network 203.0.113.0/24.",
        "It is on the list feed, whose next import blocks it again: allow it instead.",
    ]


def test_a_reason_is_kept_as_text_of_bounded_length(operator: Client) -> None:
    block = row()
    lift(operator, block, "<b>" + "x" * 300)
    block.refresh_from_db()
    assert block.lift_reason == "<b>" + "x" * 252
    page = operator.get(reverse("admin:secguard_block_change", args=[block.pk])).content.decode()
    assert "<b>xx" not in page


def test_an_allowed_network_is_taken_back(operator: Client) -> None:
    records.allow_network(HOST)
    lift(operator, AllowedNetwork.objects.get(), "moved")
    assert not is_allowed()
    assert AllowedNetwork.objects.get().lift_reason == "moved"


def test_an_account_is_unlocked(operator: Client) -> None:
    records.lock_account("anna")
    response = lift(operator, AccountLock.objects.get(), "it was her")
    assert response["Location"] == account_page()
    lock = AccountLock.objects.get()
    assert (lock.lifted_by, lock.lift_reason) == ("operator", "it was her")


def test_a_lock_whose_name_was_erased_is_lifted_by_its_digest(operator: Client) -> None:
    lock = lock_row(digest("anna"))
    lift(operator, lock)
    lock.refresh_from_db()
    assert lock.lifted_at is not None


def test_what_is_not_there_cannot_be_lifted(operator: Client) -> None:
    for key in ("999", "x", "../1"):
        response = operator.post(f"{BLOCKS}{key}/lift/")
        assert response.status_code in (302, 404)


def test_several_are_lifted_at_once_with_one_reason(operator: Client) -> None:
    kept = row(OTHER)
    rows = [row(f"203.0.113.{number}") for number in (0, 1, 2, 1)]
    rows.append(row("203.0.113.9", lifted_at=ago(seconds=1)))
    chosen = {"action": "lift_selected", "_selected_action": [each.pk for each in rows], "reason": "too strict"}
    response = operator.post(BLOCKS, chosen)
    assert said(response) == ["4 rows were lifted."]
    assert list(Block.objects.filter(lift_reason="too strict").values_list("pk", flat=True).order_by("pk")) == [
        each.pk for each in rows[:4]
    ]
    kept.refresh_from_db()
    assert kept.lifted_at is None


def test_no_more_are_lifted_at_once_than_can_be_told_of(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MOST_LIFTED", 2)
    rows = [row(f"203.0.113.{number}") for number in range(3)]
    response = operator.post(BLOCKS, {"action": "lift_selected", "_selected_action": [each.pk for each in rows]})
    assert "at most 2 at once" in said(response)[0]
    assert not Block.objects.exclude(lifted_at=None).exists()


def test_who_may_only_look_has_no_action(viewer: Client) -> None:
    from django.contrib.auth.models import Permission, User

    User.objects.get(username="viewer").user_permissions.add(Permission.objects.get(codename="view_block"))
    block = row()
    viewer.post(BLOCKS, {"action": "lift_selected", "_selected_action": [block.pk]})
    block.refresh_from_db()
    assert block.lifted_at is None
    assert "lift_selected" not in viewer.get(BLOCKS).content.decode()
    page = viewer.get(reverse("admin:secguard_block_change", args=[block.pk])).content.decode()
    assert "sg-lift" not in page


# -- never edited ----------------------------------------------------------------------------------------------------


def test_a_decision_cannot_be_changed_or_deleted_by_anybody(admin_client: Client) -> None:
    block = row(reason="as it was")
    page = reverse("admin:secguard_block_change", args=[block.pk])
    assert admin_client.post(page, {"reason": "other", "network": OTHER}).status_code == 403
    assert admin_client.post(reverse("admin:secguard_block_delete", args=[block.pk])).status_code == 403
    assert admin_client.get(page).status_code == 200
    block.refresh_from_db()
    assert (block.reason, block.network) == ("as it was", HOST)


# -- finding ---------------------------------------------------------------------------------------------------------


def test_the_list_says_in_words_what_holds_and_for_how_long(operator: Client) -> None:
    row("203.0.113.1")
    row("203.0.113.2", expires_at=ago(seconds=-7_290))
    row("203.0.113.3", expires_at=ago(seconds=60))
    row("203.0.113.4", lifted_at=ago(seconds=60))
    text = operator.get(BLOCKS).content.decode()
    for words in ("in force", "expired", "lifted", "for good", "2 hours 1 minute"):
        assert words in text


def test_decisions_are_filtered_by_state_rule_and_list(operator: Client) -> None:
    row("203.0.113.1", rule="brute_force")
    row("203.0.113.2", expires_at=ago(seconds=60))
    row("203.0.113.3", lifted_at=ago(seconds=60), rule="of_old")
    row("203.0.113.4", list_name="feed")
    assert shown(operator, BLOCKS, state="in_force") == ["203.0.113.4", "203.0.113.1"]
    assert shown(operator, BLOCKS, state="ended") == ["203.0.113.3", "203.0.113.2"]
    assert shown(operator, BLOCKS, rule="brute_force") == ["203.0.113.1"]
    assert shown(operator, BLOCKS, rule="of_old") == ["203.0.113.3"]
    assert shown(operator, BLOCKS, rule="-", list="-") == ["203.0.113.2"]
    assert shown(operator, BLOCKS, list="+") == ["203.0.113.4"] == shown(operator, BLOCKS, list="feed")
    assert operator.get(BLOCKS, {"network__contains": "2"}).status_code == 400


def test_a_search_finds_what_covers_an_address_and_what_lies_in_a_network(operator: Client) -> None:
    row("203.0.113.0/24")
    row(HOST)
    row(OTHER)
    row(IPV6)
    assert shown(operator, BLOCKS, q="203.0.113.7") == [HOST, "203.0.113.0/24"]
    assert shown(operator, BLOCKS, q="203.0.113.8") == ["203.0.113.0/24"]
    assert shown(operator, BLOCKS, q="203.0.113.0/24") == [HOST, "203.0.113.0/24"]
    assert shown(operator, BLOCKS, q="2001:db8::99") == [IPV6]
    assert shown(operator, BLOCKS, q="nonsense") == []
    reference = Block.objects.get(network=OTHER).reference
    assert shown(operator, BLOCKS, q=str(reference)) == [OTHER]


def test_a_lock_is_found_by_the_name_of_its_account(operator: Client) -> None:
    records.lock_account("anna")
    records.lock_account("annabel")
    assert shown(operator, reverse(LOCKS), q="Anna") == ["anna"]
    assert shown(operator, reverse(LOCKS), q=digest("anna")) == ["anna"]
    assert shown(operator, reverse(LOCKS), q="") == ["annabel", "anna"]


def test_the_number_of_queries_does_not_grow_with_the_decisions(operator: Client) -> None:
    block = row()

    def queries(page: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(page).status_code == 200
        # Django 5.1 shows an object in a transaction, which inside a test's is a savepoint.
        return sum("SAVEPOINT" not in query["sql"] for query in captured)

    pages = {
        BLOCKS: 7,
        f"{BLOCKS}?state=in_force&q=203.0.113.7": 7,
        reverse("admin:secguard_block_change", args=[block.pk]): 6,
        reverse("admin:secguard_block_add"): 4,
        reverse(LOCKS): 7,
    }
    lock_row(digest("anna"), account="anna")
    queries(BLOCKS)  # the process reads the blocks once
    queries(reverse("admin:secguard_block_change", args=[block.pk]))
    before = {page: queries(page) for page in pages}
    for number in range(60):
        row(f"203.0.113.{number}")
        lock_row(digest(str(number)), account=str(number))
    assert {page: queries(page) for page in pages} == before == pages
