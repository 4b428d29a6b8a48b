"""``manage.py secguard VERB``: what operators do. Each verb is a module of ``secguard.management.verbs``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from secguard.exceptions import InvalidRule
from secguard.management import verbs


class Command(BaseCommand):
    help = "Look at what secguard knows, and decide otherwise."
    # unblock has to work when something else is wrong: that is when it is needed.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own way to declare it

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
        for name, verb in verbs.ALL.items():
            description = (verb.__doc__ or "").strip()
            subparser = subparsers.add_parser(
                name,
                help=description.splitlines()[0],
                description=description,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            verb.add_arguments(subparser)
            subparser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            code = verbs.ALL[verb].handle(self, **options)
        except (DatabaseError, InterfaceError) as error:
            hint = "If the tables are missing, run 'manage.py migrate secguard'."
            raise CommandError(f"The database did not do it: {error}. {hint}") from error
        except (ImproperlyConfigured, InvalidRule) as error:
            raise CommandError(f"The settings are wrong: {error}") from error
        except BrokenPipeError:
            # Whoever reads (| head) has seen enough. What is left unwritten must not raise at the end either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        if code:
            sys.exit(code)
