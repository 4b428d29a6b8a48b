"""A day and a month before the screenshots: what a site's record may hold of them. Addresses are documentation's."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

from django.utils import timezone

from secguard.geo import country_of
from secguard.models import EventCount, EventRecord

_SECONDS = {EventCount.Span.MINUTE: 60, EventCount.Span.HOUR: 3_600}
_RULES = ("brute_force", "brute_force", "brute_force", "distributed_attack", "account_enumeration")


def write() -> None:
    """Fill the tables; the same each time, but for the hour."""
    chance = random.Random(20)
    now = timezone.now().replace(second=0, microsecond=0)
    EventCount.objects.bulk_create(
        [*_counts(chance, now, 1_440, 60), *_counts(chance, now, 720, 3_600)], batch_size=900
    )
    EventRecord.objects.bulk_create([*_threats(chance, now), *_outage(now)], batch_size=500)


def _counts(chance: random.Random, now: datetime, parts: int, span: int) -> list[EventCount]:
    """Work by day, guessing at any time, and two attacks."""
    start = now.replace(minute=0) if span == 3_600 else now
    found = []
    for back in range(1, parts):
        at = start - timedelta(seconds=back * span)
        minutes = span // 60
        working = 7 <= at.hour < 19
        attacked = 5 * 60 < back * minutes < 6 * 60 or 13 * 60 < back * minutes < 13 * 60 + 25
        for event_type, usual in (
            ("login_success", 3.0 if working else 0.4),
            ("login_failed", (0.9 if working else 0.3) + (14 if attacked else 0)),
            ("attempt_refused", 9 if attacked else 0.05),
            ("request_blocked", 5 if attacked else 0.2),
        ):
            count = round(chance.gauss(usual * minutes, (usual * minutes) ** 0.5))
            if count > 0:
                found.append(EventCount(span=span, start=at, event_type=event_type, count=count))
        if attacked or chance.random() < 0.05 * minutes:
            rule = chance.choice(_RULES)
            found.append(EventCount(span=span, start=at, event_type="suspicious_activity", rule=rule, count=2))
    return found


def _threats(chance: random.Random, now: datetime) -> list[EventRecord]:
    networks = [f"198.51.100.{n}" for n in (3, 9, 12, 17, 22, 40, 41, 66, 70, 99)]
    networks += [f"203.0.113.{n}" for n in (66, 71, 80, 97, 130, 165)] + ["2001:db8:b::/64", "192.0.2.14", "10.20.0.8"]
    names = [("alice@example.com", "1"), ("bob", "2"), ("carol", "3"), ("root", "4"), ("admin", "5"), ("test", "6")]
    found = []
    for _ in range(420):
        network = chance.choices(networks, weights=range(len(networks), 0, -1))[0]
        name, digit = chance.choices(names, weights=(9, 7, 4, 4, 3, 1))[0]
        event_type, severity = chance.choice(
            [("suspicious_activity", "critical"), ("address_blocked", "error"), ("block_suppressed", "warning")]
        )
        found.append(
            EventRecord(
                event_id=uuid.UUID(int=chance.getrandbits(128)),
                timestamp=now - timedelta(seconds=chance.expovariate(1 / 21_000)),
                event_type=event_type,
                category="threat",
                severity=severity,
                ip_address=network,
                network=network,
                country=country_of(network),
                account=name,
                account_digest=digit * 32,
                rule=chance.choice(_RULES),
                count=5,
            )
        )
    return found


def _outage(now: datetime) -> list[EventRecord]:
    away = now - timedelta(hours=9, minutes=12)
    common = {"category": "system", "event_type": "degraded", "severity": "error"}
    store = {"component": "store", "error": "ConnectionError: Connection refused"}
    return [
        EventRecord(event_id=uuid.uuid4(), timestamp=away, extra=store, **common),
        EventRecord(
            event_id=uuid.uuid4(),
            timestamp=away + timedelta(seconds=94),
            extra={**store, "seconds": 94.2},
            **{**common, "event_type": "recovered", "severity": "info"},
        ),
    ]
