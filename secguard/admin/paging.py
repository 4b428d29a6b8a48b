"""Lists whose cost does not grow with the table: what is counted has a bound, and pages are found by key alone."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import InvalidPage, Paginator
from django.http import HttpRequest

#: So many rows of a list are counted and can be paged through; then "more than".
MOST_COUNTED = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """``has_more``: there are more rows than ``count`` says."""

    has_more = False

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows.order_by().values("pk")[: MOST_COUNTED + 1].count()
        self.has_more = found > MOST_COUNTED
        return min(found, MOST_COUNTED)


class BoundedChangeList(ChangeList):
    """Finds the keys of a page first, which an index may hold, and only then the rows."""

    has_more = False

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.has_more = self.paginator.has_more
        shows_all = self.show_all and self.can_show_all
        try:
            first = 0 if shows_all else self.paginator.page(self.page_num).start_index() - 1
        except InvalidPage:
            raise IncorrectLookupParameters from None
        first, size = max(first, 0), self.list_max_show_all if shows_all else self.list_per_page
        self.result_list = self._rows(first, first + size)

    def _rows(self, first: int, last: int) -> list[Any]:
        keys = list(self.queryset.values_list("pk", flat=True)[first:last])
        found = {row.pk: row for row in self.root_queryset.filter(pk__in=keys)}
        return [found[key] for key in keys if key in found]
