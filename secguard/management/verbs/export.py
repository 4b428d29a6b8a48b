"""Write the blocks in force for a firewall or a proxy.

What is never refused (ALLOWLIST, TRUSTED_PROXIES, allowed networks) is left out; a blocked network around it falls
into parts. Of several blocks of one network the longest counts. The order is always the same.

Exit codes: 0 written, 1 wrong input, or the file cannot be written.
"""

from __future__ import annotations

import argparse
import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.blocking.export import FORMATS, Entry, prepare
from secguard.conf import get_settings
from secguard.management.console import number_of, write_json
from secguard.management.verbs.block import never_refused
from secguard.models import Block
from secguard.network import parse_network
from secguard.records.database import database, database_now
from secguard.records.summary import in_force


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, help="default: plain, one network a line")
    parser.add_argument("--list", metavar="NAME", help="the blocks of this imported list alone")
    parser.add_argument("--output", metavar="FILE", help="replaced in one step, once all is written; default: print it")


def handle(command: BaseCommand, **options: Any) -> int:
    format_, output = options["format"], options["output"]
    if options["json"] and not output:
        if format_ not in (None, "json"):
            raise CommandError("--json prints JSON: it does not go with another --format, unless there is an --output.")
        format_ = "json"
    entries = prepare(_entries(options["list"]), map(parse_network, never_refused()))
    lines = FORMATS[format_ or "plain"](entries)
    if not get_settings().enforces:
        command.stderr.write(f"MODE is {get_settings().mode}: secguard itself refuses none of them.")
    if not output:
        for line in lines:
            command.stdout.write(line)
        return 0
    try:
        write_atomically(Path(output), lines)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror or error}. It is as it was.") from None
    if options["json"]:
        write_json(command, {"file": output, "format": format_ or "plain", "networks": len(entries)})
    else:
        command.stdout.write(f"Wrote {number_of(len(entries), 'network')} to {output}.")
    return 0


def _entries(list_name: str | None) -> Iterable[Entry]:
    rows = in_force(Block)
    if list_name is not None:
        rows = rows.filter(list_name=list_name)
        if not list_name or not rows.exists():
            raise CommandError(f"There is no list {list_name!r} with blocks in force.")
    now = database_now(database())
    for row in rows.order_by().iterator():
        left = None if row.expires_at is None else (row.expires_at - now).total_seconds()
        yield Entry(parse_network(row.network), left, str(row.reference), row.rule, row.list_name, row.reason)


def write_atomically(path: Path, lines: Iterable[str]) -> None:
    """Whoever reads the file sees the old one or the new one. Permissions and links stay as they are."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(f"{target} is no file")  # root would replace even a device
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(target))
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _mode(target: Path) -> int:
    """As the file has it, or as a new one would."""
    with suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
