"""In which country an address is: offline, from a table that a package brings or a file of the operator's.

The one door to ip3country and maxminddb. Neither is needed: without them no address has a country.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure

Address = IPv4Address | IPv6Address
LookUp = Callable[[Address], str]

INSTALL = 'Install it: pip install "django-secguard[geo]".'


def country_of(address: str) -> str:
    """ISO 3166-1 alpha-2; or empty for what is unknown, private, reserved or no address.

    ``address``: an address, or a network, of which its first address is looked up. With SECGUARD["GEOIP_PATH"] that
    file alone decides, also about private addresses. Never raises. The first call in a process reads the table, which
    takes a few tenths of a second: see ``prepare``.
    """
    try:
        parsed = ip_address(address.partition("/")[0])
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
    except (ValueError, AttributeError):
        return ""
    try:
        return _look_up()(parsed)
    except Exception:
        report_failure("the country of an address could not be looked up")
        return ""


def prepare() -> None:
    """Read the table now, so that no request has to wait for it. Never raises."""
    if get_settings().persist_events == "none":
        return
    try:
        _look_up()
    except Exception:
        report_failure("the table of countries could not be read; no address has a country")


def why_not(path: str) -> str | None:
    """What keeps a country database of the operator's from being read and what to do, or None."""
    try:
        _read(path).close()
    except ImportError:
        return f"The package maxminddb, which reads it, is not installed. {INSTALL}"
    except Exception as error:
        return f"{error} ({type(error).__name__}). Name an MMDB file, such as GeoLite2-Country.mmdb."
    return None


@until_settings_change
def _look_up() -> LookUp:
    path = get_settings().geoip_path
    if path is None:
        return _embedded()
    try:
        reader = _read(path)
    except Exception:
        report_failure("SECGUARD['GEOIP_PATH'] cannot be read, so that no address has a country: %s", why_not(path))
        return _nowhere
    return lambda address: _code_in(reader.get(address))


def _read(path: str) -> Any:
    """Raises ImportError without the package, and maxminddb's or the disk's errors."""
    import maxminddb

    return maxminddb.open_database(path)


def _code_in(record: Any) -> str:
    """MaxMind and DB-IP say ``country.iso_code``, IPinfo ``country_code`` or ``country``."""
    if not isinstance(record, dict):
        return ""
    country = record.get("country")
    if isinstance(country, dict):
        return _code(country.get("iso_code"))
    return _code(record.get("country_code")) or _code(country)


def _code(value: object) -> str:
    """A code, if it looks like one: the file is somebody else's."""
    if isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha():
        return value.upper()
    return ""


@cache
def _embedded() -> LookUp:
    """The table of ip3country: IPv4 alone. Kept, whatever the settings: it takes 13 MB and does not change."""
    try:
        from ip3country import CountryLookup
    except ImportError:
        return _nowhere
    table = CountryLookup()

    def look_up(address: Address) -> str:
        # Nothing but the addresses of the internet: the table fills the gaps between them.
        if address.version == 6 or not address.is_global or address.is_multicast:
            return ""
        return _code(table.lookupNumeric(int(address)))

    return look_up


def _nowhere(address: Address) -> str:
    return ""
