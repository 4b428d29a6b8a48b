"""Countries of addresses, from the packages' own tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from secguard import geo
from secguard.middleware import SecurityGuardMiddleware
from tests.conftest import RunPython


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A country database in the forms of several publishers."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-Country")
    for network, record in (
        ("8.8.8.0/24", {"country": {"iso_code": "NL"}}),
        ("10.1.0.0/16", {"country": {"iso_code": "CH"}}),
        ("2001:db8:5::/48", {"country": {"iso_code": "BR"}}),
        ("9.9.9.0/24", {"country_code": "se", "country": "Sweden"}),
        ("9.9.8.0/24", {"country": "FI"}),
        ("9.9.7.0/24", {"continent": {"code": "EU"}}),
        ("9.9.6.0/24", {"country": {"iso_code": "<script>"}}),
    ):
        writer.insert_network(IPSet([network]), record)
    path = tmp_path / "countries.mmdb"
    writer.to_db_file(str(path))
    return path


def test_an_address_of_the_internet_has_a_country() -> None:
    assert geo.country_of("8.8.8.8") == "US"
    assert geo.country_of("193.0.6.139") == "NL"
    assert geo.country_of("::ffff:193.0.6.139") == "NL"


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "192.168.0.1", "127.0.0.1", "203.0.113.9", "224.0.0.1", "255.255.255.255", "0.0.0.0",
     "2606:4700::1111", "fe80::1%eth0", "::1", "", "8.8.8", "8.8.8.8.8", "example.com", "8.8.8.8, 9.9.9.9",
     "\x00", "９.９.９.９", "8" * 100_000, None, 8],
)  # fmt: skip
def test_what_is_private_reserved_or_no_address_has_none(address: Any) -> None:
    assert geo.country_of(address) == ""


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("8.8.8.8", "NL"),
        ("10.1.2.3", "CH"),
        ("2001:db8:5::1", "BR"),
        ("2001:db8:5::/64", "BR"),
        ("::ffff:8.8.8.8", "NL"),
        ("9.9.9.9", "SE"),
        ("9.9.8.1", "FI"),
        ("9.9.7.1", ""),
        ("9.9.6.1", ""),
        ("1.1.1.1", ""),
        ("nonsense", ""),
    ],
)
def test_the_operators_own_file_decides_where_there_is_one(
    address: str, country: str, database: Path, settings: Any
) -> None:
    settings.SECGUARD = {"GEOIP_PATH": str(database)}
    assert geo.country_of(address) == country


def test_a_file_that_is_no_database_is_said_once_and_harms_nobody(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "countries.mmdb"
    path.write_text("no database")
    settings.SECGUARD = {"GEOIP_PATH": str(path)}
    assert [geo.country_of("8.8.8.8"), geo.country_of("9.9.9.9")] == ["", ""]
    (told,) = [record for record in caplog.records if record.name == "secguard"]
    assert "GEOIP_PATH" in told.getMessage()
    assert "Name an MMDB file" in told.getMessage()


def test_without_the_packages_no_address_has_a_country(
    database: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    geo._embedded.cache_clear()
    monkeypatch.setitem(sys.modules, "ip3country", None)
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    assert geo.country_of("8.8.8.8") == ""
    assert caplog.records == []  # nobody asked for countries
    settings.SECGUARD = {"GEOIP_PATH": str(database)}
    assert geo.country_of("8.8.8.8") == ""
    assert "django-secguard[geo]" in caplog.text
    geo._embedded.cache_clear()


def test_a_file_that_is_damaged_later_harms_nobody(database: Path, settings: Any) -> None:
    settings.SECGUARD = {"GEOIP_PATH": str(database)}
    geo.country_of("8.8.8.8")
    reader = geo._look_up().__closure__[0].cell_contents  # type: ignore[index]
    reader.close()
    assert geo.country_of("8.8.8.8") == ""


def test_nothing_is_read_until_a_country_is_asked_for(run_python: RunPython) -> None:
    code = (
        "import django, sys; django.setup(); from django.test import Client; import secguard.geo;"
        "print({'ip3country', 'maxminddb'} & sys.modules.keys())"
    )
    done = run_python(code, DJANGO_SETTINGS_MODULE="tests.settings")
    assert done.stdout.strip() == "set()", done.stderr


def test_a_server_reads_the_table_when_it_starts_and_not_in_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(geo, "_embedded", lambda: read.append("table"))
    SecurityGuardMiddleware(lambda request: None)
    assert read == ["table"]


def test_where_nothing_is_recorded_no_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(geo, "_embedded", lambda: read.append("table"))
    with override_settings(SECGUARD={"PERSIST_EVENTS": "none"}):
        SecurityGuardMiddleware(lambda request: None)
    assert read == []
