"""What the pages of blocks, allowed networks and account locks share: rows are added and lifted, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy, ngettext

from secguard.admin.access import MANAGE, VIEW_EVENTS, demand, may, operator, said_if_unreadable
from secguard.admin.forms import DecisionForm, ReasonActionForm
from secguard.admin.links import page
from secguard.admin.paging import BoundedChangeList, BoundedPaginator
from secguard.admin.search import id_of
from secguard.admin.wording import duration, moment, shown, state_badge
from secguard.logging import get_event_logger
from secguard.models import Decision, ended_at, in_force_at
from secguard.records import database

D = TypeVar("D", bound=Decision)
#: So many decisions are lifted at once from the list: each is told of, and its counters are reset.
MOST_LIFTED = 200


class StateFilter(SimpleListFilter):
    """What holds now, and what does no more."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("in_force", gettext_lazy("in force")), ("ended", gettext_lazy("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "in_force":
            return queryset.filter(in_force_at(Now()))
        if self.value() == "ended":
            return queryset.filter(ended_at(Now()))
        return queryset


class OriginFilter(SimpleListFilter):
    """Which rule decided it, or that an operator did."""

    title = gettext_lazy("rule")
    parameter_name = "rule"
    _OPERATORS = "-"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        rules = [(rule.name, rule.name) for rule in get_event_logger().effective_rules()]
        return [(self._OPERATORS, gettext_lazy("none: operators and lists")), *rules]

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield from super().choices(changelist)
        known, value = {str(value) for value, _label in self.lookup_choices}, self.value()
        if value and value not in known:
            yield {"selected": True, "query_string": changelist.get_query_string(), "display": shown(value, 64)}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(rule="" if value == self._OPERATORS else value.replace("\x00", ""))


if TYPE_CHECKING:

    class _Admin(admin.ModelAdmin[D]): ...
else:

    class _Admin(admin.ModelAdmin, Generic[D]):
        """Django's own is no generic."""


