"""A check for django-health-check, from its version 4 on. Name it in the checks of its view."""

from __future__ import annotations

import dataclasses

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from secguard.records.health import DEGRADED, FAILING, aask


@dataclasses.dataclass
class SecguardHealthCheck(HealthCheck):  # type: ignore[misc]
    """Fails where this process does not know who is blocked; with ``strict``, wherever the guard is degraded, too.

    The view of django-health-check answers 500 to anything that is wrong. A store that is away is no reason to take a
    server out of rotation: every other one would follow it, although all of them still guard the site.
    """

    strict: bool = False

    async def run(self) -> None:
        """Raises ServiceUnavailable, or ServiceWarning for what is only degraded."""
        found = await aask()
        if found.status == FAILING:
            raise ServiceUnavailable("this process does not know who is blocked: the database could not be read")
        if found.status == DEGRADED and self.strict:
            away = [name for name in ("store", "database") if getattr(found, name) == "away"]
            raise ServiceWarning(f"away: {', '.join(away)}; the site is guarded, less exactly")
