"""List the blocks in force.

Exit codes: 0.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand

from secguard import records
from secguard.models import Block

_COLUMNS = ("network", "rule", "expires_at", "created_by", "reference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def handle(command: BaseCommand, **options: Any) -> int:
    rows = [_row(block) for block in records.active_blocks()]
    if options["json"]:
        command.stdout.write(json.dumps(rows, indent=2))
    elif rows:
        _table(command, rows)
    else:
        command.stdout.write("Nothing is blocked.")
    return 0


def _row(block: Block) -> dict[str, str | None]:
    return {
        "network": block.network,
        "rule": block.rule,
        "expires_at": block.expires_at.isoformat(timespec="seconds") if block.expires_at else None,
        "created_by": block.created_by,
        "reference": str(block.reference),
        "reason": block.reason,
    }


def _table(command: BaseCommand, rows: list[dict[str, str | None]]) -> None:
    cells = [[row[name] or "-" for name in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *cells, strict=True)]
    for line in [list(_COLUMNS), *cells]:
        command.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
