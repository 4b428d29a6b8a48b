"""Filters of the events by equality, each on its own index. What they offer never comes from the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.contrib.admin import FieldListFilter, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from secguard.admin.wording import localtime, shown
from secguard.conf import get_settings
from secguard.events import NUMEROUS, VOCABULARY, EventType
from secguard.logging import get_event_logger

Choice = tuple[str, Any]


class ExactFilter(FieldListFilter):
    """One value of a field. The list of events puts it into the query, together with the others' (``narrowing``)."""

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str):
        self.lookup_kwarg = f"{field_path}__exact"
        self._names: list[str | None] = [self.lookup_kwarg, field_path]
        super().__init__(field, request, params, model, model_admin, field_path)
        used: dict[str, Any] = self.used_parameters
        given = [values[-1] for values in used.values() if values]
        #: None if the list is not filtered so. Longer values are in no row.
        self.value: str | None = given[0] if given else None

    def expected_parameters(self) -> list[str | None]:
        return self._names

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def options(self) -> Iterable[Choice]:
        """The values to choose from, with their labels."""
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        options = list(self.options())
        if self.value is not None and self.value not in dict(options):
            options.append((self.value, shown(self.value, 64) or _("(empty)")))
        yield self._choice(changelist, None, _("All"))
        for value, label in options:
            yield self._choice(changelist, value, label)

    def _choice(self, changelist: Any, value: str | None, label: Any) -> dict[str, Any]:
        parameters = dict.fromkeys(self._names) | ({self.lookup_kwarg: value} if value is not None else {})
        return {
            "selected": self.value == value,
            "query_string": changelist.get_query_string(parameters),
            "display": label,
        }


class TypeFilter(ExactFilter):
    """The types that have rows, as PERSIST_EVENTS has it, and those of the project's own that rules name."""

    def options(self) -> list[Choice]:
        kept = get_settings().persist_events == "all"
        known = [str(name) for name in VOCABULARY if kept or name not in NUMEROUS or name == EventType.LOGIN_SUCCESS]
        named = {name for rule in get_event_logger().effective_rules() for name in rule.events}
        return [(name, name) for name in [*known, *sorted(named - set(VOCABULARY))]]


class ChoicesFilter(ExactFilter):
    """The choices that the field has."""

    def options(self) -> list[Choice]:
        return [(str(value), label) for value, label in self.field.flatchoices]


class RuleFilter(ExactFilter):
    """The rules in force."""

    def options(self) -> list[Choice]:
        return [(rule.name, rule.name) for rule in get_event_logger().effective_rules()]


class TypedFilter(ExactFilter):
    """A value that is typed in: there are too many to choose from."""

    template = "admin/secguard/typed_filter.html"
    max_length: ClassVar[int] = 2

    def choices(self, changelist: Any) -> Iterator[Any]:
        rest = {name: values for name, values in changelist.filter_params.items() if name not in self._names}
        yield {
            "name": self.lookup_kwarg,
            "value": self.value or "",
            "max_length": self.max_length,
            "others": [(name, value) for name, values in rest.items() for value in _listed(values)],
            "clear": changelist.get_query_string(dict.fromkeys(self._names)),
        }


class LinkedFilter(ExactFilter):
    """A value that a link names, and that is shown only then."""

    def has_output(self) -> bool:
        return self.value is not None


class PeriodFilter(SimpleListFilter):
    """From one time (``timestamp__gte``) until before another (``timestamp__lt``)."""

    title = gettext_lazy("period")
    parameter_name = "timestamp__gte"
    _UNTIL = "timestamp__lt"
    _PERIODS = (
        (timedelta(hours=1), gettext_lazy("The last hour")),
        (timedelta(days=1), gettext_lazy("The last 24 hours")),
        (timedelta(days=7), gettext_lazy("The last 7 days")),
        (timedelta(days=30), gettext_lazy("The last 30 days")),
    )

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        given = params.pop(self._UNTIL, [""])[-1]
        super().__init__(request, params, model, model_admin)
        self._given = self.used_parameters.get(self.parameter_name) or ""
        self.since, self.until = _moment(self._given), _moment(given)

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name, self._UNTIL]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        now = timezone.now().replace(microsecond=0)
        return [((now - back).isoformat(), label) for back, label in self._PERIODS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since is not None:
            queryset = queryset.filter(timestamp__gte=self.since)
        if self.until is not None:
            queryset = queryset.filter(timestamp__lt=self.until)
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        chosen = self.since is not None or self.until is not None
        nothing = dict.fromkeys((*self.expected_parameters(), *CALENDAR))
        yield {"selected": not chosen, "query_string": changelist.get_query_string(nothing), "display": _("Any time")}
        for value, label in self.lookup_choices:
            query = changelist.get_query_string({**nothing, self.parameter_name: value})
            yield {"selected": False, "query_string": query, "display": label}
        if chosen:
            yield {"selected": True, "query_string": changelist.get_query_string(), "display": self._described()}

    def _described(self) -> str:
        since, until = (formats.date_format(localtime(each), "SHORT_DATETIME_FORMAT") if each else "" for each in
                        (self.since, self.until))  # fmt: skip
        if since and until:
            return _("%(since)s to %(until)s") % {"since": since, "until": until}
        return _("since %s") % since if since else _("before %s") % until


#: What the calendar of the list says in the URL.
CALENDAR = ("timestamp__year", "timestamp__month", "timestamp__day")


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _moment(text: str) -> datetime | None:
    """A time in ISO 8601, of the current zone if it names none. Raises IncorrectLookupParameters."""
    if not text:
        return None
    try:
        # A plus sign that nobody encoded arrives as a space.
        found = parse_datetime(text.replace(" ", "+", 1) if "T" in text else text)
        day = parse_date(text) if found is None else None
        found = datetime(day.year, day.month, day.day) if day else found
        if found is not None and django_settings.USE_TZ and found.tzinfo is None:
            found = timezone.make_aware(found)
        elif found is not None and not django_settings.USE_TZ and found.tzinfo is not None:
            found = timezone.make_naive(found)
    except (ValueError, OverflowError):
        found = None
    # Beyond these years another zone may be no time at all.
    if found is None or not 1970 <= found.year <= 9998:
        raise IncorrectLookupParameters(text)
    return found


EVENT_FILTERS: tuple[Any, ...] = (
    PeriodFilter,
    ("severity", ChoicesFilter),
    ("category", ChoicesFilter),
    ("rule", RuleFilter),
    ("country", TypedFilter),
    ("event_type", TypeFilter),
    ("network", LinkedFilter),
    ("account_digest", LinkedFilter),
)
#: Every look-up that a URL may name. Any other would read the whole table.
EVENT_LOOKUPS = frozenset(
    {"timestamp__gte", "timestamp__lt", *CALENDAR}
    | {f"{name}{suffix}" for name, _filter in EVENT_FILTERS[1:] for suffix in ("", "__exact")}
)
