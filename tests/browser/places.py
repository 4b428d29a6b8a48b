"""Where documentation's addresses are, for a test's site: a country database of its own."""

from __future__ import annotations

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

COUNTRIES = {
    "BR": ("198.51.100.0/27", "2001:db8:b::/48"),
    "IN": ("198.51.100.32/27",),
    "NL": ("198.51.100.64/27",),
    "US": ("198.51.100.96/27",),
    "VN": ("203.0.113.64/27",),
    "ZA": ("203.0.113.96/27",),
    "SG": ("203.0.113.128/27",),
    "ID": ("203.0.113.160/27",),
}


def write_countries(path: Path) -> Path:
    """An MMDB file with these countries. → its path"""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Documentation-Country")
    for code, networks in COUNTRIES.items():
        writer.insert_network(IPSet(networks), {"country": {"iso_code": code}})
    writer.to_db_file(str(path))
    return path
