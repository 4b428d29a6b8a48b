"""The page of an address or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from secguard.admin import subjects
from secguard.admin.access import MANAGE, VIEW_EVENTS, demand, operator, said_if_unreadable
from secguard.admin.forms import AllowForm, BlockForm
from secguard.admin.links import account_page, events_page, page
from secguard.admin.narrowing import Condition
from secguard.admin.search import network_of, networks_in, stored_as
from secguard.network import Network
from secguard.privacy import shown_address
from secguard.records import canonical_network
from secguard.records.explain import explain_any
from secguard.records.resetting import reset_network

if TYPE_CHECKING:
    from secguard.admin.events import EventRecordAdmin


def urls(model_admin: EventRecordAdmin) -> list[URLPattern]:
    own = AddressPages(model_admin)
    guarded = own.admin_site.admin_view
    return [
        path("address/<path:network>/reset/", guarded(own.reset), name="secguard_address_reset"),
        path("address/<path:network>/", guarded(own.show), name="secguard_address"),
    ]


class AddressPages:
    """``/address/203.0.113.7/``, ``/address/2001:db8::/64/``, ``/address/203.0.113.0/24/``."""

    def __init__(self, model_admin: EventRecordAdmin) -> None:
        self.model_admin, self.admin_site = model_admin, model_admin.admin_site

    @said_if_unreadable
    def show(self, request: HttpRequest, network: str) -> HttpResponse:
        demand(request, VIEW_EVENTS)
        found = _network(network)
        canonical = canonical_network(str(found))
        if canonical != network:
            return HttpResponseRedirect(page(self.admin_site, "secguard_address", canonical) or "")
        explained = explain_any(found)
        names = networks_in(found)
        events = subjects.latest(Condition("network", stored_as(names))) if names else []
        context = subjects.context(self.model_admin, request, explained, events)
        facts = [(_("Counted as"), explained.counted_as)] if explained.counted_as else []
        facts.append((_("Blocks by rules that are remembered"), str(explained.offences)))
        kept = shown_address(canonical)
        if kept != canonical and network_of(kept) is not None:
            facts.append((_("Events are kept by network, as PRIVACY has it: these are of"), kept))
        context["facts"] += facts
        form: Any = {"network": canonical, "duration": "86400"}
        return TemplateResponse(
            request,
            "admin/secguard/address.html",
            {
                **context,
                "title": _("Address %s") % canonical if explained.kind == "address" else _("Network %s") % canonical,
                "network": canonical,
                "too_wide": names is None,
                "all_events": events_page(self.admin_site, q=canonical),
                "accounts": subjects.touched(
                    events,
                    lambda event: (event.account_digest, event.account),
                    lambda digest: account_page(self.admin_site, digest),
                ),
                "block_form": BlockForm(request=request, initial=form, auto_id="block_%s"),
                "block_url": page(self.admin_site, "secguard_block_add"),
                "allow_form": AllowForm(request=request, initial=form, auto_id="allow_%s"),
                "allow_url": page(self.admin_site, "secguard_allowednetwork_add"),
                "reset_url": page(self.admin_site, "secguard_address_reset", canonical),
            },
        )

    @said_if_unreadable
    def reset(self, request: HttpRequest, network: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        demand(request, MANAGE)
        canonical = canonical_network(str(_network(network)))
        reset_network(canonical, reason=request.POST.get("reason", "").strip()[:255], by=operator(request))
        messages.success(request, _("%s is counted from nought.") % canonical)
        return HttpResponseRedirect(page(self.admin_site, "secguard_address", canonical) or "")


def _network(text: str) -> Network:
    """Raises Http404 for what is no address or network."""
    found = network_of(text)
    if found is None:
        raise Http404
    return found
