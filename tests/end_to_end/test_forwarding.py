"""Whose address it is that the site sees, counts and refuses, behind proxies and without."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import AsgiVisitor, Entry, Visitor

pytestmark = pytest.mark.usefixtures("anna")

PROXY, OUTER_PROXY, CLIENT = "10.0.0.1", "10.0.0.2", "203.0.113.9"


@pytest.fixture
def store_settings() -> dict[str, Any]:
    """Where the counters live has no bearing on whose they are."""
    return {}


@pytest.fixture
def proxied(configure: Configure) -> Configure:
    configure(TRUSTED_PROXIES=["10.0.0.0/24"])
    return configure


def address_seen(visitor: Visitor, events: CapturedEvents, **headers: str) -> str | None:
    """The client's address, as a failed login's event tells it."""
    before = len(events.of("login_failed"))
    visitor.post("log_in/", {"username": "nobody", "password": "x"}, **headers)
    (event,) = events.of("login_failed")[before:]
    return event.context["ip_address"]


def test_a_header_from_a_peer_that_is_no_trusted_proxy_is_ignored(
    visit: Visit, proxied: Configure, events: CapturedEvents
) -> None:
    assert address_seen(visit("192.0.2.1"), events, **{"X-Forwarded-For": CLIENT}) == "192.0.2.1"


def test_a_public_peer_cannot_choose_an_address_without_any_proxy(visit: Visit, events: CapturedEvents) -> None:
    assert address_seen(visit("192.0.2.1"), events, **{"X-Forwarded-For": CLIENT}) == "192.0.2.1"


def test_a_new_address_in_each_guess_does_not_help(visit: Visit) -> None:
    answers = [
        visit("192.0.2.1", **{"X-Forwarded-For": f"203.0.113.{n}"}).log_in("anna", "x").status_code for n in range(6)
    ]
    assert answers == [200] * 5 + [403]


def test_behind_a_trusted_proxy_each_client_counts_for_itself(visit: Visit, proxied: Configure) -> None:
    assert visit(PROXY, **{"X-Forwarded-For": CLIENT}).guess(6) == [200] * 5 + [403]
    assert visit(PROXY, **{"X-Forwarded-For": "203.0.113.10"}).guess(1) == [200]
    assert [block.network for block in Block.objects.all()] == [CLIENT]


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (f"198.51.100.7, {CLIENT}", CLIENT),
        (f"198.51.100.7, {CLIENT}, {OUTER_PROXY}", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db8::5]:443", "2001:db8::5"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("no address", None),
        ("1.1.1.1," * 1000 + CLIENT, CLIENT),
        ("x" * 65_536, None),
        ("", PROXY),
    ],
    ids=["spoofed", "two-proxies", "port", "brackets", "mapped", "malformed", "1000-entries", "64-kB", "empty"],
)
def test_the_right_most_untrusted_entry_is_the_client(
    visit: Visit, proxied: Configure, events: CapturedEvents, header: str, seen: str | None
) -> None:
    assert address_seen(visit(PROXY), events, **{"X-Forwarded-For": header}) == seen


def test_who_cannot_be_told_from_others_is_never_refused(visit: Visit, proxied: Configure) -> None:
    assert visit(PROXY, **{"X-Forwarded-For": "no address"}).guess(8) == [200] * 8


def test_only_the_configured_header_counts(visit: Visit, configure: Configure, events: CapturedEvents) -> None:
    headers = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.2", "X-Real-IP": "203.0.113.3"}
    seen = []
    for name in headers:
        configure(TRUSTED_PROXIES=[PROXY], CLIENT_IP_HEADER=name)
        seen.append(address_seen(visit(PROXY), events, **headers))
    assert seen == ["203.0.113.1", "203.0.113.2", "203.0.113.3"]


def test_hops_are_counted_from_the_right(visit: Visit, configure: Configure, events: CapturedEvents) -> None:
    configure(TRUSTED_PROXIES={"hops": 2, "peers": ["10.0.0.0/8"]})
    header = f"198.51.100.7, {CLIENT}, 198.51.100.200"
    assert address_seen(visit(PROXY), events, **{"X-Forwarded-For": header}) == CLIENT


def test_hops_are_believed_from_the_named_peers_alone(
    visit: Visit, configure: Configure, events: CapturedEvents
) -> None:
    configure(TRUSTED_PROXIES={"hops": 1, "peers": ["10.0.0.0/8"]})
    assert address_seen(visit("192.0.2.1"), events, **{"X-Forwarded-For": CLIENT}) == "192.0.2.1"


def test_a_trusted_proxy_is_never_blocked(visit: Visit, proxied: Configure) -> None:
    assert visit(PROXY).guess(8) == [200] * 8
    assert visit(PROXY, **{"X-Forwarded-For": OUTER_PROXY}).guess(8) == [200] * 8
    assert not Block.objects.exists()


def test_ipv4_mapped_in_ipv6_is_the_same_visitor(visit: Visit) -> None:
    visit("::ffff:192.0.2.1").guess(3)
    assert visit("192.0.2.1").guess(3) == [200, 200, 403]


def test_the_addresses_of_one_64_are_one_visitor(visit: Visit) -> None:
    answers = [visit(f"2001:db8:0:1::{n:x}").guess(1)[0] for n in range(1, 8)]
    assert answers == [200] * 5 + [403] * 2
    assert visit("2001:db8:0:2::1").guess(1) == [200]
    assert [block.network for block in Block.objects.all()] == ["2001:db8:0:1::/64"]


# -- no address at all -----------------------------------------------------------------------------------


def test_a_unix_socket_without_a_trusted_proxy_shares_no_counter(visit: Visit) -> None:
    assert visit(None).guess(8) == [200] * 8


def test_a_trusted_unix_socket_names_its_clients(visit: Visit, configure: Configure) -> None:
    configure(TRUSTED_PROXIES=["unix"])
    assert visit(None, **{"X-Forwarded-For": CLIENT}).guess(6) == [200] * 5 + [403]
    assert visit(None, **{"X-Forwarded-For": "203.0.113.10"}).guess(1) == [200]


def test_a_forgotten_setting_locks_nobody_out(visit: Visit) -> None:
    assert visit(PROXY, **{"X-Forwarded-For": CLIENT}).guess(8) == [200] * 8


def test_a_forgotten_setting_is_told_once(visit: Visit, events: CapturedEvents) -> None:
    for number in range(8):
        visit(PROXY, **{"X-Forwarded-For": f"203.0.113.{number}"}).get("home/")
    (told,) = events
    assert (told.type, told.severity) == ("client_address_unknown", "warning")
    assert "TRUSTED_PROXIES" in told.context["hint"]


def test_where_there_is_no_proxy_no_header_hides_a_private_peer(visit: Visit, configure: Configure) -> None:
    configure(TRUSTED_PROXIES="none")
    spoofed = [visit("10.1.2.3", **{"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(6)]
    assert [visitor.guess(1)[0] for visitor in spoofed] == [200] * 5 + [403]


def test_a_private_peer_that_forwards_for_nobody_counts_like_any_other(visit: Visit) -> None:
    assert visit("127.0.0.1").guess(6) == [200] * 5 + [403]


# -- header names with underscores, which only ASGI lets through -----------------------------------------


class TestHeaderNamesWithUnderscores:
    @pytest.fixture
    def smuggler(self, entry: Entry, configure: Configure) -> Visitor:
        """Sends X_Forwarded_For past a proxy that knows X-Forwarded-For alone."""
        configure(TRUSTED_PROXIES=[PROXY])
        visitor = entry.visitor(PROXY, **{"X-Forwarded-For": CLIENT})
        if isinstance(visitor, AsgiVisitor):
            visitor.client.raw_headers = [(b"x_forwarded_for", b"198.51.100.66")]
        else:
            # A WSGI server that does not drop it folds it into the same variable, and can only append.
            visitor.headers["X-Forwarded-For"] = f"198.51.100.66,{CLIENT}"
        return visitor

    def test_are_not_believed(self, smuggler: Visitor, events: CapturedEvents) -> None:
        assert address_seen(smuggler, events) == CLIENT
