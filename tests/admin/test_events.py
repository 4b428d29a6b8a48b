"""The list of events and the page of each: read, found, and never changed."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from secguard import emit
from secguard.admin import narrowing, paging
from secguard.models import EventRecord
from tests.admin.rows import HOST, HOSTILE, IPV6, LIST, NOON, OTHER, account_page, address_page, digest, event, events

pytestmark = pytest.mark.django_db


def listed(client: Client, query: str = "", **parameters: Any) -> list[str]:
    """The messages of the events that the list shows, in its order."""
    response = client.get(reverse(LIST) + query, parameters)
    assert response.status_code == 200, response.get("Location")
    return [row.message for row in response.context["cl"].result_list]


# -- nothing is written --------------------------------------------------------------------------------------------


def test_an_event_cannot_be_added_changed_or_deleted_by_anybody(admin_client: Client) -> None:
    row = event(message="as it was")
    changed = {"message": "as I want it", "event_type": "login_success"}
    for page, args in (("add", []), ("delete", [row.pk])):
        for ask in (admin_client.get, admin_client.post):
            assert ask(reverse(f"admin:secguard_eventrecord_{page}", args=args), changed).status_code == 403
    change = reverse("admin:secguard_eventrecord_change", args=[row.pk])
    assert admin_client.post(change, changed).status_code == 403
    page = admin_client.get(change).content.decode()
    assert 'name="_save"' not in page
    assert 'name="message"' not in page
    assert list(EventRecord.objects.values_list("message", flat=True)) == ["as it was"]


def test_the_list_has_no_actions(admin_client: Client) -> None:
    row = event()
    done = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    admin_client.post(reverse(LIST), done)
    assert EventRecord.objects.exists()
    assert 'name="action"' not in admin_client.get(reverse(LIST)).content.decode()


# -- shown -----------------------------------------------------------------------------------------------------------


def test_each_event_is_shown_with_links_to_whom_it_is_about(viewer: Client) -> None:
    event(severity="critical", rule="brute_force", count=5)
    page = viewer.get(reverse(LIST)).content.decode()
    assert f'href="{address_page()}"' in page
    assert f'href="{account_page()}"' in page
    assert '<span class="sg-severity sg-critical">critical</span>' in page
    assert "brute_force" in page


def test_what_is_hostile_is_shown_as_text_on_every_page(viewer: Client) -> None:
    hostile = dict.fromkeys(("message", "account", "user_agent", "path", "request_id", "rule", "method"), HOSTILE[:16])
    row = event(**hostile | {"message": HOSTILE, "user_agent": HOSTILE, "extra": {HOSTILE: [HOSTILE]}})
    for page in (
        reverse(LIST),
        reverse(LIST) + "?rule=" + "%3Cscript%3E",
        reverse(LIST) + "?q=%3Cscript%3E",
        reverse("admin:secguard_eventrecord_change", args=[row.pk]),
        address_page(),
        account_page(HOSTILE[:16]),
    ):
        text = viewer.get(page).content.decode()
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "&lt;script&gt;" in text


def test_the_page_of_an_event_shows_every_field(viewer: Client) -> None:
    row = event(
        ip_address="2001:db8::7", network=IPV6, country="DE", user_id="17", rule="trap", count=3, method="PATCH",
        path="/secret/place", request_id="req-1", extra={"reason": "weil", "nested": {"a": [1]}},
    )  # fmt: skip
    text = viewer.get(reverse("admin:secguard_eventrecord_change", args=[row.pk])).content.decode()
    for field in EventRecord._meta.fields:
        value = getattr(row, field.name)
        if field.name not in ("id", "timestamp", "extra") and value is not None:
            assert str(value) in text, field.name
    assert "&quot;reason&quot;: &quot;weil&quot;" in text
    assert "Nov. 20, 2026" in text


def test_times_are_those_of_the_zone(viewer: Client) -> None:
    row = event()
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        text = viewer.get(reverse("admin:secguard_eventrecord_change", args=[row.pk])).content.decode()
    assert "Nov. 20, 2026, 21:00:00" in text


def test_the_pages_hold_no_script_and_no_style_of_their_own(admin_client: Client) -> None:
    row = event()
    for page in (
        reverse(LIST),
        reverse("admin:secguard_eventrecord_change", args=[row.pk]),
        reverse("admin:secguard_block_changelist"),
        reverse("admin:secguard_block_add"),
        address_page(),
        account_page(),
        reverse("admin:app_list", args=["secguard"]),
    ):
        text = admin_client.get(page).content.decode()
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        scripts = text.split("<script")[1:]
        assert all("src=" in tag or "application/json" in tag for tag in (each.split(">")[0] for each in scripts)), page


# -- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("event_type__exact", "of_our_own"),
        ("event_type", "of_our_own"),
        ("category__exact", "account"),
        ("severity__exact", "critical"),
        ("rule", "trap"),
        ("rule__exact", "trap"),
        ("country", "TV"),
        ("network", OTHER),
        ("account_digest", "0" * 32),
    ],
)
def test_a_filter_leaves_the_events_of_one_value(viewer: Client, parameter: str, value: str) -> None:
    event(message="another")
    event(message="wanted", **{parameter.partition("__")[0]: value})
    assert listed(viewer, **{parameter: value}) == ["wanted"]


def test_filters_add_up(viewer: Client) -> None:
    event(message="a", severity="critical", country="TV", rule="trap")
    event(message="b", severity="critical", country="TV")
    event(message="c", severity="critical", rule="trap")
    assert listed(viewer, severity__exact="critical", country="TV") == ["b", "a"]
    assert listed(viewer, severity__exact="critical", country="TV", rule="trap") == ["a"]
    assert listed(viewer, severity__exact="critical", country="TV", rule="trap", q=HOST) == ["a"]
    assert listed(viewer, severity__exact="info", country="TV") == []


def test_a_period_has_a_begin_that_counts_and_an_end_that_does_not(viewer: Client) -> None:
    for hours in range(4):
        event(message=str(hours), timestamp=NOON + timedelta(hours=hours))
    query = {"timestamp__gte": "2026-11-20T13:00:00Z", "timestamp__lt": "2026-11-20T15:00:00+00:00"}
    assert listed(viewer, **query) == ["2", "1"]
    assert listed(viewer, "?timestamp__gte=2026-11-20T15:00:00+01:00") == ["3", "2"]
    with override_settings(TIME_ZONE="Europe/Berlin"):
        assert listed(viewer, timestamp__lt="2026-11-20T14:00:00") == ["0"]


def test_what_makes_no_sense_in_the_address_is_no_error(viewer: Client) -> None:
    event()
    senseless = (
        "timestamp__gte=yesterday",
        "timestamp__lt=9999999",
        "timestamp__year=x",
        "p=0",
        "p=x",
        "q=%00",
        "o=9.-1",
    )
    for query in senseless:
        assert viewer.get(f"{reverse(LIST)}?{query}").status_code in (200, 302), query
    long = "x" * 3_000
    for query in ("country=%00", f"rule={long}", f"q={long}", "severity__exact=", "q=%F0%9F%92%A9"):
        assert listed(viewer, f"?{query}") == [], query


@pytest.mark.parametrize(
    "lookup", ["message__contains", "path__regex", "id__in", "user_agent__icontains", "extra__reason", "rule__gte"]
)
def test_no_other_look_up_reaches_the_database(viewer: Client, lookup: str) -> None:
    event()
    assert viewer.get(reverse(LIST), {lookup: "a"}).status_code == 400


def test_what_a_filter_offers_does_not_come_from_the_table(viewer: Client) -> None:
    event(event_type="of_our_own", rule="gone", country="TV")
    text = viewer.get(reverse(LIST)).content.decode()
    assert "rule__exact=brute_force" in text
    assert "event_type__exact=suspicious_activity" in text
    assert "of_our_own" in text  # the row
    assert "event_type__exact=of_our_own" not in text
    chosen = viewer.get(reverse(LIST), {"event_type__exact": "of_our_own"}).content.decode()
    assert 'class="selected">\n    <a href="?event_type__exact=of_our_own">' in chosen


@override_settings(SECGUARD={"PERSIST_EVENTS": "all", "RULES": {"mine": {"events": "of_our_own", "subject": "address",
                                                                        "threshold": 3, "window": 60}}})  # fmt: skip
def test_a_filter_offers_the_types_and_rules_that_the_settings_name(viewer: Client) -> None:
    text = viewer.get(reverse(LIST)).content.decode()
    for query in ("event_type__exact=of_our_own", "event_type__exact=login_failed", "rule__exact=mine"):
        assert query in text


# -- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["203.0.113.7", " 203.0.113.7/32 ", "::ffff:203.0.113.7", "203.0.113.0/24"])
def test_an_address_is_found_in_any_spelling_and_by_its_network(viewer: Client, term: str) -> None:
    event(message="wanted")
    event(message="another", network=OTHER)
    assert listed(viewer, q=term) == ["wanted"]


@pytest.mark.parametrize(
    "term", ["2001:db8::1", "2001:DB8:0::ffff", "2001:db8::/64", "2001:db8::1/128", "2001:db8::/56"]
)
def test_an_address_of_ipv6_is_found_by_its_64(viewer: Client, term: str) -> None:
    event(message="wanted", network=IPV6)
    event(message="another", network="2001:db9::/64")
    assert listed(viewer, q=term) == ["wanted"]


def test_a_network_that_is_too_wide_is_refused_with_the_reason(viewer: Client) -> None:
    event()
    response = viewer.get(reverse(LIST), {"q": "203.0.0.0/16"})
    assert response.context["cl"].result_list == []
    assert "203.0.0.0/16 is too wide" in response.content.decode()


@pytest.mark.parametrize("term", ["anna", " Anna ", "ＡＮＮＡ"])
def test_an_account_is_found_by_its_name_as_it_is_counted(viewer: Client, term: str) -> None:
    event(message="wanted")
    event(message="another", account="annabel")
    assert listed(viewer, q=term) == ["wanted"]
    assert listed(viewer, q=digest("anna")) == ["wanted"]


def test_ids_are_found_exactly(viewer: Client) -> None:
    row = event(message="wanted", request_id="req-77")
    event(message="another", request_id="req-777")
    assert listed(viewer, q="req-77") == ["wanted"]
    assert listed(viewer, q=str(row.event_id)) == ["wanted"]
    assert listed(viewer, q=str(uuid.uuid4())) == []


def test_a_client_cannot_hide_an_account_behind_a_request_id(viewer: Client) -> None:
    event(message="the account's")
    event(message="the client's", account="", request_id="anna")
    assert sorted(listed(viewer, q="anna")) == ["the account's", "the client's"]


def test_a_search_leads_to_the_page_that_tells_more(viewer: Client) -> None:
    assert f'href="{address_page()}"' in viewer.get(reverse(LIST), {"q": HOST}).content.decode()
    assert f'href="{account_page()}?name=anna"' in viewer.get(reverse(LIST), {"q": "anna"}).content.decode()


@pytest.mark.parametrize(
    ("term", "path"),
    [
        (HOST, "address/203.0.113.7/"),
        ("2001:db8::1", "address/2001:db8::/64/"),
        ("203.0.113.0/24", "address/203.0.113.0/24/"),
        ("00000000-0000-4000-8000-000000000000", "?q=00000000-0000-4000-8000-000000000000"),
        ("", ""),
    ],
)
def test_the_box_leads_to_the_page_of_whatever_is_typed(viewer: Client, term: str, path: str) -> None:
    response = viewer.get(reverse("admin:secguard_find"), {"q": term})
    assert response["Location"] == reverse(LIST) + path


def test_the_box_leads_to_an_account_that_no_row_names(viewer: Client) -> None:
    location = viewer.get(reverse("admin:secguard_find"), {"q": "Somebody@Example.org"})["Location"]
    assert location.startswith(account_page("somebody@example.org"))
    assert "Somebody@Example.org" in viewer.get(location).content.decode()


# -- time ------------------------------------------------------------------------------------------------------------


def test_the_calendar_leads_from_years_over_months_to_days(viewer: Client) -> None:
    event(message="old", timestamp=NOON - timedelta(days=400))
    event(message="new", timestamp=NOON)

    def steps(query: str) -> tuple[list[str], str]:
        calendar = viewer.get(reverse(LIST) + query).context["cl"].calendar
        return [step.title for step in calendar.choices], calendar.back.link if calendar.back else ""

    assert steps("") == (["2025", "2026"], "")
    months, back = steps("?timestamp__year=2026")
    assert (months[0], months[-1], back) == ("January 2026", "November 2026", "?")
    assert steps("?timestamp__year=2025")[0][0] == "October 2025"
    days, back = steps("?timestamp__year=2026&timestamp__month=11")
    assert (days[0], days[-1], back) == ("November 1", "November 20", "?timestamp__year=2026")
    query = "?timestamp__year=2026&timestamp__month=11&timestamp__day=20"
    assert steps(query) == (["November 20"], "?timestamp__month=11&timestamp__year=2026")
    assert listed(viewer, query) == ["new"]
    assert listed(viewer, "?timestamp__year=2025") == ["old"]


def test_the_calendar_of_no_events_is_none(viewer: Client) -> None:
    assert viewer.get(reverse(LIST)).context["cl"].calendar is None


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_what_is_counted_has_a_bound_and_the_list_says_so(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 100)
    events(150)
    response = viewer.get(reverse(LIST))
    assert response.context["cl"].result_count == 100
    assert "more than 100" in " ".join(response.content.decode().split())
    searched = viewer.get(reverse(LIST), {"q": HOST})
    assert "more than 100 results" in " ".join(searched.content.decode().split())
    assert viewer.get(reverse(LIST), {"p": 3}).status_code == 302


def test_the_last_page_that_is_counted_leads_to_what_is_older(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 100)
    events(220, message="one")
    seen: list[int] = []
    query = ""
    while True:
        for page in (1, 2, 3):
            response = viewer.get(f"{reverse(LIST)}?{query}&p={page}")
            if response.status_code == 302:
                break
            changelist = response.context["cl"]
            seen += [row.pk for row in changelist.result_list]
            older = changelist.older
        if not older:
            break
        assert f'href="{older}"'.replace("&", "&amp;") in response.content.decode() or response.status_code == 302
        query = older[1:]
    assert sorted(seen) == sorted(EventRecord.objects.values_list("pk", flat=True))


def test_a_page_is_found_by_the_keys_that_an_index_holds(viewer: Client) -> None:
    events(120)
    numbers = [len(viewer.get(reverse(LIST), {"p": page}).context["cl"].result_list) for page in (1, 2, 3)]
    assert numbers == [50, 50, 20]
    assert len(viewer.get(reverse(LIST), {"all": ""}).context["cl"].result_list) == 120


def test_among_too_many_events_only_the_latest_are_looked_at_and_the_list_says_so(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MOST_EXAMINED", 10)
    event(message="long ago", severity="error", timestamp=NOON - timedelta(days=1))
    events(30)
    event(message="just now", severity="error")
    both = {"category__exact": "authorization", "network": HOST, "severity__exact": "error"}
    assert listed(viewer, **both) == ["just now", "long ago"]  # the rarest of the three are few
    for number in range(12):
        event(message="much", severity="error", country="DE", timestamp=NOON + timedelta(seconds=number))
    found = viewer.get(reverse(LIST), both)
    assert "long ago" not in [row.message for row in found.context["cl"].result_list]
    assert "only the latest" in found.content.decode()
    day = {"timestamp__year": "2026", "timestamp__month": "11", "timestamp__day": "19"}
    assert listed(viewer, **both, **day) == ["long ago"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "p=2",
        "q=203.0.113.7",
        "q=203.0.113.0/24",
        "q=anna",
        "event_type__exact=permission_denied",
        "category__exact=authorization",
        "severity__exact=warning",
        "rule=brute_force",
        "country=DE",
        "network=203.0.113.7",
        "timestamp__year=2026&timestamp__month=11",
        "severity__exact=warning&category__exact=account&rule=trap",
    ],
)
def test_every_query_of_the_list_uses_an_index(viewer: Client, query: str) -> None:
    events(120)
    with CaptureQueriesContext(connection) as captured:
        viewer.get(f"{reverse(LIST)}?{query}")
    asked = [each["sql"] for each in captured if '"secguard_eventrecord"' in each["sql"]]
    assert asked
    for sql in asked:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
            plan = [row[-1] for row in cursor.fetchall()]
        reads = [step for step in plan if step.startswith(("SCAN", "SEARCH")) and "subquery" not in step]
        assert all("USING" in step for step in reads), (sql, plan)


def test_the_number_of_queries_does_not_grow_with_the_rows(viewer: Client) -> None:
    row = event()

    def queries(page: str) -> int:
        emit.get_tally().take()  # or the dashboard writes it first
        with CaptureQueriesContext(connection) as captured:
            assert viewer.get(page).status_code == 200
        # Each panel of the dashboard is a transaction, which inside a test's is a savepoint.
        return sum("SAVEPOINT" not in query["sql"] for query in captured)

    pages = {
        reverse(LIST): 9,
        reverse(LIST) + f"?q={HOST}&severity__exact=warning": 11,
        reverse("admin:secguard_eventrecord_change", args=[row.pk]): 5,
        address_page(): 12,
        address_page("203.0.113.0/24"): 12,
        account_page(): 11,
        reverse("admin:app_list", args=["secguard"]): 12,
    }
    for page in pages:  # the process reads blocks and types of content once
        queries(page)
    before = {page: queries(page) for page in pages}
    events(300)
    for number in range(40):
        event(account=f"user{number}", network=f"203.0.113.{number}", user_agent=f"agent {number}")
    assert {page: queries(page) for page in pages} == before == pages


@pytest.mark.parametrize(
    "query",
    [
        "timestamp__month=2",
        "timestamp__day=7",
        "timestamp__year=2026&timestamp__day=7",
        "timestamp__year=9999",
        "timestamp__gte=0001-01-01T00:00:00%2B14:00",
        "timestamp__gte=9999-12-31T23:59:59-14:00",
    ],
)
def test_a_time_that_would_read_the_whole_table_or_is_none_is_refused(viewer: Client, query: str) -> None:
    event()
    assert viewer.get(f"{reverse(LIST)}?{query}").status_code in (302, 400)
