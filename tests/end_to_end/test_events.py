"""What happens on the site by itself becomes an event, once."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from secguard import signals
from secguard.signals import permission_denied
from secguard.testing import CapturedEvents
from tests.end_to_end.conftest import Configure, Lines
from tests.end_to_end.entry import ADDRESS, Visitor

pytestmark = pytest.mark.usefixtures("anna")


def test_a_login_is_an_event(visitor: Visitor, events: CapturedEvents, anna: User) -> None:
    visitor.log_in()
    assert events.types == ["login_success"]
    context = events[0].context
    assert (context["user_id"], context["username"], context["email"]) == (anna.pk, "anna", "anna@example.com")
    assert (context["ip_address"], context["method"], context["path"]) == (ADDRESS, "POST", visitor.path("log_in/"))


def test_a_failed_login_is_an_event(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(1)
    assert events.types == ["login_failed"]
    assert events[0].context["reason"] == "invalid_credentials"


def test_a_logout_is_an_event(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.log_in()
    visitor.post("log_out/")
    assert events.types == ["login_success", "logout"]
    assert events[1].context["username"] == "anna"


def test_the_logout_of_somebody_anonymous_is_none(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.post("log_out/")
    assert events == []


def test_a_denial_is_one_event(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.log_in()
    events.clear()
    assert visitor.get("deny/").status_code == 403
    assert events.types == ["permission_denied"]
    context = events[0].context
    assert (context["username"], context["reason"], context["ip_address"]) == ("anna", "not yours", ADDRESS)


def test_the_denial_of_somebody_anonymous_is_an_event(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.get("deny/")
    assert events.types == ["permission_denied"]
    assert "username" not in events[0].context


def test_a_denial_names_the_view(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.get("deny/")
    assert events[0].context["view"] == f"{visitor.entry.views}:deny"


def test_a_denial_reaches_those_who_listen_for_it(visitor: Visitor) -> None:
    heard = []

    def listen(**kwargs: Any) -> None:
        heard.append(kwargs["reason"])

    permission_denied.connect(listen)
    try:
        visitor.get("deny/")
    finally:
        permission_denied.disconnect(listen)
    assert heard == ["not yours"]


def test_a_denial_told_by_hand_is_an_event(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.log_in()
    events.clear()
    visitor.get("deny_by_hand/")
    assert events.types == ["permission_denied"]
    assert (events[0].context["reason"], events[0].context["room"]) == ("by hand", "vault")


def test_denials_can_be_counted_by_a_rule(visitor: Visitor, configure: Configure) -> None:
    prying = {"events": "permission_denied", "subject": "address", "threshold": 3, "window": 60, "action": "block"}
    configure(RULES={"prying": prying})
    assert [visitor.get("deny/")["Content-Type"] for _ in range(4)][-1] == "application/json"
    assert visitor.get("home/").status_code == 403


def test_a_denial_in_mode_off_is_no_event(visitor: Visitor, configure: Configure, events: CapturedEvents) -> None:
    configure(MODE="off")
    assert visitor.get("deny/").status_code == 403
    assert events == []


def test_all_events_of_a_request_carry_its_id(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(4)
    events.clear()
    data = {"username": "anna", "password": "x"}
    visitor.post("log_in/", data, **{"X-Request-ID": "from-the-proxy"})
    assert events.types == ["login_failed", "suspicious_activity", "address_blocked"]
    assert {event.context["request_id"] for event in events} == {"from-the-proxy"}


def test_two_requests_have_different_ids(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(2)
    assert len({event.context["request_id"] for event in events}) == 2


@pytest.mark.parametrize("given", ["with spaces", '"quoted"', "x" * 200, ""])
def test_an_id_that_no_proxy_would_give_is_replaced(visitor: Visitor, events: CapturedEvents, given: str) -> None:
    visitor.headers["X-Request-ID"] = given
    visitor.guess(1)
    assert events[0].context["request_id"] not in (given, "")


def test_each_event_is_one_line(visitor: Visitor, lines: Lines) -> None:
    visitor.guess(5)
    visitor.get("home/")
    told = [line["context"]["event_type"] for line in lines()]
    assert told == ["login_failed"] * 5 + ["suspicious_activity", "address_blocked", "request_blocked"]


@pytest.mark.parametrize(
    "signal", [signals.event_logged, signals.threat_detected, signals.address_blocked], ids=["event", "threat", "block"]
)
def test_a_receiver_that_raises_changes_nothing(visitor: Visitor, signal: Any) -> None:
    def raising(**kwargs: Any) -> None:
        raise RuntimeError("a receiver of the project's own")

    signal.connect(raising)
    try:
        assert visitor.guess(6) == [200] * 5 + [403]
    finally:
        signal.disconnect(raising)
