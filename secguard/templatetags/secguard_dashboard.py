"""The dashboard on the admin's page of this app, which Django itself renders."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context
from django.utils import formats

from secguard.dashboard import page
from secguard.failures import report_failure
from secguard.formatters.text import one_line

register = template.Library()


@register.inclusion_tag("admin/secguard/dashboard/dashboard.html", takes_context=True)
def secguard_dashboard(context: Context) -> dict[str, Any]:
    """The dashboard, for those who may see it; nothing for the others, and nothing if it fails."""
    request = context.get("request")
    if request is None or not page.may_see(request):
        return {}
    try:
        shown = page.gather(request)
        return {**shown, "script": page.for_script(shown)}
    except Exception:
        report_failure("the dashboard could not be shown")
        return {}


@register.filter
def plainly(text: str) -> str:
    """Hostile text on one line, with nothing hidden in it. Templates escape it."""
    return one_line(str(text))


@register.filter
def grouped(number: int) -> str:
    """A number with its thousands apart, as the reader's language has them."""
    return formats.number_format(number, force_grouping=True)
