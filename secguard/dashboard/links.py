"""Where the events behind a number are: addresses of the admin's pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from secguard.network import canonical_network


class Links:
    """Addresses under the admin site of this name (``AdminSite.name``).

    ``closed``: names of pages that the reader may not see, and so is not led to.
    """

    def __init__(self, site: str, closed: Collection[str] = ()) -> None:
        self._site, self._closed = site, closed
        self._events = self.to("secguard_eventrecord_changelist")

    def to(self, name: str, *args: str) -> str:
        """A page of the site, or empty if it has none: another site may register what it likes."""
        if name in self._closed:
            return ""
        try:
            return reverse(f"admin:{name}", args=args, current_app=self._site)
        except NoReverseMatch:
            return ""

    def events(self, filters: Mapping[str, str], since: datetime, until: datetime | None = None) -> str:
        """The list of events in a time. ``filters``: the list's own GET parameters."""
        if not self._events:
            return ""
        query = {**filters, "timestamp__gte": since.isoformat()}
        if until is not None:
            query["timestamp__lt"] = until.isoformat()
        return f"{self._events}?{urlencode(query)}"

    def address(self, network: str) -> str:
        """The page about an address; a network that PRIVACY hides has none."""
        try:
            return self.to("secguard_address", canonical_network(network)) if network else ""
        except ValueError:
            return ""

    def account(self, digest: str) -> str:
        return self.to("secguard_account", digest) if digest else ""
