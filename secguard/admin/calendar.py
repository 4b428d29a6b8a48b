"""The years, months and days of the events to choose from. Django's own hierarchy groups the whole table for them."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.utils import formats
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from secguard.admin.wording import localtime
from secguard.models import EventRecord

YEAR, MONTH, DAY = "timestamp__year", "timestamp__month", "timestamp__day"


class Step(NamedTuple):
    title: str
    link: str = ""


class Calendar(NamedTuple):
    """``back``: to the wider period; None at the top."""

    choices: list[Step]
    back: Step | None = None


def calendar_of(changelist: ChangeList) -> Calendar | None:
    """The next finer periods between the first event there is and the last. Two look-ups at an index's ends."""
    chosen = [_number(changelist.params.get(name)) for name in (YEAR, MONTH, DAY)]
    year, month, day = chosen
    if year and month and day:
        return Calendar([Step(_day(date(year, month, day)))], _step(changelist, _month(year, month), year, month))
    ends = _ends()
    if ends is None:
        return None
    first, last = ends
    if not year and first.year == last.year:
        year = first.year
        month = first.month if first.month == last.month else 0
        back = None
    else:
        back = _step(changelist, _("All dates")) if year and not month else None
        back = _step(changelist, str(year), year) if year and month else back
    if year and month:
        days = (date(year, month, number) for number in range(1, monthrange(year, month)[1] + 1))
        kept = [each for each in days if first <= each <= last]
        return Calendar([_step(changelist, _day(each), each.year, each.month, each.day) for each in kept], back)
    if year:
        months = [number for number in range(1, 13) if (first.year, first.month) <= (year, number)]
        kept_months = [number for number in months if (year, number) <= (last.year, last.month)]
        return Calendar([_step(changelist, _month(year, number), year, number) for number in kept_months], back)
    return Calendar([_step(changelist, str(number), number) for number in range(first.year, last.year + 1)])


def check_period(params: Mapping[str, Any]) -> None:
    """A month of no year, or a day of no month, would be looked for in all of the table; beyond these years a zone may
    be no time at all. Raises IncorrectLookupParameters."""
    year, month, day = (name in params for name in (YEAR, MONTH, DAY))
    if (day and not month) or (month and not year) or (year and not 1970 <= _number(params[YEAR]) <= 9998):
        raise IncorrectLookupParameters(YEAR)


def _ends() -> tuple[date, date] | None:
    times = EventRecord.objects.values_list("timestamp", flat=True)
    first, last = times.order_by("timestamp").first(), times.order_by("-timestamp").first()
    return (_local(first), _local(last)) if first and last else None


def _local(moment: datetime) -> date:
    return localtime(moment).date()


def _step(changelist: ChangeList, title: str, year: int = 0, month: int = 0, day: int = 0) -> Step:
    wanted: dict[str, Any] = {YEAR: year or None, MONTH: month or None, DAY: day or None}
    return Step(title, changelist.get_query_string(wanted, ["timestamp__"]))


def _number(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 5 else 0


def _month(year: int, month: int) -> str:
    return capfirst(formats.date_format(date(year, month, 1), "YEAR_MONTH_FORMAT"))


def _day(day: date) -> str:
    return capfirst(formats.date_format(day, "MONTH_DAY_FORMAT"))
