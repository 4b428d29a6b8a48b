"""Devices that are known for an account: how they come to be, what they may, and what a forged one is worth."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signing import Signer
from django.db import connections
from django.http import HttpResponse

from secguard.blocking.devices import HEADER, MAX_ACCOUNTS, MAX_LENGTH
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import RIGHT, WRONG, Visitor
from tests.lockout.conftest import Attack, ConfigureLockout
from tests.lockout.test_locks import reset_page

pytestmark = pytest.mark.usefixtures("anna", "bert")

COOKIE = "secguard_device"


def token_of(visitor: Any) -> str:
    return str(visitor.client.cookies[COOKIE].value)


def is_known(visitor: Visitor, name: str = "anna") -> bool:
    """Is this device let in while the account is locked for those that are not known?"""
    return visitor.log_in(name).status_code == 302


# -- the cookie ----------------------------------------------------------------------------------------------


def test_a_login_makes_the_device_known(visitor: Visitor) -> None:
    cookie = visitor.log_in().cookies[COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Lax", "/", 180 * 86_400)
    assert not cookie["secure"]


def test_the_cookie_keeps_to_https_where_it_was_given_out(visitor: Visitor) -> None:
    data = {"username": "anna", "password": RIGHT}
    answer = visitor.request("post", visitor.path("log_in/"), data=data, secure=True)
    assert answer.cookies[COOKIE]["secure"]


def test_name_and_age_are_settings(visitor: Visitor, configure: Configure) -> None:
    configure(ACCOUNT_LOCKOUT="unknown_devices", DEVICE_COOKIE_NAME="trusted", DEVICE_COOKIE_AGE=7_200)
    assert visitor.log_in().cookies["trusted"]["max-age"] == 7_200


@pytest.mark.parametrize("lockout", ["off", "all"])
def test_there_is_no_cookie_where_nobody_asks_for_it(visitor: Visitor, configure: Configure, lockout: str) -> None:
    configure(ACCOUNT_LOCKOUT=lockout)
    assert COOKIE not in visitor.log_in().cookies


def test_nothing_but_a_login_gives_a_cookie(visitor: Visitor) -> None:
    assert COOKIE not in visitor.get("home/").cookies
    assert COOKIE not in visitor.log_in("anna", WRONG).cookies


def test_a_forced_login_is_a_login(visitor: Visitor, anna: User, attack: Attack) -> None:
    assert visitor.post("sign_up/", {"username": "carl", "password": RIGHT}).status_code == 302
    attack("carl")
    assert is_known(visitor, "carl")


def test_a_cookie_does_not_name_the_account(visitor: Visitor) -> None:
    visitor.log_in()
    payload, _, _ = token_of(visitor).rpartition(":")
    assert b"anna" not in urlsafe_b64decode(payload + "==")


# -- what it is good for -------------------------------------------------------------------------------------


def test_a_known_device_is_known_for_its_account_alone(visitor: Visitor, attack: Attack) -> None:
    visitor.log_in("anna")
    attack("bert")
    assert not is_known(visitor, "bert")


def test_a_known_device_gets_past_the_limit_as_well_as_the_lock(
    visitor: Visitor, attack: Attack, configure: Configure
) -> None:
    visitor.log_in()
    attack()
    # A second login, with the token that the first one renewed.
    assert is_known(visitor)
    assert is_known(visitor)


def test_guesses_from_a_known_device_count_for_the_account(visitor: Visitor, stranger: Visitor, visit: Visit) -> None:
    devices = [visit(f"192.0.2.{number}") for number in range(10, 20)]
    for device in devices:
        device.log_in()
    for device in devices:
        device.guess()
    assert stranger.log_in().status_code == 403


def test_guesses_from_a_known_device_are_limited_wherever_it_is(visitor: Visitor, visit: Visit) -> None:
    visitor.log_in()
    token = token_of(visitor)
    answers = []
    for number in range(12):
        elsewhere: Any = visit(f"198.51.100.{number}")
        elsewhere.client.cookies[COOKIE] = token
        answers += elsewhere.guess()
    assert answers == [200] * 10 + [403] * 2


def test_a_known_device_at_an_unknown_address_is_limited_too(visitor: Visitor, visit: Visit) -> None:
    visitor.log_in()
    nowhere: Any = visit(None)
    nowhere.client.cookies[COOKIE] = token_of(visitor)
    assert nowhere.guess(12) == [200] * 10 + [403] * 2


def test_the_limit_of_one_device_is_not_that_of_another(visitor: Visitor, visit: Visit) -> None:
    other: Any = visit("192.0.2.2")
    other.log_in()
    visitor.log_in()
    token = token_of(other)
    for number in range(12):
        elsewhere: Any = visit(f"198.51.100.{number}")
        elsewhere.client.cookies[COOKIE] = token
        elsewhere.guess()
    assert not is_known(other)
    assert is_known(visitor)


def test_a_device_stays_known_for_its_time(visitor: Visitor, attack: Attack, wall: ManualClock) -> None:
    visitor.log_in()
    attack()
    wall.advance(180 * 86_400 - 1)
    assert is_known(visitor)


def test_a_device_is_forgotten_after_its_time(visitor: Visitor, attack: Attack, wall: ManualClock) -> None:
    visitor.log_in()
    attack()
    wall.advance(180 * 86_400)
    assert not is_known(visitor)


def test_a_login_keeps_the_device_known(visitor: Visitor, attack: Attack, wall: ManualClock) -> None:
    visitor.log_in()
    wall.advance(100 * 86_400)
    visitor.log_in()
    wall.advance(100 * 86_400)
    attack()
    assert is_known(visitor)


def test_a_refusal_gives_no_cookie_and_takes_none(visitor: Visitor, attack: Attack) -> None:
    visitor.log_in("anna")
    attack("bert")
    assert COOKIE not in visitor.log_in("bert").cookies
    attack("anna", first=100)
    assert is_known(visitor, "anna")


# -- a browser that several use ------------------------------------------------------------------------------


def test_those_who_share_a_browser_do_not_forget_each_other(visitor: Visitor, attack: Attack) -> None:
    visitor.log_in("anna")
    visitor.log_in("bert")
    attack("anna")
    attack("bert", first=100)
    assert is_known(visitor, "anna")
    assert is_known(visitor, "bert")


def test_a_shared_browser_keeps_the_latest_few(visitor: Visitor, attack: Attack) -> None:
    names = [f"colleague{number}" for number in range(MAX_ACCOUNTS + 1)]
    lengths = []
    for name in names:
        User.objects.create_user(name, password=RIGHT)
        visitor.log_in(name)
        lengths.append(len(token_of(visitor)))
    assert lengths[-1] == lengths[-2] == max(lengths) < 400
    attack(names[0])
    attack(names[1], first=100)
    assert [is_known(visitor, name) for name in names[:2]] == [False, True]


def test_one_account_takes_one_place(visitor: Visitor, attack: Attack) -> None:
    visitor.log_in("bert")
    for _ in range(MAX_ACCOUNTS + 1):
        visitor.log_in("anna")
    attack("bert")
    assert is_known(visitor, "bert")


# -- clients without cookies ---------------------------------------------------------------------------------


def with_header(visit: Visit, value: str = "", address: str = "192.0.2.1") -> Visitor:
    return visit(address, **{HEADER: value})


def test_a_client_that_sends_the_header_gets_its_value_back_and_no_cookie(visit: Visit) -> None:
    answer = with_header(visit).log_in()
    assert answer[HEADER]
    assert COOKIE not in answer.cookies


def test_who_does_not_send_the_header_does_not_get_it(visitor: Visitor) -> None:
    assert HEADER not in visitor.log_in()


def test_the_header_is_as_good_as_the_cookie(visit: Visit, attack: Attack) -> None:
    value = with_header(visit).log_in()[HEADER]
    attack()
    assert is_known(with_header(visit, value))
    assert not is_known(with_header(visit))


def test_header_and_cookie_are_the_same_token(visit: Visit, visitor: Visitor, attack: Attack) -> None:
    visitor.log_in()
    attack()
    assert is_known(with_header(visit, token_of(visitor)))


def test_a_refusal_and_a_failure_have_no_header(visit: Visit, attack: Attack) -> None:
    assert HEADER not in with_header(visit).log_in("anna", WRONG)
    attack()
    refused = with_header(visit).log_in()
    assert refused.status_code == 403
    assert HEADER not in refused


# -- keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fallbacks", "known"), [(True, True), (False, False)])
def test_a_device_outlives_a_new_secret_key_while_the_old_one_is_accepted(
    visitor: Visitor, attack: Attack, settings: Any, configure: ConfigureLockout, fallbacks: bool, known: bool
) -> None:
    visitor.log_in()
    configure.hang_up()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY] if fallbacks else []
    settings.SECRET_KEY = "another-" + "y" * 50
    configure(ACCOUNT_LOCKOUT="unknown_devices")
    attack()
    assert is_known(visitor) is known


def test_a_device_that_was_renewed_needs_the_old_key_no_more(
    visitor: Visitor, attack: Attack, settings: Any, configure: ConfigureLockout
) -> None:
    visitor.log_in()
    configure.hang_up()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-" + "y" * 50
    configure(ACCOUNT_LOCKOUT="unknown_devices")
    visitor.log_in()
    settings.SECRET_KEY_FALLBACKS = []
    attack()
    assert is_known(visitor)


# -- hostile tokens ------------------------------------------------------------------------------------------


def resigned(payload: bytes, salt: str = "secguard.device") -> str:
    return Signer(salt=salt).sign(urlsafe_b64encode(payload).rstrip(b"=").decode())


HOSTILE = {
    "empty": "",
    "short": "x",
    "no signature": "AQ",
    "wrong signature": "AQ:" + "A" * 43,
    "separators": ":" * 50,
    "oversized": "A" * (MAX_LENGTH + 1),
    "huge": "A" * 60_000,
    "nul": "A\0B:C",
    "not ascii": "Ä:ö",
    "spaces": " : ",
    "percent": "%00%ff:%",
}


@pytest.mark.parametrize("form", ["cookie", "header"])
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_token_is_no_device_and_breaks_nothing(
    visit: Visit, attack: Attack, hostile: str, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"Cookie": f"{COOKIE}={hostile}"} if form == "cookie" else {HEADER: hostile}
    visitor = visit(**given)
    attack()
    assert not is_known(visitor)
    assert visitor.log_in("bert").status_code == 302
    assert not [record for record in caplog.records if record.name == "secguard"]


@pytest.mark.parametrize(
    ("payload", "salt"),
    [
        (b"", "secguard.device"),
        (b"\x01", "secguard.device"),
        (b"\x01" + b"x" * 35, "secguard.device"),
        (b"\x02" + b"x" * 36, "secguard.device"),
        (b"\x01" + b"\xff" * 36 * 20, "secguard.device"),
    ],
    ids=["nothing", "nobody", "cut", "version", "many"],
)
def test_what_we_signed_and_would_not_write_breaks_nothing(
    visit: Visit, attack: Attack, payload: bytes, salt: str
) -> None:
    attack()
    assert not is_known(with_header(visit, resigned(payload, salt)))


def test_more_than_we_would_write_is_not_looked_at(visitor: Visitor, visit: Visit, attack: Attack) -> None:
    visitor.log_in()
    attack()
    entry = urlsafe_b64decode(token_of(visitor).rpartition(":")[0] + "==")[1:]
    assert not is_known(with_header(visit, resigned(b"\x01" + entry * 30)))
    assert is_known(with_header(visit, resigned(b"\x01" + entry * MAX_ACCOUNTS)))


def test_what_was_signed_for_something_else_is_no_device(visitor: Visitor, visit: Visit, attack: Attack) -> None:
    visitor.log_in()
    attack()
    payload = urlsafe_b64decode(token_of(visitor).rpartition(":")[0] + "==")
    assert is_known(with_header(visit, resigned(payload)))
    assert not is_known(with_header(visit, resigned(payload, "sessions")))


def test_a_token_cannot_be_changed(visitor: Visitor, visit: Visit, attack: Attack) -> None:
    visitor.log_in("bert")
    attack("anna")
    token = token_of(visitor)
    for at in range(0, len(token), 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert not is_known(with_header(visit, changed), "anna")
    assert is_known(visitor, "bert")


# -- a new password ------------------------------------------------------------------------------------------


def test_a_password_reset_makes_the_device_known(visitor: Visitor, anna: User, attack: Attack) -> None:
    attack()
    answer: HttpResponse = reset_page(visitor, anna)
    assert answer.cookies[COOKIE]
    assert visitor.log_in("anna", "a brand new one").status_code == 302


def test_a_password_reset_lifts_no_lock_for_others(
    visitor: Visitor, stranger: Visitor, anna: User, attack: Attack
) -> None:
    attack()
    reset_page(visitor, anna)
    assert stranger.log_in("anna", "a brand new one").status_code == 403


def test_a_password_reset_that_is_rolled_back_makes_no_device_known(
    visitor: Visitor, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    answer = reset_page(visitor, anna, "crash")
    assert answer.status_code == 500
    assert COOKIE not in answer.cookies


def test_a_password_that_is_changed_elsewhere_makes_no_device_known(visitor: Visitor, stranger: Any) -> None:
    visitor.log_in()
    stranger.client.cookies = visitor.client.cookies  # type: ignore[attr-defined]
    del stranger.client.cookies[COOKIE]
    answer = stranger.post("/change/", {"password": "a brand new one"})
    assert (answer.content, COOKIE in answer.cookies) == (b"changed", False)


def test_events_of_a_known_device_show_no_nonce(visitor: Visitor, visit: Visit, events: CapturedEvents) -> None:
    visitor.log_in()
    token = token_of(visitor)
    for number in range(11):
        elsewhere: Any = visit(f"198.51.100.{number}")
        elsewhere.client.cookies[COOKIE] = token
        elsewhere.guess()
    (threat,) = [event for event in events.of("suspicious_activity") if event.context["rule"] == "device_failures"]
    raw = urlsafe_b64decode(token.rpartition(":")[0] + "==")
    assert bytes.fromhex(threat.context["subject"]) not in raw
