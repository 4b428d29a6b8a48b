"""Times the admin's pages over a million events and a hundred thousand blocks, in SQLite or PostgreSQL.

``python -m benchmarks.admin_pages``; ``--postgres postgresql://user@host:port/`` makes a database of its own there and
drops it; ``--plans`` prints how each statement is executed.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import unquote, urlsplit

EVENTS, BLOCKS = 1_000_000, 100_000
ROUNDS = 7
#: No page may take longer, in milliseconds.
BOUND = 200
DATABASE = "secguard_bench_admin"
START = datetime(2026, 11, 30, tzinfo=timezone.utc)
#: The busiest of each: where there is most to read.
ATTACKER, VICTIM, REQUEST = "203.0.113.7", "admin", "the-request-id"
#: Of a hundred events so many are of this type.
TYPES = {
    ("request_blocked", "threat", "warning"): 45,
    ("login_failed", "authentication", "warning"): 30,
    ("permission_denied", "authorization", "warning"): 14,
    ("address_blocked", "threat", "error"): 5,
    ("suspicious_activity", "threat", "critical"): 4,
    ("password_changed", "account", "info"): 2,
}
RULES = ("brute_force", "account_enumeration", "trap")
COUNTRIES = ("", "CN", "RU", "US", "DE", "BR", "IN", "VN")


def configure(database: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark-" + "0" * 50,
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "secguard",
        ],
        MIDDLEWARE=[
            "secguard.middleware.SecurityGuardMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        ROOT_URLCONF="benchmarks.admin_urls",
        STATIC_URL="/static/",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()
    logging.disable(logging.CRITICAL)


def events(number: int, chance: random.Random) -> Iterator[Any]:
    """From the oldest to the latest, over 180 days; one in five is of the attacker, one in six of the victim."""
    from secguard.logging import get_event_logger
    from secguard.models import EventRecord

    digest = get_event_logger().pipeline.detector.digest
    kinds = [kind for kind, weight in TYPES.items() for _ in range(weight)]
    names = {name: digest("account", name).hex() for name in (VICTIM, *(f"user{each}" for each in range(20_000)))}
    known = list(names)
    step = timedelta(days=180) / number
    for at in range(number):
        event_type, category, severity = kinds[chance.randrange(100)]
        network = ATTACKER if chance.random() < 0.2 else f"10.{chance.randrange(8)}.{chance.randrange(256)}.7"
        name = VICTIM if chance.random() < 0.17 else known[chance.randrange(len(known))]
        rare = at % 200_000 == 7
        yield EventRecord(
            event_id=uuid.UUID(int=chance.getrandbits(128), version=4),
            timestamp=START - step * (number - at),
            event_type="of_our_own" if rare else event_type,
            category=category,
            severity=severity,
            message=f"{event_type} of {name} from {network}",
            ip_address=network,
            network=network,
            country="TV" if rare else COUNTRIES[chance.randrange(len(COUNTRIES))],
            account=name,
            account_digest=names[name],
            rule=RULES[at % 3] if category == "threat" else "",
            count=5 if category == "threat" else None,
            method="POST",
            path="/accounts/login/",
            user_agent=f"Mozilla/5.0 ({at % 40})",
            request_id=REQUEST if at == number // 2 else f"{chance.getrandbits(128):032x}",
            extra={"reason": "invalid_credentials"},
        )


def blocks(number: int, chance: random.Random) -> Iterator[Any]:
    """Of ten, four are in force, three have expired and three were lifted."""
    from secguard.models import Block

    for at in range(number):
        created = START - timedelta(minutes=number - at)
        state = at % 10
        yield Block(
            network=f"11.{at >> 16}.{at >> 8 & 255}.{at & 255}",
            rule=RULES[at % 3] if at % 4 else "",
            list_name="" if at % 4 else "feed",
            created_at=created,
            updated_at=created,
            expires_at=None if state < 4 else created + timedelta(minutes=15),
            lifted_at=created if state > 6 else None,
        )


def _columns(model: Any) -> tuple[list[tuple[str, Any]], str]:
    """What makes a value of each column, and the statement: a million rows are too many for the ORM."""
    from functools import partial

    from django.db import connection

    fields = [field for field in model._meta.fields if not field.primary_key]
    columns = [(field.attname, partial(field.get_db_prep_save, connection=connection)) for field in fields]
    names = ", ".join(f'"{field.column}"' for field in fields)
    marks = ", ".join("%s" for _ in fields)
    return columns, f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names


def fill(number: int, number_of_blocks: int) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection, transaction

    from secguard.models import Block, EventRecord

    call_command("migrate", verbosity=0)
    User.objects.create_superuser("boss", "boss@example.org", "pw")
    chance = random.Random(1)
    for model, rows in ((EventRecord, events(number, chance)), (Block, blocks(number_of_blocks, chance))):
        columns, insert = _columns(model)
        while piece := list(islice(rows, 20_000)):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(
                    insert, [[prepare(getattr(row, name)) for name, prepare in columns] for row in piece]
                )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def pages() -> dict[str, str]:
    from django.urls import reverse

    from secguard.admin.search import digest_of
    from secguard.models import Block, EventRecord

    events, blocks = reverse("admin:secguard_eventrecord_changelist"), reverse("admin:secguard_block_changelist")
    month = "timestamp__year=2026&timestamp__month=9"
    last = EventRecord.objects.order_by("pk").values_list("pk", flat=True).last()
    return {
        "index of the app": reverse("admin:app_list", args=["secguard"]),
        "events": events,
        "events, the last page": f"{events}?p=200",
        "events, searched: an address": f"{events}?q={ATTACKER}",
        "events, searched: 256 addresses": f"{events}?q=203.0.113.0/24",
        "events, searched: 256, few events": f"{events}?q=10.3.9.0/24",
        "events, searched: 256, no events": f"{events}?q=192.0.2.0/24",
        "events, searched: an account": f"{events}?q={VICTIM}",
        "events, searched: a request": f"{events}?q={REQUEST}",
        "events, searched: nothing found": f"{events}?q=nobody",
        "events, a type": f"{events}?event_type__exact=request_blocked",
        "events, a type, the last page": f"{events}?event_type__exact=request_blocked&p=200",
        "events, a rare type": f"{events}?event_type__exact=of_our_own",
        "events, no such type": f"{events}?event_type__exact=no_such",
        "events, a severity": f"{events}?severity__exact=warning",
        "events, a category": f"{events}?category__exact=threat",
        "events, a rule": f"{events}?rule=brute_force",
        "events, a country": f"{events}?country=CN",
        "events, a day": f"{events}?{month}&timestamp__day=3",
        "events, a month": f"{events}?{month}",
        "events, a year": f"{events}?timestamp__year=2026",
        "events, a type and a month": f"{events}?event_type__exact=login_failed&{month}",
        "events, two that exclude each other": f"{events}?severity__exact=warning&category__exact=account",
        "events, two that are common": f"{events}?severity__exact=warning&event_type__exact=login_failed",
        "events, a rare one and a common one": f"{events}?severity__exact=warning&country=TV",
        "events, four filters": f"{events}?severity__exact=error&category__exact=threat&rule=trap&country=VN",
        "events, searched and filtered": f"{events}?q={ATTACKER}&severity__exact=critical&country=DE",
        "events, 256 addresses and filtered": f"{events}?q=203.0.113.0/24&severity__exact=info",
        "an event": reverse("admin:secguard_eventrecord_change", args=[last]),
        "blocks": blocks,
        "blocks, the last page": f"{blocks}?p=200",
        "blocks in force": f"{blocks}?state=in_force",
        "blocks that ended": f"{blocks}?state=ended",
        "blocks of no such rule": f"{blocks}?rule=no_such",
        "blocks on a list": f"{blocks}?list=feed",
        "blocks, searched": f"{blocks}?q=11.0.5.7",
        "a block": reverse("admin:secguard_block_change", args=[Block.objects.order_by("pk").last().pk]),
        "an address": reverse("admin:secguard_address", args=[ATTACKER]),
        "a network of 256 addresses": reverse("admin:secguard_address", args=["203.0.113.0/24"]),
        "an account": reverse("admin:secguard_account", args=[digest_of(VICTIM)]),
    }


def print_times(with_plans: bool) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(User.objects.get())
    print(f"\n{'page':<40}{'median ms':>10}{'longest':>9}{'CPU ms':>8}{'SQL':>5}{'longest SQL':>13}")
    for described, address in pages().items():
        times, used = [], []
        for _ in range(ROUNDS):
            began, cpu = time.perf_counter(), time.process_time()
            response = client.get(address)
            # Of a small table there is no last page.
            assert response.status_code in (200, 302), (described, response.status_code)
            times.append((time.perf_counter() - began) * 1000)
            used.append((time.process_time() - cpu) * 1000)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        slowest = max((float(each["time"]) for each in queries), default=0) * 1000
        print(f"{described:<40}{median(times):>10.0f}{max(times):>9.0f}{median(used):>8.0f}", end="")
        print(f"{len(queries):>5}{slowest:>13.0f}{'  too slow' if median(times) > BOUND else ''}", flush=True)
        if with_plans:
            _print_plans(queries.captured_queries)


def _print_plans(queries: list[dict[str, str]]) -> None:
    from django.db import connection

    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) "
    for query in queries:
        if "secguard_" not in query["sql"] or not query["sql"].startswith("SELECT"):
            continue
        with connection.cursor() as cursor:
            cursor.execute(explain + query["sql"].replace("%", "%%"))
            steps = [str(row[-1]) for row in cursor.fetchall()]
        print(f"      {query['time']} {query['sql'][-150:]}")
        for step in steps:
            print(f"          {step}")


def _print_export() -> None:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    client = Client()
    client.force_login(User.objects.get())
    for form in ("csv", "json"):
        began = time.perf_counter()
        response = client.get(reverse("admin:secguard_eventrecord_export", args=[form]))
        size = sum(map(len, response.streaming_content))
        print(f"{f'an export as {form}':<44}{(time.perf_counter() - began) * 1000:>10,.0f} ms, {size / 1e6:.1f} MB")


@contextmanager
def database(postgres: str, file: Path) -> Iterator[dict[str, Any]]:
    if not postgres:
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
        return
    import psycopg

    parts = urlsplit(postgres)
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        server.execute(f"CREATE DATABASE {DATABASE}")
    try:
        yield {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": DATABASE,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": parts.port or 5432,
        }
    finally:
        from django.db import connections

        connections.close_all()
        with psycopg.connect(postgres, autocommit=True) as server:
            server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--postgres", default="", help="the URL of a server, with the name of a database to connect to")
    parser.add_argument("--plans", action="store_true", help="how each statement is executed")
    parser.add_argument("--file", type=Path, help="of SQLite: keep it there, or time the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or Path(folder) / "db.sqlite3"
        _run(options, file, is_there=file.exists())


def _run(options: argparse.Namespace, file: Path, is_there: bool) -> None:
    with database(options.postgres, file) as settings:
        configure(settings)
        if not is_there:
            began = time.perf_counter()
            fill(options.events, options.blocks)
            took = time.perf_counter() - began
            print(f"{options.events:,} events and {options.blocks:,} blocks written in {took:,.0f} s.", flush=True)
        print_times(options.plans)
        _print_export()


if __name__ == "__main__":
    main()
