"""The verbs of ``manage.py secguard``: parse, call, print."""

from __future__ import annotations

from types import ModuleType

from secguard.management.verbs import (
    allow,
    block,
    events,
    explain,
    export,
    forget,
    importing,
    listing,
    prune,
    replay,
    selftest,
    status,
    subject,
    unblock,
    verify,
)

#: Each has ``add_arguments(parser)`` and ``handle(command, **options)``, which returns the exit code.
ALL: dict[str, ModuleType] = {
    "status": status,
    "list": listing,
    "explain": explain,
    "block": block,
    "unblock": unblock,
    "allow": allow,
    "import": importing,
    "export": export,
    "replay": replay,
    "selftest": selftest,
    "verify": verify,
    "prune": prune,
    "forget": forget,
    "subject": subject,
    "events": events,
}