class DecisionAdmin(_Admin[D]):
    """``form_class``: what adds one. Subclasses say how one is taken and lifted, and where its subject has a page."""

    form_class: ClassVar[type[DecisionForm]]
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("-pk",)
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    search_fields = ("reference",)
    action_form = ReasonActionForm
    actions = ("lift_selected",)
    change_form_template = "admin/secguard/decision/change_form.html"

    class Media:
        css = {"all": ("secguard/admin.css",)}  # noqa: RUF012 - as Django wants it

    # -- what subclasses say -----------------------------------------------------------------------------------------

    def decide(self, form: Any, by: str) -> str:
        """Take the decision. → its row's reference. Raises ValueError for what cannot be decided."""
        raise NotImplementedError

    def lift(self, row: D, reason: str, by: str) -> int:
        """End what is in force of this row's subject. → how many rows that were."""
        raise NotImplementedError

    def subject_page(self, row: D) -> str | None:
        raise NotImplementedError

    def covering(self, term: str) -> Q | None:
        """The rows that are about what was searched for; None for nothing."""
        raise NotImplementedError

    def cautions(self, row: D) -> list[str]:
        """What will refuse the subject of this row all the same when it is lifted."""
        return []

    # -- permissions -------------------------------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: D | None = None) -> bool:
        return super().has_view_permission(request, obj) or may(request, MANAGE)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or may(request, MANAGE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request, MANAGE)

    def has_change_permission(self, request: HttpRequest, obj: D | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: D | None = None) -> bool:
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """What the action asks for."""
        return may(request, MANAGE)

    # -- bounded queries ---------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[D]:
        """From the database that decisions are written to, with its clock."""
        rows: Any = super().get_queryset(request).using(database()).annotate(now=Now())
        return rows  # type: ignore[no-any-return]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return BoundedChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in {"state", "rule", "list"}  # what the filters take

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        reference = id_of(term)
        found = Q(reference=reference) if reference else self.covering(term)
        return (queryset.none() if found is None else queryset.filter(found)), False

    # -- pages -------------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"secguard_{self.opts.model_name}_lift"
        lift = path("<path:object_id>/lift/", self.admin_site.admin_view(self.lift_view), name=name)
        return [lift, *super().get_urls()]

    @said_if_unreadable
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @said_if_unreadable
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            form = self.form_class(request.POST, request=request)
            if form.is_valid() and (done := self._decided(request, form)):
                return done
        else:
            asked = self.form_class.base_fields.keys() - {"confirmed"}  # a link answers no question
            given = {name: value for name, value in request.GET.items() if name in asked}
            form = self.form_class(request=request, initial=given)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Add %s") % self.opts.verbose_name,
            "opts": self.opts,
            "form": form,
            "media": self.media,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/secguard/decision/add_form.html", context)

    def _decided(self, request: HttpRequest, form: DecisionForm) -> HttpResponse | None:
        try:
            reference = self.decide(form, operator(request))
        except ValueError as error:
            form.add_error(form.subject_field, str(error))
            return None
        row = self.model._default_manager.using(database()).filter(reference=reference).first()
        said = gettext("%(what)s: %(subject)s was added.")
        subject = form.cleaned_data[form.subject_field]
        messages.success(request, said % {"what": capfirst(self.opts.verbose_name), "subject": shown(subject)})
        if row is None:
            return HttpResponseRedirect(page(self.admin_site, f"secguard_{self.opts.model_name}_changelist") or "")
        self.log_addition(request, _nameless(row), [{"added": {}}])
        return self._back_to(request, row)

    def _back_to(self, request: HttpRequest, row: D) -> HttpResponse:
        """To the page of whom it is about, for those who may see it."""
        own = page(self.admin_site, f"secguard_{self.opts.model_name}_change", row.pk)
        subject = self.subject_page(row) if may(request, VIEW_EVENTS) else None
        return HttpResponseRedirect(subject or own or "")

    @said_if_unreadable
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id)) if object_id else None
        own: dict[str, Any] = {}
        if row is not None:
            holds = row.state_at(row.now) == "in force"  # type: ignore[attr-defined]
            lift = page(self.admin_site, f"secguard_{self.opts.model_name}_lift", row.pk)
            own = {"lift_url": lift if holds and may(request, MANAGE) else None}
            own["subject_url"] = self.subject_page(row) if may(request, VIEW_EVENTS) else None
        return super().changeform_view(request, object_id, form_url, {**own, **(extra_context or {})})

    @said_if_unreadable
    def lift_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        demand(request, MANAGE)
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        cautions = self.cautions(row)
        lifted = self._lift(request, row, request.POST.get("reason", "").strip()[:255])
        if lifted:
            said = ngettext(
                "%(subject)s: %(count)d row was lifted.", "%(subject)s: %(count)d rows were lifted.", lifted
            )
            messages.success(request, said % {"subject": shown(str(row)), "count": lifted})
        else:
            messages.warning(request, gettext("%s was not in force any more.") % shown(str(row)))
        for caution in cautions:
            messages.warning(request, caution)
        came_from = request.POST.get("next", "")
        if url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure()):
            return HttpResponseRedirect(came_from)
        return self._back_to(request, row)

    def _lift(self, request: HttpRequest, row: D, reason: str) -> int:
        if row.state_at(row.now) != "in force":  # type: ignore[attr-defined]
            return 0
        lifted = self.lift(row, reason, operator(request))
        if lifted:
            self.log_change(request, _nameless(row), gettext("Lifted"))
        return lifted

    @admin.action(description=gettext_lazy("Lift the selected ones"), permissions=["manage"])
    def lift_selected(self, request: HttpRequest, queryset: QuerySet[D]) -> None:
        rows = list(queryset[: MOST_LIFTED + 1])
        if len(rows) > MOST_LIFTED:
            said = gettext("Choose at most %d at once, or use the command: nothing was lifted.")
            messages.error(request, said % MOST_LIFTED)
            return
        reason = request.POST.get("reason", "").strip()[:255]
        lifted, subjects = 0, set()
        for row in rows:
            # All rows about one subject are lifted together.
            if str(row) not in subjects:
                done = self._lift(request, row, reason)
                lifted += done
                subjects |= {str(row)} if done else set()
        if not lifted:
            messages.warning(request, gettext("None of them was in force any more."))
            return
        said = ngettext("%d row was lifted.", "%d rows were lifted.", lifted)
        messages.success(request, said % lifted)

    # -- columns and fields ------------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: D) -> SafeString:
        return state_badge(row.state_at(row.now))  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("time left"), empty_value="")
    def left(self, row: D) -> str:
        now = row.now  # type: ignore[attr-defined]
        if row.state_at(now) != "in force":
            return ""
        return gettext("for good") if row.expires_at is None else duration((row.expires_at - now).total_seconds())

    @admin.display(description=gettext_lazy("whom"))
    def whom(self, row: D) -> str:
        return shown(str(row))

    @admin.display(description=gettext_lazy("page"), empty_value="")
    def about(self, row: D) -> str:
        link = self.subject_page(row)
        return (
            "" if link is None else format_html('<a href="{}">{}</a>', link, gettext("All about %s") % shown(str(row)))
        )

    @admin.display(description=gettext_lazy("since"))
    def since(self, row: D) -> str:
        return moment(row.created_at)

    @admin.display(description=gettext_lazy("ends"))
    def ends(self, row: D) -> str:
        return moment(row.expires_at) or gettext("for good")

    @admin.display(description=gettext_lazy("rule"), empty_value="")
    def by_rule(self, row: D) -> str:
        return shown(row.rule)

    @admin.display(description=gettext_lazy("by"), empty_value="")
    def by(self, row: D) -> str:
        return shown(row.created_by)

    @admin.display(description=gettext_lazy("reason"), empty_value="")
    def why(self, row: D) -> str:
        return shown(row.reason)

    @admin.display(description=gettext_lazy("lifted at"), empty_value="")
    def lifted(self, row: D) -> str:
        return moment(row.lifted_at) or "-"

    @admin.display(description=gettext_lazy("lifted by"), empty_value="")
    def who_lifted(self, row: D) -> str:
        return shown(row.lifted_by) or "-"

    @admin.display(description=gettext_lazy("reason of lifting"), empty_value="")
    def why_lifted(self, row: D) -> str:
        return shown(row.lift_reason) or "-"


def _nameless(row: D) -> D:
    """For Django's own history, which nobody erases: a decision by its reference, without the name of anybody."""
    twin: Any = copy(row)
    twin.network = twin.account = str(row.reference)
    return cast("D", twin)
