"""The page in the admin, and the numbers that it asks for."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, reverse

from secguard.admin import EventRecordAdmin
from secguard.models import EventRecord
from tests.dashboard.conftest import Record, Tally, row, staff

INDEX = "/admin/secguard/"
DATA = "/admin/secguard/eventrecord/dashboard/data/"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"

another = AdminSite("another")
another.register(EventRecord, EventRecordAdmin)
bare = AdminSite("bare")
bare.register(User)
urlpatterns = [
    path("", include("tests.urls")),
    path("another/", another.urls),
    path("bare/", bare.urls),
]


class _Inline(HTMLParser):
    """What a strict Content-Security-Policy would not run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given and given.get("type") != "application/json"):
            self.found.append(tag)
        if any((given.get(name) or "").lower().startswith(("javascript:", "http", "//")) for name in ("src", "href")):
            self.found.append(f"{tag} {given}")


# -- who may -----------------------------------------------------------------------------------------------------------


def test_whoever_may_see_events_sees_the_dashboard_on_the_apps_page(watcher: Client) -> None:
    answer = watcher.get(INDEX)
    assert answer.status_code == 200
    assert 'id="secguard-dashboard"' in answer.content.decode()
    assert reverse("admin:secguard_eventrecord_changelist") in answer.content.decode()


