"""Say how the guard is doing: mode, store, rules and blocks.

Exit codes: 0 all is well, 4 the store is away.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand

from secguard import records
from secguard.conf import get_settings
from secguard.logging import get_event_logger
from secguard.pipeline import get_store

STORE_AWAY = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def handle(command: BaseCommand, **options: Any) -> int:
    facts = gather()
    if options["json"]:
        command.stdout.write(json.dumps(facts, indent=2))
    else:
        for name, value in facts.items():
            command.stdout.write(f"{name.replace('_', ' '):<16}{value if not isinstance(value, list) else ''}".rstrip())
            for item in value if isinstance(value, list) else ():
                command.stdout.write(f"  {item}")
    return STORE_AWAY if facts["store_degraded"] else 0


def gather() -> dict[str, Any]:
    settings, store = get_settings(), get_store()
    store.get_token(records.TOKEN)  # asks, so that "degraded" below is news and not memory
    return {
        "mode": settings.mode + (" (overridden by the environment)" if settings.mode_overridden else ""),
        "store": type(store.primary).__name__,
        "store_shared": store.shared,
        "store_exact": store.exact,
        "store_degraded": store.degraded,
        "active_blocks": len(records.active_blocks()),
        "rules": [
            f"{rule.name}: {rule.threshold} in {rule.window:g} s per {rule.subject}, {rule.action}"
            for rule in get_event_logger().effective_rules()
        ],
    }
