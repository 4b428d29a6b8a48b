"""Events as operators read them: nothing here writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.serializers.json import DjangoJSONEncoder
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseBase,
    HttpResponseNotAllowed,
)
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from secguard.admin import account, address, finding
from secguard.admin.access import VIEW_EVENTS, demand, said_if_unreadable
from secguard.admin.event_list import EventChangeList
from secguard.admin.export import FORMATS, MOST_EXPORTED, exported
from secguard.admin.filters import EVENT_FILTERS, EVENT_LOOKUPS
from secguard.admin.links import account_page, address_page, events_page, page
from secguard.admin.paging import BoundedPaginator
from secguard.admin.wording import moment, severity_badge, shown
from secguard.dashboard import urls as dashboard
from secguard.logging import get_event_logger
from secguard.models import EventRecord

if TYPE_CHECKING:
    _EventAdmin = admin.ModelAdmin[EventRecord]
else:
    _EventAdmin = admin.ModelAdmin  # Django's own is no generic


class EventRecordAdmin(_EventAdmin):
    """The list, the object page, exports; and the pages of addresses and accounts, which are made of events."""

    list_display = ("time", "grade", "what", "client", "whom", "text", "by_rule", "number")
    list_display_links = ("time",)
    list_filter = EVENT_FILTERS
    list_per_page = 50
    list_max_show_all = 200
    date_hierarchy = "timestamp"
    ordering = ("-timestamp", "-pk")
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    actions = None
    # Not searched by them: any field makes the search box appear, and EventChangeList does the rest.
    search_fields = ("event_id",)
    search_help_text = _(
        "An address (203.0.113.7, 2001:db8::1), a network of at most 256 addresses (203.0.113.0/24), an account, "
        "a request id or an event id."
    )
    fieldsets = (
        (None, {"fields": ("time", "what", "category", "grade", "text", "by_rule", "number")}),
        (_("Whom it is about"), {"fields": ("client", "counted_as", "country", "whom", "account_digest", "user")}),
        (_("The request"), {"fields": ("method", "asked_path", "agent", "request_link")}),
        (_("Details"), {"fields": ("details", "event_id")}),
    )
    change_list_template = "admin/secguard/eventrecord/change_list.html"
    change_form_template = "admin/secguard/eventrecord/change_form.html"

    class Media:
        css = {"all": ("secguard/admin.css",)}  # noqa: RUF012 - as Django wants it

    # -- nothing is written ----------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: EventRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: EventRecord | None = None) -> bool:
        return False

    # -- bounded queries -------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventChangeList]:
        return EventChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in EVENT_LOOKUPS

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return queryset, False

    # -- pages -----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        guarded = self.admin_site.admin_view
        own = [
            path("export/<slug:form>/", guarded(self.export_view), name="secguard_eventrecord_export"),
            *finding.urls(self),
            *address.urls(self),
            *account.urls(self),
            *dashboard.urlpatterns(self.admin_site),
        ]
        return own + super().get_urls()

    @said_if_unreadable
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        exports = {form: page(self.admin_site, "secguard_eventrecord_export", form) for form in FORMATS}
        links = {form: f"{link}?{query}" if query else link for form, link in exports.items() if link}
        own = {"title": _("Security events"), "exports": links, "most_exported": MOST_EXPORTED}
        return super().changelist_view(request, {**own, **(extra_context or {})})

    @said_if_unreadable
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """An event has no history: it is one."""
        raise Http404

    @said_if_unreadable
    def export_view(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """The filtered list as a file. To take so much away is itself an event."""
        demand(request, VIEW_EVENTS)
        if form not in FORMATS:
            raise Http404
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        try:
            found: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest(_("These filters cannot be understood."))
        get_event_logger().log_data_access(
            request.user, "security events", "export", request=request, format=form,
            filters={name: values[-1] for name, values in found.filter_params.items()},
        )  # fmt: skip
        return exported(request, found.queryset, form, found.narrowed.since)

    # -- columns and fields ----------------------------------------------------------------------------------------

    @admin.display(description=_("time"))
    def time(self, event: EventRecord) -> str:
        return moment(event.timestamp)

    @admin.display(description=_("type"))
    def what(self, event: EventRecord) -> str:
        return event.event_type

    @admin.display(description=_("severity"))
    def grade(self, event: EventRecord) -> SafeString:
        return severity_badge(event.severity)

    @admin.display(description=_("message"), empty_value="")
    def text(self, event: EventRecord) -> str:
        return shown(event.message, 512)

    @admin.display(description=_("address"), empty_value="")
    def client(self, event: EventRecord) -> str:
        return _linked(address_page(self.admin_site, event.network), event.ip_address or event.network)

    @admin.display(description=_("account"), empty_value="")
    def whom(self, event: EventRecord) -> str:
        return _linked(account_page(self.admin_site, event.account_digest), event.account)

    @admin.display(description=_("rule"), empty_value="")
    def by_rule(self, event: EventRecord) -> str:
        return shown(event.rule)

    @admin.display(description=_("count"), empty_value="")
    def number(self, event: EventRecord) -> str:
        return "" if event.count is None else str(event.count)

    @admin.display(description=_("counted as"))
    def counted_as(self, event: EventRecord) -> str:
        return _linked(events_page(self.admin_site, network=event.network), event.network)

    @admin.display(description=_("user id"))
    def user(self, event: EventRecord) -> str:
        return shown(event.user_id)

    @admin.display(description=_("path"))
    def asked_path(self, event: EventRecord) -> str:
        return shown(event.path, 512)

    @admin.display(description=_("user agent"))
    def agent(self, event: EventRecord) -> str:
        return shown(event.user_agent, 512)

    @admin.display(description=_("request id"))
    def request_link(self, event: EventRecord) -> str:
        return _linked(events_page(self.admin_site, q=event.request_id), event.request_id)

    @admin.display(description=_("further details"))
    def details(self, event: EventRecord) -> SafeString:
        text = json.dumps(event.extra, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False, sort_keys=True)
        lines = "\n".join(shown(line, 2_000) for line in text.split("\n")[:2_000])
        return format_html('<pre class="sg-json">{}</pre>', lines)


def _linked(link: str | None, text: str) -> str:
    """Hostile text that leads somewhere."""
    readable = shown(text)
    return format_html('<a href="{}">{}</a>', link, readable) if link and readable else readable
