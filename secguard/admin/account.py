"""The page of an account, found by the digest of its name, so that a name that no user has has one too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth import get_user_model
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
from secguard.admin.access import MANAGE, VIEW_EVENTS, demand, may, operator, said_if_unreadable
from secguard.admin.forms import LockForm
from secguard.admin.links import account_page, address_page, events_page, page
from secguard.admin.narrowing import Condition
from secguard.admin.search import digest_of
from secguard.admin.wording import shown
from secguard.models import AccountLock, FailureCount
from secguard.records import database, names_of_owner
from secguard.records.accounts import find_user, is_digest
from secguard.records.explain import Explanation, explain_account
from secguard.records.resetting import reset_identifier

if TYPE_CHECKING:
    from secguard.admin.events import EventRecordAdmin


def urls(model_admin: EventRecordAdmin) -> list[URLPattern]:
    own = AccountPages(model_admin)
    guarded = own.admin_site.admin_view
    return [
        path("account/<slug:digest>/reset/", guarded(own.reset), name="secguard_account_reset"),
        path("account/<slug:digest>/", guarded(own.show), name="secguard_account"),
    ]


class AccountPages:
    """``/account/0123456789abcdef0123456789abcdef/``."""

    def __init__(self, model_admin: EventRecordAdmin) -> None:
        self.model_admin, self.admin_site = model_admin, model_admin.admin_site

    @said_if_unreadable
    def show(self, request: HttpRequest, digest: str) -> HttpResponse:
        demand(request, VIEW_EVENTS)
        _check(digest)
        events = subjects.latest(Condition("account_digest", (digest,)))
        label = request.GET.get("name", "")
        if digest_of(label) != digest:
            label = next((event.account for event in events if event.account), "") or _kept_name(digest)
        name = label if digest_of(label) == digest != label else ""
        explained = _explained(name, digest)
        sees_users = may(request, MANAGE) or _may_see_users(request)
        user: Any = find_user(name) if name and sees_users else None
        context = subjects.context(self.model_admin, request, explained, events)
        if explained.consecutive_failures is not None:
            context["facts"].append((_("Failures in a row"), explained.consecutive_failures))
        return TemplateResponse(
            request,
            "admin/secguard/account.html",
            {
                **context,
                "title": _("Account %s") % shown(label or digest),
                "subject": shown(label or digest),
                "digest": digest,
                "name": name,
                "owner": user,
                "sees_users": sees_users,
                "owner_url": self._user_page(request, user) if user else None,
                "other_names": self._other_names(user, digest) if user else [],
                "all_events": events_page(self.admin_site, account_digest__exact=digest),
                "addresses": subjects.touched(
                    events,
                    lambda event: (event.network, event.network),
                    lambda network: address_page(self.admin_site, network),
                ),
                "lock_form": LockForm(
                    request=request, initial={"account": name or digest, "duration": "86400"}, auto_id="lock_%s"
                ),
                "lock_url": page(self.admin_site, "secguard_accountlock_add"),
                "reset_url": page(self.admin_site, "secguard_account_reset", digest),
            },
        )

    @said_if_unreadable
    def reset(self, request: HttpRequest, digest: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        demand(request, MANAGE)
        _check(digest)
        given = request.POST.get("account", "")
        account = given if digest_of(given) == digest else digest
        reset_identifier(account, reason=request.POST.get("reason", "").strip()[:255], by=operator(request))
        messages.success(request, _("%s is counted from nought.") % shown(account))
        return HttpResponseRedirect(account_page(self.admin_site, digest, name=given if given == account else "") or "")

    def _user_page(self, request: HttpRequest, user: Any) -> str | None:
        """Of those who may see users."""
        model = get_user_model()._meta
        if not _may_see_users(request):
            return None
        return page(self.admin_site, f"{model.app_label}_{model.model_name}_change", user.pk)

    def _other_names(self, user: Any, digest: str) -> list[tuple[str, str | None]]:
        """The user's other identifiers, each with a page of its own."""
        names = ((name, digest_of(name)) for name in names_of_owner(user))
        return [
            (shown(name), account_page(self.admin_site, other, name=name)) for name, other in names if other != digest
        ]


def _may_see_users(request: HttpRequest) -> bool:
    model = get_user_model()._meta
    return any(may(request, f"{model.app_label}.{verb}_{model.model_name}") for verb in ("view", "change"))


def _check(digest: str) -> None:
    if not is_digest(digest):
        raise Http404


def _kept_name(digest: str) -> str:
    """What a lock or a count of failures says of the name; empty if they do not know it either."""
    alias = database()
    for model in (AccountLock, FailureCount):
        names: Any = model._default_manager.using(alias).filter(digest=digest).exclude(account="")
        if found := names.values_list("account", flat=True).first():
            return str(found)
    return ""


def _explained(name: str, digest: str) -> Explanation:
    """Counters are found by the name alone."""
    return explain_account(name) if name else replace(explain_account(digest), readings=[])
