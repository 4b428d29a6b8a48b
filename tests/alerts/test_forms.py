"""A message as each service takes it: what an attacker wrote stays text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secguard.alert_options import FORMS, TRIGGERS
from secguard.alerts.forms import body_of, text_of
from secguard.alerts.messages import MAX_LISTED, Message, alert_of
from tests.alerts.events import event_of, threat

HOSTILE = (
    "<!channel> <@U1> <https://evil.example|click> @everyone @here & *b* _i_ ~s~ `c` ```\n# head\r\n"
    "[click](https://evil.example) <at>all</at> \x1b[31m \u202ebackwards || http://evil.example \x00"
)
ESCAPED = (
    r"<!channel> <@U1> <https[:]//evil.example|click> @everyone @here & *b* _i_ ~s~ `c` ```\n# head\r\n"
    r"[click](https[:]//evil.example) <at>all</at> \x1b[31m \u202ebackwards || http[:]//evil.example \x00"
)
WHEN = 1_800_000_000.0
HEAD = "  2027-01-15T08:00:00.000Z"


def message_of(*alerts: Any, **fields: Any) -> Message:
    return Message("alert", "shop", list(alerts), sent_at="2027-01-15T08:00:01.000Z", id="id", **fields)


def hostile() -> Message:
    event = event_of(message=HOSTILE, username=HOSTILE[:60], ip_address="203.0.113.7")
    return message_of(alert_of(TRIGGERS["critical"], event, WHEN))


def told(message: Message, form: str) -> Any:
    return json.loads(body_of(message, form))


def test_the_json_is_what_the_page_says() -> None:
    alert = alert_of(TRIGGERS["critical"], threat(request_id="r1", path="/login/", username="anna"), WHEN)
    assert told(message_of(alert, more=2), "json") == {
        "version": 1,
        "title": "shop: 3 alerts (critical)",
        "kind": "alert",
        "site": "shop",
        "sent_at": "2027-01-15T08:00:01.000Z",
        "id": "id",
        "more": 2,
        "lost": 0,
        "alerts": [
            {
                "trigger": "critical",
                "event_type": "suspicious_activity",
                "category": "threat",
                "severity": "critical",
                "message": "Threat brute_force: 5 on address 203.0.113.7 within 900 s",
                "time": "2027-01-15T08:00:00.000Z",
                "rule": "brute_force",
                "subject": "203.0.113.7",
                "ip_address": "203.0.113.7",
                "account": "anna",
                "path": "/login/",
                "request_id": "r1",
                "event_id": "id-7",
                "count": 5,
                "threshold": 1,
                "window_seconds": None,
                "repeats": 0,
            }
        ],
    }


def test_a_text_says_who_when_and_where() -> None:
    alert = alert_of(TRIGGERS["critical"], threat(path="/login/", username="anna", request_id="r1"), WHEN)
    assert text_of(message_of(alert), 1_000).splitlines() == [
        "shop: Threat brute_force: 5 on address 203.0.113.7 within 900 s",
        "CRITICAL Threat brute_force: 5 on address 203.0.113.7 within 900 s",
        f"{HEAD}, address 203.0.113.7, account anna, path /login/, request r1, event id-7",
    ]


def lines(text: str) -> list[str]:
    return text.split("\n")


def test_slack_is_sent_no_mention_no_link_and_no_markup() -> None:
    body = told(hostile(), "slack")
    escaped = ESCAPED.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    title, line, facts = lines(body.pop("text"))
    assert line == f"CRITICAL {escaped}"
    assert title.startswith("shop: &lt;!channel&gt; &lt;@U1&gt;")
    assert facts.startswith(f"{HEAD}, address 203.0.113.7, account &lt;!channel&gt;")
    assert body == {
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_teams_is_sent_runs_of_text_that_know_no_markdown() -> None:
    body = told(hostile(), "teams")
    (attachment,) = body["attachments"]
    assert (body["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert runs[1]["text"] == f"CRITICAL {ESCAPED}"
    assert "entities" not in card["msteams"]


def test_discord_is_sent_a_block_of_code_that_nothing_in_it_ends_and_nobody_is_mentioned() -> None:
    body = told(hostile(), "discord")
    text = body.pop("content")
    assert body == {"allowed_mentions": {"parse": []}, "flags": 4}
    first, _, line, _, last = lines(text)
    assert (first, last) == ("```text", "```")
    assert line == "CRITICAL " + ESCAPED.replace("`", "'")
    assert text.count("```") == 2


def test_the_json_has_the_text_as_it_was_but_on_one_line() -> None:
    (alert,) = told(hostile(), "json")["alerts"]
    assert alert["message"] == ESCAPED.replace("[:]//", "://")


#: Bytes; Discord counts the characters of the text, which are up to six.
@pytest.mark.parametrize(
    ("form", "limit"), [("slack", 130_000), ("teams", 28_000), ("discord", 12_100), ("json", 200_000)]
)
def test_every_body_is_ascii_and_within_what_the_service_takes(form: str, limit: int) -> None:
    long = "ж" * 10_000
    event = event_of(message=long, username=long, path=long, subject=long, request_id=long)
    alerts = [alert_of(TRIGGERS["critical"], event, WHEN) for _ in range(MAX_LISTED)]
    body = body_of(message_of(*alerts, more=1_000), form)
    assert body.isascii()
    assert len(body) < limit


def test_discords_two_thousand_characters_are_never_exceeded() -> None:
    alerts = [alert_of(TRIGGERS["critical"], event_of(message="x" * 500), WHEN) for _ in range(MAX_LISTED)]
    content = told(message_of(*alerts), "discord")["content"]
    assert len(content) <= 2_000
    assert "more lines" in content


def test_every_form_has_a_test_message() -> None:
    for form in FORMS:
        assert b"a test, nothing happened" in body_of(Message("test", "shop"), form)


def test_a_message_survives_the_way_through_json() -> None:
    message = hostile()
    assert Message.from_dict(json.loads(json.dumps(message.as_dict()))) == message


def test_what_is_no_text_or_number_is_shown_as_text() -> None:
    event = event_of(rule=["a"], subject={"b": 1}, count="many", ip_address=None)
    alert = alert_of(TRIGGERS["critical"], event, WHEN)
    assert (alert.rule, alert.subject, alert.count, alert.ip_address) == ("['a']", "{'b': 1}", 1, "")
