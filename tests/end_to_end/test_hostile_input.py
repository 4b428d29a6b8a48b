"""Whatever is put into a login: no error that bare Django would not have, and one valid line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.end_to_end.conftest import Configure, Lines, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna")

HOSTILE_NAMES = {
    "wildcard": "*",
    "braces": "{}",
    "format": "{0.__class__} %s %(x)s",
    "colons": "sg:a:*",
    "newline": "anna\nCRITICAL forged",
    "carriage-return": "anna\r\n{}",
    "ansi": "\x1b[2Janna\x1b]0;owned\x07",
    "line-separator": "anna\u2028forged\u2029\x85",
    "nul": "an\x00na",
    "zero-width": "an\u200bna",
    "right-to-left": "\u202eanna",
    "lone-surrogate-escape": "anna\udcff",
    "script": "<script>alert(1)</script>",
    "quote": "\"'`; DROP TABLE auth_user;--",
    "formula": "=HYPERLINK(1)",
    "combining": "a" + "\u0301" * 5_000,
    "emoji": "\U0001f469\u200d\U0001f680" * 50,
    "long": "x" * 1_000_000,
    "spaces": "   ",
    "empty": "",
}
ODD_JSON = {
    "missing": {},
    "null": {"username": None, "password": None},
    "number": {"username": 7, "password": 7},
    "huge-number": {"username": 10**4000, "password": "x"},
    "float": {"username": 1e308, "password": "x"},
    "true": {"username": True, "password": "x"},
    "list": {"username": ["anna", "bert"], "password": "x"},
    "dict": {"username": {"$gt": ""}, "password": "x"},
    "nested": {"username": [[[[{}]]]], "password": [[]]},
}


def encodable(name: str) -> str:
    """What a form can carry: browsers send no lone surrogates."""
    return name.encode("utf-8", "replace").decode()


def post_form(visitor: Visitor, name: str) -> int:
    return visitor.log_in(encodable(name), WRONG).status_code


def post_json(visitor: Visitor, body: Any) -> int:
    return visitor.post("log_in/", json.dumps(body), content_type="application/json").status_code


# -- no error of ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
class TestAHostileNameInAForm:
    def test_gets_bare_djangos_answer(self, visitor: Visitor, configure: Configure, name: str) -> None:
        guarded = post_form(visitor, name)
        configure(MODE="off")
        assert guarded == post_form(visitor, name)

    def test_is_one_valid_line(self, visitor: Visitor, lines: Lines, name: str) -> None:
        post_form(visitor, name)
        (line,) = lines()
        assert line["context"]["event_type"] == "login_failed"
        assert len(lines.text.encode()) <= 8192
        assert lines.text.removesuffix("\n").isprintable()


@pytest.mark.parametrize("body", ODD_JSON.values(), ids=ODD_JSON)
class TestAnOddBodyOfJson:
    def test_gets_bare_djangos_answer(self, visitor: Visitor, configure: Configure, body: Any) -> None:
        guarded = post_json(visitor, body)
        configure(MODE="off")
        assert guarded == post_json(visitor, body)

    def test_breaks_no_line(self, visitor: Visitor, lines: Lines, body: Any) -> None:
        answer = post_json(visitor, body)
        told = [line["context"]["event_type"] for line in lines()]
        # Where Django itself fails while it looks the account up, there was no login that could fail.
        assert told == (["login_failed"] if answer == 200 else [])


def test_a_guess_without_a_name_counts_for_its_address(visitor: Visitor) -> None:
    assert [post_json(visitor, {}) for _ in range(6)] == [200] * 5 + [403]


def test_guesses_without_a_name_share_no_account(visit: Visit, events: CapturedEvents) -> None:
    for number in range(25):
        visit(f"192.0.2.{number}").log_in("", "")
    assert set(events.types) == {"login_failed"}


# -- one account, however it is spelled ------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling", ["ANNA", " anna ", "ａｎｎａ", "Ａnna", "ann\u00aa"], ids=["case", "spaces", "wide", "mixed", "ordinal"]
)
def test_spellings_of_a_name_are_one_account(visit: Visit, spelling: str) -> None:
    visit("192.0.2.10").guess(2, "anna")
    visit("192.0.2.11").guess(2, spelling)
    assert security_event_logger.pipeline.findings(account="anna").counts["account_failures"] == 4


def test_a_name_with_invisible_characters_is_counted_and_shown(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(2, "an\u200bna")
    assert security_event_logger.get_failed_login_count(ADDRESS) == 2
    assert "\u200b" not in events[0].message


def test_names_that_differ_after_a_megabyte_are_two_accounts(visit: Visit) -> None:
    visit("192.0.2.10").guess(2, "x" * 1_000_000 + "a")
    visit("192.0.2.11").guess(3, "x" * 1_000_000 + "b")
    assert security_event_logger.pipeline.findings(account="x" * 1_000_000 + "a").counts["account_failures"] == 2


def test_a_wildcard_for_a_name_touches_no_other_account(visit: Visit) -> None:
    visit("192.0.2.10").guess(3, "anna")
    User.objects.create_user("*", password=RIGHT)
    attacker = visit("192.0.2.10")
    attacker.log_in("*", RIGHT)
    security_event_logger.reset(email="*")
    assert security_event_logger.get_failed_login_count("192.0.2.10") == 3


# -- everything else that is logged ----------------------------------------------------------------------


def test_a_hostile_user_agent_is_escaped_and_cut(visitor: Visitor, lines: Lines) -> None:
    visitor.headers["User-Agent"] = "<script>\x1b[31m" + "x" * 20_000
    visitor.guess(1)
    (line,) = lines()
    assert line["context"]["user_agent"].startswith("<script>")
    assert len(line["context"]["user_agent"]) < 2_000
    assert "\x1b" not in lines.text


def test_a_long_path_is_cut(visitor: Visitor, lines: Lines) -> None:
    visitor.guess(5)
    visitor.get("/" + "x" * 65_536)
    line = lines()[-1]
    assert line["context"]["event_type"] == "request_blocked"
    assert len(line["context"]["path"]) < 4_000


def test_a_path_that_is_no_utf_8_is_a_valid_line(visitor: Visitor, lines: Lines) -> None:
    visitor.guess(5)
    visitor.get("/%ff%fe%00%0a")
    assert lines()[-1]["context"]["event_type"] == "request_blocked"


def test_a_query_string_is_not_logged(visitor: Visitor, lines: Lines) -> None:
    data = {"username": "anna", "password": WRONG}
    visitor.post("log_in/?token=s3cret-token", data)
    assert "s3cret" not in json.dumps(lines())


def test_a_token_in_a_mailed_link_is_not_logged(visitor: Visitor, lines: Lines) -> None:
    link = "/accounts/reset/MQ/c9x1ab-0123456789abcdef/"
    security_event_logger.log("link_followed", request=RequestFactory().get(link))
    visitor.guess(5)
    assert visitor.get(link).status_code == 403
    assert [lines()[at]["context"]["path"] for at in (0, -1)] == ["/accounts/reset/MQ/[redacted]/"] * 2
    assert "0123456789abcdef" not in lines.text


def test_a_password_is_not_logged(visitor: Visitor, lines: Lines) -> None:
    visitor.log_in("anna", "hunter2-hunter2")
    visitor.log_in("anna", RIGHT)
    assert "hunter2" not in json.dumps(lines())
    assert RIGHT not in json.dumps(lines())


def test_the_name_of_no_account_can_be_logged_as_a_digest(visitor: Visitor, configure: Configure, lines: Lines) -> None:
    configure(UNKNOWN_ACCOUNT_NAMES="digest")
    visitor.guess(1, "my-password-in-the-wrong-field")
    visitor.guess(1, "anna")
    unknown, known = lines()
    assert "my-password" not in json.dumps(unknown)
    assert unknown["context"]["username"].startswith("account:")
    assert known["context"]["username"] == "anna"


@pytest.mark.parametrize("name", ["*", "{}", "a:b", "a\nb", "sg:a:x"])
def test_a_hostile_name_is_limited_like_any_other(visitor: Visitor, name: str) -> None:
    assert visitor.guess(6, name) == [200] * 5 + [403]
