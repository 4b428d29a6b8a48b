"""Several conditions at once, at a bounded cost: each has an index of its own, and none has one with another."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce

from secguard.models import EventRecord

#: So many rows of the rarest condition are looked at for those that fulfil the others.
MOST_EXAMINED = 10_000


class Condition(NamedTuple):
    """A field of the events is one of these values."""

    field: str
    values: tuple[str, ...]

    @property
    def lookup(self) -> dict[str, object]:
        if len(self.values) == 1:
            return {self.field: self.values[0]}
        return {f"{self.field}__in": self.values}


class Narrowed(NamedTuple):
    """``since``: older rows were not looked at; None if all were."""

    events: QuerySet[EventRecord]
    since: datetime | None = None


def narrow(events: QuerySet[EventRecord], conditions: list[Condition]) -> Narrowed:
    """The events that fulfil all conditions, by the index of the rarest.

    The others are written so that no index serves them: a database without statistics would pick any of them, and
    read half a million rows to find none. One that has statistics may walk through all of time instead, in the hope to
    meet enough on its way: so few events are sorted without an index.
    """
    if not conditions or (len(conditions) == 1 and len(conditions[0].values) == 1):
        return Narrowed(events.filter(**conditions[0].lookup) if conditions else events)
    numbers = [(_number(events.filter(**each.lookup)), place) for place, each in enumerate(conditions)]
    number, place = min(numbers)
    narrowed, since = events.filter(**conditions[place].lookup), None
    others = conditions[:place] + conditions[place + 1 :]
    if number <= MOST_EXAMINED:
        narrowed = narrowed.order_by(Coalesce(F("timestamp"), F("timestamp")).desc(), "-pk")
    elif others:
        latest = narrowed.order_by("-timestamp").values_list("timestamp", flat=True)
        since = next(iter(latest[MOST_EXAMINED : MOST_EXAMINED + 1]), None)
        narrowed = narrowed.filter(timestamp__gte=since) if since else narrowed
    for each in others:
        unindexed = {f"_{each.field}": Coalesce(F(each.field), Value(""))}
        narrowed = narrowed.alias(**unindexed).filter(**{f"_{each.field}__in": each.values})
    return Narrowed(narrowed, since)


def _number(events: QuerySet[EventRecord]) -> int:
    return events.order_by().values("pk")[: MOST_EXAMINED + 1].count()
