"""One measured process of ``make bench``."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from itertools import count, cycle, repeat
from typing import Any

from benchmarks.environs import get, login
from benchmarks.processes import Handler, serve
from benchmarks.sends import counted_sends

BLOCKED = "203.0.113.66"
#: More than any rule over accounts needs to open a threat.
FAILURES = 25


def configure(variant: str, redis_url: str, log: str, hasher: str) -> None:
    from django.conf import settings

    guarded = variant == "secguard"
    settings.configure(
        SECRET_KEY="benchmark-" + "0" * 50,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="benchmarks.site",
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}},
        PASSWORD_HASHERS=[hasher],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            *(["secguard"] if guarded else []),
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            *(["secguard.middleware.SecurityGuardMiddleware"] if guarded else []),
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        AUTHENTICATION_BACKENDS=[
            *(["secguard.backends.SecurityGuardBackend"] if guarded else []),
            "django.contrib.auth.backends.ModelBackend",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [
                        (
                            "django.template.loaders.locmem.Loader",
                            {"registration/login.html": "<form method=post>{{ form }}</form>"},
                        ),
                        "django.template.loaders.app_directories.Loader",
                    ]
                },
            }
        ],
        LOGIN_REDIRECT_URL="/",
        # A real line into a real file, as in production.
        LOGGING={
            "version": 1,
            "formatters": {"json": {"()": "secguard.formatters.SecurityJsonFormatter"}},
            "handlers": {"file": {"class": "logging.FileHandler", "filename": log, "formatter": "json"}},
            "loggers": {"security.events": {"handlers": ["file"], "level": "INFO", "propagate": False}},
        },
    )


class Bench(Handler):
    """The site in this process and the requests that are made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.strangers = 0
        members = (f"member{number:06}" for number in count())
        self.names: dict[str, Iterator[str]] = {
            "known account": members,
            "known account, again": members,
            "unknown account": (f"nobody{number:06}" for number in count()),
            "known account, threat open": cycle(_attacked("member")),
            "unknown account, threat open": cycle(_attacked("nobody")),
            "known account, record full": repeat("member-besieged"),
            "unknown account, record full": repeat("nobody-besieged"),
        }
        self.prepare()

    def prepare(self) -> None:
        from django.contrib.auth.models import User
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        User.objects.create_user("alice", "alice@example.com", "correct-password")

    def environ(self, scenario: str) -> dict[str, Any]:
        self.number += 1
        address = f"198.{18 + (self.number >> 16)}.{self.number >> 8 & 255}.{self.number & 255}"
        if scenario == "clean":
            return get("203.0.113.1")
        if scenario == "clean, 10,000 addresses":
            return get(f"198.51.{self.number % 10_000 >> 8}.{self.number % 256}")
        if scenario == "failed login":
            return login(address, f"user{self.number}", "wrong")
        if scenario == "right login":
            return login(address, "alice", "correct-password")
        return login(BLOCKED, "victim", "wrong") if scenario == "refused login" else get(BLOCKED)

    def measure(self, scenario: str, count: int) -> dict[str, Any]:
        environs = [self.environ(scenario) for _ in range(count)]
        return {"ns": [self.call(environ) for environ in environs], "status": self.status}

    def block(self) -> dict[str, Any]:
        for _ in range(8):
            self.call(login(BLOCKED, "victim", "wrong"))
        return {"status": self.status}

    def populate(self, accounts: int) -> dict[str, Any]:
        """Make the accounts that ``wrong_logins`` knows, of which it needs two a round."""
        from django.contrib.auth.hashers import make_password
        from django.contrib.auth.models import User

        password = make_password("correct-password")
        names = [*_attacked("member"), "member-besieged", *(f"member{number:06}" for number in range(accounts))]
        User.objects.bulk_create(User(username=name, password=password) for name in names)
        return {}

    def attack(self) -> dict[str, Any]:
        """Open threats on accounts that ``wrong_logins`` knows, and on others that do not exist."""
        from secguard.detection.rule import RECORD_CAP
        from secguard.logging import security_event_logger

        for kind in ("member", "nobody"):
            attacks = {**dict.fromkeys(_attacked(kind), FAILURES), f"{kind}-besieged": RECORD_CAP}
            for name, failures in attacks.items():
                for _ in range(failures):
                    security_event_logger.log_login_failed(username=name, ip_address=self.stranger())
        return {}

    def wrong_logins(self, rounds: int) -> dict[str, dict[str, Any]]:
        """In each round a wrong login of each kind, in an order by chance: none always follows the same other one.

        Each comes from a new address and, where no threat is open, is the first at its account.
        """
        found: dict[str, dict[str, Any]] = {kind: {"ns": []} for kind in self.names}
        for _ in range(rounds):
            for kind in random.sample(list(self.names), len(self.names)):
                environ = login(self.stranger(), next(self.names[kind]), "wrong")
                found[kind]["ns"].append(self.call(environ))
                found[kind]["status"] = self.status
        return found

    def stranger(self) -> str:
        """An address that no scenario has used."""
        self.strangers += 1
        return f"198.19.{self.strangers >> 8}.{self.strangers & 255}"

    def count(self, scenario: str, count: int) -> dict[str, Any]:
        """Statements and trips to the store of one request, on average."""
        from django.db import connection

        statements: list[str] = []
        sends: list[int] = []

        def wrapper(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            statements.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(wrapper), counted_sends(sends):
            for _ in range(count):
                self.call(self.environ(scenario))
        return {"sql": round(len(statements) / count, 2), "sends": round(len(sends) / count, 2)}


def _attacked(kind: str) -> list[str]:
    """Several, so that what is measured adds little to the failures of each."""
    return [f"{kind}-attacked{number}" for number in range(20)]


def main() -> None:
    configure(*sys.argv[1:])
    serve(Bench)


if __name__ == "__main__":
    main()
