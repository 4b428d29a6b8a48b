"""What is compared. A candidate is a set of settings and nothing else; each limits an address to five failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LIMIT = 5
MINUTES = 15


def _nothing(store: str) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Candidate:
    key: str
    title: str
    #: Packages whose versions are worth a word.
    packages: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    #: After Django's SecurityMiddleware, or after all of Django's.
    early_middleware: tuple[str, ...] = ()
    late_middleware: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    #: Further settings, given the store's URL.
    settings: Callable[[str], Mapping[str, Any]] = _nothing


def _axes(key: str, title: str, handler: str) -> Candidate:
    return Candidate(
        key,
        title,
        packages=("django-axes",),
        apps=("axes",),
        late_middleware=("axes.middleware.AxesMiddleware",),
        backends=("axes.backends.AxesStandaloneBackend",),
        settings=lambda store: {
            "AXES_HANDLER": handler,
            "AXES_FAILURE_LIMIT": LIMIT,
            "AXES_COOLOFF_TIME": MINUTES / 60,
            "AXES_LOCKOUT_PARAMETERS": ["ip_address"],
        },
    )


BARE = Candidate("bare", "bare Django")
#: Measured like a candidate: what it seems to add is the noise of the method.
AGAIN = Candidate("again", "bare Django again")
SECGUARD = Candidate(
    "secguard",
    "secguard",
    packages=("django-secguard",),
    apps=("secguard",),
    early_middleware=("secguard.middleware.SecurityGuardMiddleware",),
    backends=("secguard.backends.SecurityGuardBackend",),
)
CANDIDATES = (
    BARE,
    _axes("axes_cache", "django-axes, cache handler", "axes.handlers.cache.AxesCacheHandler"),
    _axes("axes_database", "django-axes, database handler", "axes.handlers.database.AxesDatabaseHandler"),
    Candidate(
        "defender",
        "django-defender",
        packages=("django-defender",),
        apps=("defender",),
        late_middleware=("defender.middleware.FailedLoginMiddleware",),
        settings=lambda store: {
            "DEFENDER_REDIS_URL": store,
            "DEFENDER_LOGIN_FAILURE_LIMIT": LIMIT,
            "DEFENDER_COOLOFF_TIME": MINUTES * 60,
        },
    ),
    Candidate(
        "ratelimit",
        "django-ratelimit",
        packages=("django-ratelimit",),
        apps=("django_ratelimit",),
        settings=lambda store: {"ROOT_URLCONF": "benchmarks.peers.limited_site"},
    ),
    SECGUARD,
)
BY_KEY = {candidate.key: candidate for candidate in (*CANDIDATES, AGAIN)}
