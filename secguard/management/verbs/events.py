"""Show the vocabulary: every type of event, and what OWASP, ECS, OCSF and CEF call it.

Exit codes: 0 shown, 1 there is no such type.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.events import VOCABULARY
from secguard.formatters.vocabulary import COLUMNS, details, markdown, row
from secguard.management.console import cell, write_json, write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("types", nargs="*", metavar="TYPE", help="only these types")
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")


def handle(command: BaseCommand, **options: Any) -> int:
    types = options["types"] or list(VOCABULARY)
    unknown = [name for name in types if name not in VOCABULARY]
    if unknown:
        raise CommandError(f"No type of event: {cell(', '.join(unknown))}. Without a type all are shown.")
    if options["json"]:
        write_json(command, [details(name) for name in types])
    elif options["markdown"]:
        command.stdout.write(markdown(types), ending="")
    else:
        write_table(command, [row(name) for name in types], COLUMNS)
    return 0