def test_staff_who_may_not_see_the_plain_page(stranger: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.test_page"
    answer = stranger.get("/admin/")
    assert answer.status_code == 200
    assert "secguard-dashboard" not in answer.content.decode()
    assert stranger.get("/admin/secguard/eventrecord/dashboard/").status_code == 403
    assert stranger.get(DATA).status_code == 403


def test_whoever_is_not_logged_in_is_sent_to_the_login_but_a_script_is_told_so(client: Client, db: None) -> None:
    assert client.get(INDEX).status_code == 302
    assert client.get("/admin/secguard/eventrecord/dashboard/").status_code == 302
    answer = client.get(DATA)
    assert (answer.status_code, answer.json()) == (401, {"error": "authentication required"})


def test_a_user_who_is_no_staff_is_not_logged_in_to_the_admin(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("anna"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(DATA).status_code == 401


def test_the_numbers_are_only_read(watcher: Client) -> None:
    assert watcher.post(DATA).status_code == 405
    assert watcher.post("/admin/secguard/eventrecord/dashboard/").status_code == 405


def test_the_page_has_an_address_of_its_own(watcher: Client) -> None:
    assert 'id="secguard-dashboard"' in watcher.get(reverse("admin:secguard_dashboard")).content.decode()


def test_another_admin_site_has_a_dashboard_of_its_own(watcher: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.test_page"
    text = watcher.get("/another/secguard/?window=1h").content.decode()
    assert "/another/secguard/eventrecord/dashboard/data/" in text
    assert "/admin/secguard/eventrecord" not in text


def test_a_site_that_has_not_the_events_is_left_alone(db: None, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.test_page"
    assert (
        "secguard-dashboard"
        not in staff("watcher", "view_user", "view_eventrecord").get("/bare/auth/").content.decode()
    )


# -- what it says ------------------------------------------------------------------------------------------------------


def test_the_numbers_are_there_without_javascript(watcher: Client, now: datetime, tally: Tally, record: Record) -> None:
    tally("login_failed", 1234)
    record(network="198.51.100.7", country="BR", account="anna", account_digest="a" * 32)
    text = watcher.get(INDEX).content.decode()
    for shown in ("1,234", "198.51.100.7", "Brazil", "anna", "brute_force"):
        assert shown in text, shown


@pytest.mark.parametrize("window", ["1h", "24h", "7d", "30d"])
def test_each_window_is_a_link_and_says_that_it_is_shown(watcher: Client, window: str) -> None:
    text = watcher.get(f"{INDEX}?window={window}").content.decode()
    assert f'<a href="?window={window}" aria-current="true">' in text
    assert text.count('aria-current="true"') == 1


def test_a_record_that_is_empty_says_so_in_words(watcher: Client) -> None:
    text = watcher.get(INDEX, {"table": "1"}).content.decode()
    for words in ("Nobody has logged in", "No threat is open", "No address has attacked", "No account was attacked"):
        assert words in text


def test_times_are_those_of_the_zone_that_the_page_names(
    watcher: Client, now: datetime, record: Record, settings: Any
) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    record(network="192.0.2.1")
    text = watcher.get(INDEX).content.decode()
    assert "Times in Asia/Kolkata" in text
    assert "2026-03-14 20:39" in text


def test_hostile_text_stays_text(watcher: Client, now: datetime, record: Record) -> None:
    record(network=HOSTILE[:64], rule=HOSTILE, account=HOSTILE, account_digest="a" * 32, country="<i")
    record(event_type="degraded", category="system", extra={"component": HOSTILE, "error": HOSTILE})
    panels = "".join(watcher.get(DATA, {"table": "1"}).json()["panels"].values())
    for text in (watcher.get(INDEX).content.decode(), panels):
        assert "<img" not in text
        assert "<script>alert" not in text


def test_nothing_on_the_page_needs_a_loose_content_security_policy(
    watcher: Client, now: datetime, record: Record, tally: Tally
) -> None:
    tally("login_failed", 1)
    record(network="192.0.2.1", country="NL", account_digest="a" * 32)
    parser = _Inline()
    parser.feed(watcher.get(INDEX).content.decode())
    assert parser.found == []


def test_the_page_says_which_numbers_have_no_rows(watcher: Client, settings: Any) -> None:
    assert "have no rows of their own" in watcher.get(INDEX).content.decode()
    settings.SECGUARD = {"PERSIST_EVENTS": "all"}
    assert "PERSIST_EVENTS" not in watcher.get(INDEX).content.decode()


# -- the numbers for the script ----------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_page(watcher: Client, now: datetime, tally: Tally, record: Record) -> None:
    tally("login_failed", 3)
    record(network="192.0.2.1", country="NL")
    found = watcher.get(DATA, {"window": "1h"}).json()
    assert found["window"] == "1h"
    assert found["lines"]["failed"][-1] == 3
    assert found["starts"][-1] <= now.timestamp() < found["end"]
    assert found["open_threats"] == 1
    count, level, url = found["countries"]["NL"]
    assert (count, level) == (1, 4)
    assert "country=NL" in url


def test_the_chart_as_a_table_comes_only_where_it_is_open(watcher: Client) -> None:
    assert "trends" not in watcher.get(DATA).json()["panels"]
    assert "trends" in watcher.get(DATA, {"table": "1"}).json()["panels"]


def test_numbers_that_have_not_changed_are_not_sent_again(watcher: Client, now: datetime, record: Record) -> None:
    first = watcher.get(DATA)
    assert watcher.get(DATA, headers={"If-None-Match": first["ETag"]}).status_code == 304
    record(network="192.0.2.1")
    assert watcher.get(DATA, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_nobody_else_may_keep_the_numbers(watcher: Client) -> None:
    assert "private" in watcher.get(DATA)["Cache-Control"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", [1, 500])
def test_the_numbers_cost_so_many_queries(rows: int, now: datetime) -> None:
    EventRecord.objects.bulk_create(
        [row(network=f"192.0.2.{n % 250}", account_digest=f"{n:032x}") for n in range(rows)]
    )
    client = staff("watcher", "view_eventrecord")
    client.get(DATA)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(DATA)
    ours = [query["sql"] for query in queries if "secguard_" in query["sql"]]
    assert len(ours) == 8, "\n".join(ours)
    # The session, the user, and two for the permissions.
    assert len(queries) == 12, "\n".join(query["sql"] for query in queries)


# -- when something is away --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["secguard_eventrecord", "secguard_eventcount", "secguard_block"])
def test_without_a_table_the_rest_is_shown(table: str, tally: Tally) -> None:
    client = staff("watcher", "view_eventrecord")
    tally("login_failed", 1)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        page, data = client.get(INDEX), client.get(DATA)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
    assert (page.status_code, data.status_code) == (200, 200)
    assert re.search(r"did not tell|>–<", page.content.decode())


def test_a_page_in_a_transaction_goes_on_after_an_error(
    watcher: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def broken(frame: object) -> None:
        EventRecord.objects.raw("SELECT nothing FROM nowhere")[0]

    monkeypatch.setattr("secguard.dashboard.threats.threats_in", broken)
    answer = watcher.get(INDEX, {"table": "1"})
    assert "The database did not tell" in answer.content.decode()
    assert "Nobody has logged in" in answer.content.decode()


def test_a_dashboard_that_cannot_be_made_leaves_the_list_of_models(
    watcher: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secguard.dashboard.page.window_named", lambda name: 1 / 0)
    answer = watcher.get(INDEX)
    assert answer.status_code == 200
    assert "Security events" in answer.content.decode()


def test_a_store_that_is_away_is_said(watcher: Client, settings: Any, dead_redis_url: str) -> None:
    settings.SECGUARD = {"REDIS_URL": dead_redis_url}
    watcher.get(INDEX)  # asks the store, as every request does
    text = watcher.get(INDEX).content.decode()
    assert re.search(r"away</strong>, FAIL_MODE is local", text)


def test_the_last_hour_is_not_shown_as_if_it_was_the_last_day(watcher: Client, now: datetime, tally: Tally) -> None:
    tally("login_failed", 7, now - timedelta(hours=2))
    assert sum(watcher.get(DATA, {"window": "1h"}).json()["lines"]["failed"]) == 0
    assert sum(watcher.get(DATA, {"window": "24h"}).json()["lines"]["failed"]) == 7
