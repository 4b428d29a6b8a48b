"""``manage.py secguard VERB``: what operators do. Each verb is a module of ``secguard.management.verbs``."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from secguard.management import verbs


class Command(BaseCommand):
    help = "Look at what secguard knows, and decide otherwise."
    # unblock has to work when something else is wrong: that is when it is needed.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own way to declare it

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        for name, verb in verbs.ALL.items():
            description = (verb.__doc__ or "").strip()
            subparser = subparsers.add_parser(name, help=description.splitlines()[0], description=description)
            verb.add_arguments(subparser)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        code = verbs.ALL[verb].handle(self, **options)
        if code:
            sys.exit(code)
