"""What the stacks' settings have in common: the tests' own site, behind a proxy that says who comes."""

from __future__ import annotations

from typing import Any

from tests import settings as base

SECGUARD: dict[str, Any] = {"TRUSTED_PROXIES": ["127.0.0.1"]}


def settings(**changes: Any) -> dict[str, Any]:
    """The tests' settings with these changes."""
    given = {name: value for name, value in vars(base).items() if name.isupper()}
    # The live server serves static files below these.
    return {**given, "STATIC_URL": "/static/", "MEDIA_URL": "/media/", "SECGUARD": SECGUARD, **changes}
