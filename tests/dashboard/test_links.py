"""From every number to the events behind it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html import unescape

import pytest
from django.test import Client

from tests.dashboard.conftest import Record, Tally, staff

INDEX = "/admin/secguard/"
LINK = re.compile(
    r'<a href="(/admin/secguard/eventrecord/\?[^"]*)">\s*(?:<span[^>]*>[^<]*</span>\s*<span[^>]*>)?([\d,]+)</'
)


@pytest.fixture
def reader(db: None) -> Client:
    return staff("reader", "view_eventrecord", "view_block", "view_accountlock")


@pytest.fixture
def attacks(now: datetime, record: Record, tally: Tally) -> None:
    """Everything that the page shows has a number."""
    for number in range(12):
        at = now - timedelta(minutes=number)
        for event_type, category in (("login_failed", "authentication"), ("request_blocked", "threat")):
            record(event_type=event_type, category=category, timestamp=at, network="192.0.2.1", severity="warning")
            tally(event_type, 1, at)
    for number, (network, country) in enumerate(
        (("192.0.2.1", "NL"), ("198.51.100.1", "BR"), ("2001:db8::/64", "BR"), ("10.0.0.1", ""), ("9.9.9.9", ""))
    ):
        at = now - timedelta(minutes=4 * number)
        record(timestamp=at, network=network, country=country, account="anna", account_digest="a" * 32)
        tally("suspicious_activity", 1, at, "brute_force")
    record(event_type="degraded", category="system", severity="error", extra={"component": "store"}, rule="")


@pytest.mark.parametrize("window", ["1h", "24h", "7d", "30d"])
def test_every_number_leads_to_as_many_events(attacks: None, reader: Client, window: str) -> None:
    found = [
        (unescape(url), int(number.replace(",", "")))
        for url, number in LINK.findall(reader.get(INDEX, {"window": window, "table": "1"}).content.decode())
    ]
    assert len(found) > 15
    # Networks without a country are told apart on the page, and one list has both.
    for url, number in found:
        if "country=&" not in url and number:
            answer = reader.get(url)
            assert answer.status_code == 200, url
            assert answer.context["cl"].result_count == number, url


def test_every_link_leads_somewhere(attacks: None, reader: Client) -> None:
    text = reader.get(INDEX).content.decode()
    links = {unescape(url) for url in re.findall(r'href="(/admin/secguard/[^"]*)"', text)}
    assert len(links) > 20
    for url in links:
        assert reader.get(url).status_code == 200, url
