"""Where the pages are. Each link is None on an admin site that lacks the page."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.urls import NoReverseMatch, reverse

from secguard.records import canonical_network


def page(site: AdminSite, name: str, *args: object) -> str | None:
    """The path of a page of this site, by its name without the namespace."""
    try:
        return reverse(f"admin:{name}", args=args, current_app=site.name)
    except NoReverseMatch:
        return None


def events_page(site: AdminSite, **filters: str) -> str | None:
    """The list of events, filtered."""
    path = page(site, "secguard_eventrecord_changelist")
    return f"{path}?{urlencode(filters)}" if path and filters else path


def address_page(site: AdminSite, network: str) -> str | None:
    """The page of an address or network; of what is shown of one in its place, the events."""
    if not network:
        return None
    try:
        return page(site, "secguard_address", canonical_network(network))
    except ValueError:
        return events_page(site, network=network)


def account_page(site: AdminSite, digest: str, name: str = "") -> str | None:
    """The page of an account. ``name``: as somebody typed it, since its counters are not found by the digest."""
    path = page(site, "secguard_account", digest) if digest else None
    return f"{path}?{urlencode({'name': name})}" if path and name and name != digest else path
