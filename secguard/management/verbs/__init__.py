"""The verbs of ``manage.py secguard``: parse, call, print."""

from __future__ import annotations

from types import ModuleType

from secguard.management.verbs import block, listing, status, unblock

#: Each has ``add_arguments(parser)`` and ``handle(command, **options)``, which returns the exit code.
ALL: dict[str, ModuleType] = {"status": status, "list": listing, "block": block, "unblock": unblock}
