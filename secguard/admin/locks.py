"""Account locks."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext_lazy

from secguard import records
from secguard.admin.decisions import DecisionAdmin, OriginFilter, StateFilter
from secguard.admin.forms import LockForm
from secguard.admin.links import account_page
from secguard.admin.search import digest_of
from secguard.models import AccountLock
from secguard.records.accounts import account_of


class AccountLockAdmin(DecisionAdmin[AccountLock]):
    """Locks: added, lifted, and kept as their own history."""

    form_class = LockForm
    list_display = ("whom", "state", "left", "scope_in_words", "by_rule", "why", "by", "since", "about")
    list_filter = (StateFilter, OriginFilter)
    search_help_text = gettext_lazy("An account's name or mail address, exactly, or the reference of a refusal.")
    fieldsets = (
        (None, {"fields": ("whom", "state", "left", "scope_in_words", "about")}),
        (gettext_lazy("Why"), {"fields": ("by_rule", "why", "by", "since", "ends", "reference", "digest")}),
        (gettext_lazy("Lifted"), {"fields": ("lifted", "who_lifted", "why_lifted")}),
    )

    @admin.display(description=gettext_lazy("for whom"))
    def scope_in_words(self, row: AccountLock) -> str:
        return row.get_scope_display()

    def decide(self, form: LockForm, by: str) -> str:
        given = form.cleaned_data
        request = records.lock_account(
            given["account"], duration=form.seconds, scope=given["scope"], reason=given["reason"], by=by
        )
        return request.reference

    def lift(self, row: AccountLock, reason: str, by: str) -> int:
        return records.unlock_account(identifier_of(row), reason=reason, by=by)

    def subject_page(self, row: AccountLock) -> str | None:
        return account_page(self.admin_site, row.digest)

    def covering(self, term: str) -> Q | None:
        digest = digest_of(term)
        # Of a lock on a name that was linked since: the digest that it has now.
        return Q(digest__in={digest, *account_of(term).digests}) if digest else None


def identifier_of(row: AccountLock) -> str:
    """The name, whose other names are unlocked with it; the digest where the row does not hold the name as it was."""
    try:
        return row.account if row.digest in account_of(row.account).digests else row.digest
    except ValueError:
        return row.digest
