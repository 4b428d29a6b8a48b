"""The events as a file: all that were chosen, as text and nothing else, and an event that somebody took them."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
from django.test import AsyncClient, Client
from django.urls import reverse

from secguard.admin import export, narrowing
from secguard.models import EventRecord
from secguard.testing import capture_events
from tests.admin.rows import HOST, HOSTILE, LIST, OTHER, event, events

pytestmark = pytest.mark.django_db


def fetched(client: Client, form: str, **parameters: Any) -> str:
    response = client.get(reverse("admin:secguard_eventrecord_export", args=[form]), parameters)
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith('attachment; filename="security-events-')
    assert "no-store" in response["Cache-Control"]
    return b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]


def as_csv(client: Client, **parameters: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(fetched(client, "csv", **parameters), newline="")))


def as_json(client: Client, **parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetched(client, "json", **parameters))
    return found


def test_an_export_holds_every_field_of_the_events_that_were_chosen(viewer: Client) -> None:
    row = event(severity="critical", extra={"a": [1, "ü"]}, count=3, country="DE")
    event(network=OTHER)
    (kept,) = as_json(viewer, severity__exact="critical")["events"]
    assert kept == {
        **{name: getattr(row, name) for name in export.FIELDS},
        "event_id": str(row.event_id),
        "timestamp": "2026-11-20T12:00:00Z",
    }
    (line,) = as_csv(viewer, q=HOST)
    assert line["event_id"] == str(row.event_id)
    assert line["timestamp"] == "2026-11-20T12:00:00+00:00"
    assert (line["count"], json.loads(line["extra"])) == ("3", {"a": [1, "ü"]})


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠", "  =", "\u00a0="])
def test_no_cell_is_a_formula(viewer: Client, start: str) -> None:
    event(message=f"{start}1+1|cmd", user_agent=f"{start}HYPERLINK(1)", extra=[f"{start}1"])
    (line,) = as_csv(viewer)
    assert line["message"] == f"'{start}1+1|cmd"
    assert line["user_agent"] == f"'{start}HYPERLINK(1)"
    assert not any(value.lstrip().startswith(("=", "+", "-", "@")) for value in line.values())


def test_what_is_hostile_stays_in_its_cell(viewer: Client) -> None:
    event(message=HOSTILE, account='a","b\r\n=c', extra={HOSTILE: HOSTILE})
    (line,) = as_csv(viewer)
    assert line["message"] == HOSTILE
    assert line["account"] == 'a","b\r\n=c'
    (row,) = as_json(viewer)["events"]
    assert row["extra"] == {HOSTILE: HOSTILE}


def test_an_export_has_a_bound_and_says_that_there_was_more(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    events(1_203)
    assert (len(as_csv(viewer)), len(as_json(viewer)["events"])) == (1_203, 1_203)
    monkeypatch.setattr(export, "MOST_EXPORTED", 1_000)
    lines = as_csv(viewer)
    assert (len(lines), lines[-1]["event_id"]) == (1_001, "[more than 1000 events: choose fewer]")
    found = as_json(viewer)
    assert (len(found["events"]), found["truncated"]) == (1_000, True)
    monkeypatch.setattr(export, "MOST_EXPORTED", 1_203)
    assert as_json(viewer)["truncated"] is False


def test_no_events_are_an_empty_file(viewer: Client) -> None:
    assert as_csv(viewer) == []
    assert as_json(viewer) == {"events": [], "truncated": False}


def test_an_export_is_an_event(viewer: Client) -> None:
    event()
    with capture_events() as events:
        fetched(viewer, "csv", severity__exact="warning")
    (access,) = events.of("data_access")
    told = {name: access.context[name] for name in ("username", "resource", "action", "format", "filters")}
    assert told == {
        "username": "viewer",
        "resource": "security events",
        "action": "export",
        "format": "csv",
        "filters": {"severity__exact": "warning"},
    }


def test_the_list_links_to_an_export_of_what_it_shows(viewer: Client) -> None:
    text = viewer.get(reverse(LIST), {"severity__exact": "warning", "q": HOST}).content.decode()
    link = reverse("admin:secguard_eventrecord_export", args=["csv"])
    assert f'href="{link}?severity__exact=warning&amp;q={HOST}"' in text
    assert "50000" in text.replace(",", "")


def test_what_cannot_be_exported_is_refused(viewer: Client) -> None:
    assert viewer.get(reverse("admin:secguard_eventrecord_export", args=["xls"])).status_code == 404
    link = reverse("admin:secguard_eventrecord_export", args=["csv"])
    assert viewer.get(link, {"timestamp__gte": "never"}).status_code == 400
    assert viewer.get(link, {"message__contains": "a"}).status_code == 400
    assert viewer.post(link).status_code == 405


@pytest.mark.django_db(transaction=True)
async def test_an_export_streams_on_an_event_loop_too() -> None:
    from asgiref.sync import sync_to_async

    from tests.admin.rows import staff

    client = AsyncClient()
    user = await sync_to_async(staff)("view_eventrecord")
    await client.aforce_login(user, "django.contrib.auth.backends.ModelBackend")
    # The thread's connection is in no transaction of a test: others may have left rows there.
    await EventRecord.objects.all().adelete()
    await sync_to_async(events)(700)
    response = await client.get(reverse("admin:secguard_eventrecord_export", args=["json"]))
    pieces = [piece async for piece in response.streaming_content]  # type: ignore[attr-defined]
    assert len(json.loads(b"".join(pieces))["events"]) == 700
    assert len(pieces) > 1


def test_every_field_is_exported() -> None:
    assert set(export.FIELDS) == {field.name for field in EventRecord._meta.fields} - {"id"}


def test_an_export_that_did_not_look_at_all_says_since_when_it_did(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MOST_EXAMINED", 5)
    events(20)
    filters = {"category__exact": "authorization", "severity__exact": "warning"}
    found = json.loads(
        b"".join(viewer.get(reverse("admin:secguard_eventrecord_export", args=["json"]), filters).streaming_content)
    )
    assert found["truncated"] is True
    assert len(found["events"]) < 20
    rows = (
        b"".join(viewer.get(reverse("admin:secguard_eventrecord_export", args=["csv"]), filters).streaming_content)
        .decode()
        .splitlines()
    )
    assert rows[-1].startswith("[nothing before ")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("Mozilla;=1+1;x", "Mozilla;'=1+1;x"),  # where a semicolon separates, that is a cell of its own
        ("a\tb;\u200b@SUM(A1)", "a\tb;'\u200b@SUM(A1)"),
        ("\ufeff=1+1", "'\ufeff=1+1"),
        ("Mozilla/5.0 (X11; Linux) a=b;c=d", "Mozilla/5.0 (X11; Linux) a=b;c=d"),
    ],
)
def test_no_part_of_a_cell_that_could_be_one_begins_a_formula(value: str, cell: str) -> None:
    assert export.safe_cell(value) == cell
