"""The list of events: what its filters and its search ask for becomes one query of bounded cost."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from secguard.admin.calendar import Calendar, calendar_of, check_period
from secguard.admin.filters import ExactFilter
from secguard.admin.links import account_page, address_page
from secguard.admin.narrowing import MOST_EXAMINED, Condition, Narrowed, narrow
from secguard.admin.paging import BoundedChangeList
from secguard.admin.search import Found, find
from secguard.models import EventRecord


class EventChangeList(BoundedChangeList):
    """``found``: what the search was understood as. ``narrowed``: how far back was looked."""

    found: Found
    narrowed: Narrowed
    most_examined = MOST_EXAMINED

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[EventRecord]:
        check_period(self.params)
        events: QuerySet[EventRecord] = super().get_queryset(request, exclude_parameters)
        conditions = [Condition(spec.field_path, (spec.value,)) for spec in self._exact()]
        self.found = find(self.query) if self.query.strip() else Found()
        if self.found.refused:
            messages.warning(request, self.found.refused)
        if len(self.found.conditions) == 1:
            conditions += self.found.conditions
        elif self.found.conditions:
            events = events.filter(reduce(or_, (Q(**each.lookup) for each in self.found.conditions)))
        elif self.query.strip():
            events = events.none()
        # A database may end its texts there, or refuse them.
        if any("\x00" in value for each in conditions for value in each.values):
            events, conditions = events.none(), []
        self.narrowed = narrow(events, conditions)
        return self.narrowed.events

    def _exact(self) -> Iterator[Any]:
        return (spec for spec in self.filter_specs if isinstance(spec, ExactFilter) and spec.value is not None)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.calendar: Calendar | None = calendar_of(self)

    @property
    def older(self) -> str:
        """The query that goes on where what can be paged through ends; empty where there is no more."""
        if not self.has_more or self.page_num < self.paginator.num_pages or not self.result_list:
            return ""
        oldest = self.result_list[-1].timestamp.isoformat()
        removed = [PAGE_VAR, "timestamp__year", "timestamp__month", "timestamp__day"]
        return self.get_query_string({"timestamp__lt": oldest, **self._since()}, removed)

    def _since(self) -> dict[str, str]:
        """The day or month that was chosen, from its begin on."""
        chosen = [self.params.get(f"timestamp__{part}") for part in ("year", "month", "day")]
        if not chosen[0]:
            return {}
        year, month, day = (int(part or 1) for part in chosen)
        return {"timestamp__gte": f"{year:04d}-{month:02d}-{day:02d}"}

    @property
    def subject_page(self) -> str | None:
        """The page that tells more of what was searched for."""
        site = self.model_admin.admin_site
        if self.found.network:
            return address_page(site, self.found.network)
        return account_page(site, self.found.digest, name=self.query.strip()) if self.found.digest else None
