"""The box for "an address or an account", which leads to its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path

from secguard.admin.access import VIEW_EVENTS, demand, said_if_unreadable
from secguard.admin.links import account_page, address_page, events_page
from secguard.admin.search import digest_of, id_of, is_address_pseudonym, network_of

if TYPE_CHECKING:
    from secguard.admin.events import EventRecordAdmin


def urls(model_admin: EventRecordAdmin) -> list[URLPattern]:
    own = Finder(model_admin)
    return [path("find/", own.admin_site.admin_view(own.find), name="secguard_find")]


class Finder:
    """``/find/?q=203.0.113.7``."""

    def __init__(self, model_admin: EventRecordAdmin) -> None:
        self.admin_site = model_admin.admin_site

    @said_if_unreadable
    def find(self, request: HttpRequest) -> HttpResponse:
        """An address or network; an id of 36 characters among the events; else an account."""
        demand(request, VIEW_EVENTS)
        text = request.GET.get("q", "").strip()
        network, digest = network_of(text), digest_of(text)
        if network is not None:
            return HttpResponseRedirect(address_page(self.admin_site, text) or "")
        if id_of(text) or is_address_pseudonym(text) or not digest:
            return HttpResponseRedirect(events_page(self.admin_site, **({"q": text} if text else {})) or "")
        return HttpResponseRedirect(account_page(self.admin_site, digest, name=text) or "")
