"""The forms by which operators decide. What is wrong with a network or a name, ``secguard.records`` says."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.helpers import ActionForm
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from secguard.admin.search import digest_of
from secguard.context import context_for
from secguard.detection import normalize_identifier
from secguard.models import AccountLock
from secguard.network import NetworkSet, describe_too_wide, parse_network
from secguard.records import canonical_network, names_of_owner

#: In seconds.
DURATIONS = (
    ("900", gettext_lazy("15 minutes")),
    ("3600", gettext_lazy("1 hour")),
    ("43200", gettext_lazy("12 hours")),
    ("86400", gettext_lazy("1 day")),
    ("604800", gettext_lazy("7 days")),
    ("2592000", gettext_lazy("30 days")),
    ("", gettext_lazy("for good")),
)


class ReasonField(forms.CharField):
    """Why, for the record."""

    def __init__(self) -> None:
        help_text = gettext_lazy("Why, for whoever looks at it later.")
        super().__init__(label=gettext_lazy("Reason"), max_length=255, required=False, help_text=help_text)


class DecisionForm(forms.Form):
    """What any decision takes. ``subject_field``: where errors about the subject are shown."""

    subject_field = ""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    @property
    def seconds(self) -> float | None:
        chosen = self.cleaned_data["duration"]
        return float(chosen) if chosen else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get(self.subject_field) and not cleaned.get("confirmed"):
            question = self.question(cleaned[self.subject_field])
            if question:
                self.ask(question)
        return cleaned

    def question(self, subject: str) -> str:
        """What to ask before this is decided about a subject; empty if there is nothing to ask."""
        return ""

    def ask(self, question: str) -> None:
        self.fields["confirmed"].widget = forms.CheckboxInput()
        self.add_error("confirmed", question)


class NetworkForm(DecisionForm):
    """An address or a network, in its one spelling."""

    subject_field = "network"
    network = forms.CharField(
        label=gettext_lazy("Address or network"),
        max_length=100,
        help_text=gettext_lazy("203.0.113.7, or a network in CIDR notation: 203.0.113.0/24, 2001:db8::/64."),
    )
    duration = forms.ChoiceField(label=gettext_lazy("For how long"), choices=DURATIONS, required=False, initial="86400")
    reason = ReasonField()

    def clean_network(self) -> str:
        try:
            return canonical_network(self.cleaned_data["network"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class AllowForm(NetworkForm):
    """Who is never refused."""

    def clean_network(self) -> str:
        network = super().clean_network()
        too_wide = describe_too_wide(parse_network(network))
        if too_wide:
            raise forms.ValidationError(too_wide)
        return network


class _Confirmed(forms.BooleanField):
    """Shown once there is a question."""

    def __init__(self) -> None:
        super().__init__(label=gettext_lazy("Do it all the same"), required=False, widget=forms.HiddenInput)


class BlockForm(NetworkForm):
    """Who is refused. Asks before an operator shuts himself out, or a good part of the internet."""

    confirmed = _Confirmed()

    def question(self, subject: str) -> str:
        network = parse_network(subject)
        own = context_for(self.request).address
        if own.known and own.text in NetworkSet([network]):
            return _("%(network)s includes %(address)s, the address you are connected from: you will be refused.") % {
                "network": subject,
                "address": own.text,
            }
        if describe_too_wide(network):
            return _("%s is a good part of the internet.") % subject
        return ""


class LockForm(DecisionForm):
    """An account that nobody, or no unknown device, can log in to."""

    subject_field = "account"
    account = forms.CharField(
        label=gettext_lazy("Account"), max_length=1_000, help_text=gettext_lazy("A user name or a mail address.")
    )
    scope = forms.ChoiceField(label=gettext_lazy("For whom"), choices=AccountLock.Scope.choices)
    duration = forms.ChoiceField(label=gettext_lazy("For how long"), choices=DURATIONS, required=False, initial="86400")
    reason = ReasonField()
    confirmed = _Confirmed()

    def clean_account(self) -> str:
        account: str = self.cleaned_data["account"]
        if normalize_identifier(account) is None:
            raise forms.ValidationError(_("This is no account: give a user name or a mail address."))
        return account

    def question(self, subject: str) -> str:
        user: Any = self.request.user
        if digest_of(subject) in map(digest_of, names_of_owner(user)):
            return _("%s is your own account: you will not be able to log in.") % subject
        return ""


class ReasonActionForm(ActionForm):
    """The bar of actions, with why."""

    reason = forms.CharField(label=gettext_lazy("Reason:"), max_length=255, required=False)
