"""Blocked and allowed networks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy

from secguard import records
from secguard.admin.decisions import DecisionAdmin, OriginFilter, StateFilter
from secguard.admin.forms import AllowForm, BlockForm
from secguard.admin.links import address_page
from secguard.admin.search import network_of, networks_in
from secguard.admin.wording import shown
from secguard.models import AllowedNetwork, Block
from secguard.network import parse_network
from secguard.records.explain import covering_names
from secguard.records.summary import blocks_around, lists_with

_SEARCH_HELP = gettext_lazy("An address or a network (what covers it is found too), or the reference of a refusal.")


class ListFilter(SimpleListFilter):
    """Imported lists: whether a block is on one. Which one, the URL may say."""

    title = gettext_lazy("list")
    parameter_name = "list"
    _ANY, _NONE = "+", "-"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = self.value() or self._ANY
        named = [] if value in (self._ANY, self._NONE) else [(value, shown(value, 64))]
        return [(self._NONE, gettext_lazy("on no list")), (self._ANY, gettext_lazy("on a list")), *named]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Block]) -> QuerySet[Block]:
        value = self.value()
        if value is None:
            return queryset
        if value == self._ANY:
            return queryset.filter(list_name__gt="")
        return queryset.filter(list_name="" if value == self._NONE else value.replace("\x00", ""))


class _NetworkAdmin:
    """What blocks and allowed networks have in common: whom they are about."""

    admin_site: admin.AdminSite

    def subject_page(self, row: Any) -> str | None:
        return address_page(self.admin_site, row.network)

    def covering(self, term: str) -> Q | None:
        network = network_of(term)
        if network is None:
            return None
        return Q(network__in={*covering_names(network), *(networks_in(network) or ())})


class BlockAdmin(_NetworkAdmin, DecisionAdmin[Block]):
    """Blocks: added, lifted, and kept as their own history."""

    form_class = BlockForm
    list_display = ("whom", "state", "left", "by_rule", "on_list", "why", "by", "since", "about")
    list_filter = (StateFilter, OriginFilter, ListFilter)
    search_help_text = _SEARCH_HELP
    fieldsets = (
        (None, {"fields": ("whom", "state", "left", "about")}),
        (gettext_lazy("Why"), {"fields": ("by_rule", "on_list", "why", "by", "since", "ends", "reference")}),
        (gettext_lazy("Lifted"), {"fields": ("lifted", "who_lifted", "why_lifted")}),
    )

    @admin.display(description=gettext_lazy("list"), empty_value="")
    def on_list(self, row: Block) -> str:
        return shown(row.list_name)

    def decide(self, form: BlockForm, by: str) -> str:
        network, reason = form.cleaned_data["network"], form.cleaned_data["reason"]
        return records.block_network(network, duration=form.seconds, reason=reason, by=by).reference

    def lift(self, row: Block, reason: str, by: str) -> int:
        return records.unblock_network(row.network, reason=reason, by=by)

    def cautions(self, row: Block) -> list[str]:
        inside = gettext("It is still inside the blocked network %s.")
        listed = gettext("It is on the list %s, whose next import blocks it again: allow it instead.")
        around = [inside % network for network in blocks_around(parse_network(row.network))]
        return around + [listed % shown(name) for name in lists_with(row.network)]


class AllowedNetworkAdmin(_NetworkAdmin, DecisionAdmin[AllowedNetwork]):
    """Who is never refused."""

    form_class = AllowForm
    list_display = ("whom", "state", "left", "why", "by", "since", "about")
    list_filter = (StateFilter,)
    search_help_text = _SEARCH_HELP
    fieldsets = (
        (None, {"fields": ("whom", "state", "left", "about")}),
        (gettext_lazy("Why"), {"fields": ("why", "by", "since", "ends", "reference")}),
        (gettext_lazy("Lifted"), {"fields": ("lifted", "who_lifted", "why_lifted")}),
    )

    def decide(self, form: AllowForm, by: str) -> str:
        network, reason = form.cleaned_data["network"], form.cleaned_data["reason"]
        return records.allow_network(network, duration=form.seconds, reason=reason, by=by).reference

    def lift(self, row: AllowedNetwork, reason: str, by: str) -> int:
        return records.disallow_network(row.network, reason=reason, by=by)
