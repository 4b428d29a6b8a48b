"""What the panels say of rows and counts."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from pytest_django import DjangoAssertNumQueries

from secguard import records
from secguard.dashboard import attackers, state, threats, trends
from secguard.dashboard.links import Links
from secguard.dashboard.windows import WINDOWS, Frame
from secguard.detection.catalogue import BRUTE_FORCE
from secguard.models import EventRecord
from tests.dashboard.conftest import NOW, Record, Tally, row

LINKS = Links("admin")


@pytest.fixture
def day() -> Frame:
    return WINDOWS["24h"].at(NOW)


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def behind(url: str) -> int:
    """How many events the list shows that a link leads to."""
    return EventRecord.objects.filter(**query_of(url)).count()


# -- over time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", WINDOWS)
def test_every_event_of_the_window_is_counted_once(window: str, tally: Tally) -> None:
    frame = WINDOWS[window].at(NOW)
    tally("login_failed", 3)
    tally("login_failed", 4, frame.start + timedelta(minutes=1))
    tally("login_failed", 100, frame.start - timedelta(hours=1))
    shown = trends.trends_in(frame)
    assert shown.total("failed") == 7
    assert shown.numbers["failed"][-1] == 3
    assert len(shown.numbers["failed"]) == len(frame.starts)


def test_parts_in_which_nothing_happened_are_zero_and_no_row_of_the_table(day: Frame, tally: Tally) -> None:
    tally("login_success", 2)
    shown = trends.trends_in(day)
    assert sum(shown.numbers["succeeded"][:-1]) == 0
    (line,) = shown.rows(LINKS)
    assert [count for count, _ in line["cells"]] == [0, 2, 0, 0]  # type: ignore[attr-defined]


def test_counts_of_other_rules_and_the_same_type_are_added_up(day: Frame, tally: Tally) -> None:
    tally("attempt_refused", 2, rule="brute_force")
    tally("attempt_refused", 5, rule="distributed_attack")
    assert trends.trends_in(day).total("refused") == 7


def test_the_numbers_of_the_table_lead_to_the_events_of_their_time(day: Frame, tally: Tally, record: Record) -> None:
    tally("login_failed", 1)
    record(event_type="login_failed", category="authentication")
    record(event_type="login_failed", category="authentication", timestamp=NOW - timedelta(hours=1))
    (line,) = trends.trends_in(day).rows(LINKS)
    assert behind(line["cells"][0][1]) == 1  # type: ignore[index]


# -- threats ---------------------------------------------------------------------------------------------------------


def test_a_threat_is_open_for_the_window_of_its_rule(day: Frame, record: Record) -> None:
    window = timedelta(seconds=BRUTE_FORCE.window)
    record(timestamp=NOW - window + timedelta(seconds=1), network="192.0.2.1")
    record(timestamp=NOW - window - timedelta(seconds=1), network="192.0.2.2")
    record(timestamp=NOW, rule="a_rule_that_is_gone")
    found = threats.threats_in(day)
    assert [threat.network for threat in found.still_open] == ["192.0.2.1"]


def test_threats_by_rule_lead_to_as_many_events(day: Frame, record: Record, tally: Tally) -> None:
    for number in range(3):
        record(timestamp=NOW - timedelta(hours=number), network=f"192.0.2.{number}")
        tally("suspicious_activity", 1, NOW - timedelta(hours=number), "brute_force")
    (line,) = threats.threats_in(day).by_rule(LINKS)
    assert (line["rule"], line["open"], line["opened"]) == ("brute_force", 1, 3)
    assert behind(str(line["open_url"])) == 1
    assert behind(str(line["opened_url"])) == 3


def test_an_open_threat_leads_to_its_event(day: Frame, record: Record) -> None:
    wanted = record(network="192.0.2.1")
    record(network="192.0.2.2", timestamp=NOW - timedelta(seconds=1))
    (first, _) = threats.threats_in(day).latest(LINKS)
    assert EventRecord.objects.get(**query_of(str(first["url"]))) == wanted


def test_more_threats_than_are_looked_at_are_said(day: Frame, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threats, "MOST_THREATS", 2)
    record(), record()
    assert threats.threats_in(day).bounded


# -- who -------------------------------------------------------------------------------------------------------------


def test_addresses_come_with_the_number_of_events_behind_them(day: Frame, record: Record) -> None:
    for network, count in (("192.0.2.1", 2), ("2001:db8::/64", 3)):
        for _ in range(count):
            record(network=network)
    record(network="192.0.2.1", category="authentication", event_type="login_failed")
    found = attackers.addresses(attackers.recent_in(day), LINKS)
    assert [(line.name, line.count) for line in found] == [("2001:db8::/64", 3), ("192.0.2.1", 2)]
    assert [behind(line.events_url) for line in found] == [3, 2]


def test_accounts_are_found_by_their_digest_whatever_is_shown_of_their_names(day: Frame, record: Record) -> None:
    record(account="anna", account_digest="a" * 32)
    record(account="", account_digest="a" * 32)
    record(account="", account_digest="b" * 32)
    found = attackers.accounts(attackers.recent_in(day), LINKS)
    assert [(line.name, line.count) for line in found] == [("anna", 2), ("b" * 8, 1)]


def test_an_operator_who_lifts_blocks_attacks_nobody(day: Frame, record: Record) -> None:
    record(network="192.0.2.1", event_type="address_unblocked", severity="info")
    assert attackers.addresses(attackers.recent_in(day), LINKS) == []


def test_at_most_so_many_of_the_latest_events_are_counted_and_that_is_said(
    day: Frame, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attackers, "MOST_ROWS", 3)
    for number in range(3):
        record(network="192.0.2.1", timestamp=NOW - timedelta(minutes=number))
    assert not attackers.recent_in(day).bounded
    for number in range(3, 9):
        record(network="192.0.2.2", timestamp=NOW - timedelta(minutes=number))
    recent = attackers.recent_in(day)
    assert recent.bounded
    assert sum(line.count for line in attackers.addresses(recent, LINKS)) == 3


# -- where from ------------------------------------------------------------------------------------------------------


def test_countries_private_networks_and_unknown_ones_are_told_apart(day: Frame, record: Record) -> None:
    for network, country in (
        ("8.8.8.8", "US"),
        ("9.9.9.9", "US"),
        ("193.0.6.139", "NL"),
        ("10.1.2.3", ""),
        ("172.31.0.1", ""),
        ("fd00::/64", ""),
        ("::/64", ""),
        ("100.64.1.2", ""),
        ("172.32.0.1", ""),
        ("2606:4700::/64", ""),
        ("0f8c2b6e", ""),
    ):
        record(network=network, country=country)
    found = attackers.origins(attackers.recent_in(day), LINKS)
    assert [(line.key, line.name, line.count) for line in found.countries] == [
        ("US", "United States", 2),
        ("NL", "Netherlands", 1),
    ]
    assert (found.reserved, found.unknown) == (5, 3)


def test_a_private_network_that_the_operators_own_database_knows_has_a_country(day: Frame, record: Record) -> None:
    record(network="10.1.2.3", country="CH")
    found = attackers.origins(attackers.recent_in(day), LINKS)
    assert (found.countries[0].key, found.reserved) == ("CH", 0)


def test_the_darkest_shade_is_that_of_the_country_with_the_most(day: Frame, record: Record) -> None:
    for country, count in (("US", 16), ("NL", 4), ("DE", 1)):
        for _ in range(count):
            record(network="192.0.2.1", country=country)
    found = attackers.origins(attackers.recent_in(day), LINKS)
    assert [line.level for line in found.countries] == [4, 2, 1]


# -- the guard itself ------------------------------------------------------------------------------------------------


def test_an_outage_begins_and_ends_with_its_events(day: Frame, record: Record) -> None:
    away, back = NOW - timedelta(minutes=9), NOW - timedelta(minutes=2)
    record(event_type="degraded", category="system", timestamp=away, extra={"component": "store", "error": "refused"})
    record(event_type="recovered", category="system", timestamp=back, extra={"component": "store", "seconds": 420})
    (outage,) = state.outages(day)
    assert outage == state.Outage("store", away, back, 420, "refused")


def test_an_outage_that_is_not_over_says_so_and_comes_first(day: Frame, record: Record) -> None:
    record(
        event_type="recovered", category="system", timestamp=NOW - timedelta(minutes=1), extra={"component": "store"}
    )
    record(
        event_type="degraded", category="system", timestamp=NOW - timedelta(hours=1), extra={"component": "database"}
    )
    found = state.outages(day)
    assert [(outage.component, outage.ended is None) for outage in found] == [("database", True), ("store", False)]


def test_rows_whose_details_are_not_what_they_should_be_are_shown_all_the_same(day: Frame, record: Record) -> None:
    record(event_type="degraded", category="system", extra=["what"])
    record(event_type="recovered", category="system", extra={"component": {"a": 1}, "seconds": "long"})
    assert len(state.outages(day)) == 2


def test_what_is_in_force_is_counted_by_who_decided_it(db: None) -> None:
    records.block_network("192.0.2.1", duration=60, by="an operator")
    records.block_network("192.0.2.2", duration=60, by="an operator")
    records.unblock_network("192.0.2.2", by="an operator")
    records.allow_network("192.0.2.3", duration=None, by="an operator")
    found = state.in_force()
    assert (found.blocks, found.by_operators, found.locks, found.allowed) == (1, 1, 0, 1)


def test_this_process_says_how_it_is_doing_without_a_query(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        found = state.health()
    assert (found.mode, found.store, found.degraded) == ("enforce", "MemoryStore", False)
    assert not found.loaded


@pytest.mark.parametrize("count", [1, 2_000])
def test_the_number_of_queries_does_not_grow(
    count: int, day: Frame, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    EventRecord.objects.bulk_create(
        [row(network=f"192.0.2.{n % 250}", country="NL", account_digest=f"{n:032x}") for n in range(count)]
    )
    with django_assert_num_queries(1):
        recent = attackers.recent_in(day)
    for read in (attackers.addresses, attackers.accounts, attackers.origins):
        with django_assert_num_queries(0):
            read(recent, LINKS)
    with django_assert_num_queries(2):
        threats.threats_in(day).by_rule(LINKS)
    with django_assert_num_queries(1):
        trends.trends_in(day).rows(LINKS)
    with django_assert_num_queries(1):
        state.outages(day)
    with django_assert_num_queries(3):
        state.in_force()
