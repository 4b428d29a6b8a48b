"""Run ``manage.py secguard`` in this process, and what its tests look at."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta
from typing import Any

from django.core.management import call_command

from secguard.context import get_resolver
from secguard.logging import security_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block
from secguard.pipeline import get_replica
from secguard.records import database_now

HOST, OTHER = "203.0.113.7", "203.0.113.8"
ANNA = "anna@example.com"


def secguard(*arguments: str) -> str:
    """Run the command; what it wrote."""
    out = io.StringIO()
    call_command("secguard", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def exit_code(*arguments: str) -> tuple[int, str]:
    """Run the command; its exit code, and what it wrote."""
    out = io.StringIO()
    code: object = 0
    try:
        call_command("secguard", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        code = end.code
    assert isinstance(code, int)
    return code, out.getvalue()


def as_json(*arguments: str) -> Any:
    """Run the command with --json, whatever its exit code."""
    return json.loads(exit_code(*arguments, "--json")[1])


def rows_of(written: str, first: str) -> list[dict[str, str]]:
    """The table whose first column is ``first``: its rows by column, cut where the heads stand."""
    lines = written.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{first}  "))
    heads = list(re.finditer(r"\S+(?: \S+)*", lines[at]))
    ends = [head.start() for head in heads[1:]] + [None]
    rows = []
    for line in lines[at + 1 :]:
        if not line.strip():
            break
        rows.append({head[0]: line[head.start() : end].strip() for head, end in zip(heads, ends, strict=True)})
    return rows


def facts_of(written: str) -> dict[str, str]:
    """The names and values before the first empty line."""
    lines = written.partition("\n\n")[0].splitlines()
    pairs = [re.split(r" {2,}", line, maxsplit=1) for line in lines]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def is_blocked(text: str = HOST) -> bool:
    address = get_resolver().address(text)
    assert address is not None
    return get_replica().find(address) is not None


def fail(number: int, address: str = HOST, account: str = ANNA) -> None:
    for _ in range(number):
        security_event_logger.log_login_failed(ip_address=address, email=account)


def ago(**span: float) -> datetime:
    return database_now("default") - timedelta(**span)


def block_row(network: str = HOST, **fields: Any) -> Block:
    """A block as another process saved it."""
    now = database_now("default")
    return Block.objects.create(**{"network": network, "created_at": now, "updated_at": now, **fields})


def allowed_row(network: str = HOST, **fields: Any) -> AllowedNetwork:
    now = database_now("default")
    return AllowedNetwork.objects.create(**{"network": network, "created_at": now, "updated_at": now, **fields})


def digest_of(account: str = ANNA) -> str:
    return security_event_logger.pipeline.detector.digest("account", account).hex()


def lock_row(whose: str = ANNA, **fields: Any) -> AccountLock:
    now = database_now("default")
    digest = digest_of(whose)
    given = {"account": whose, "digest": digest, "created_at": now, "updated_at": now, **fields}
    return AccountLock.objects.create(**given)


class Terminal(io.StringIO):
    """Somebody sits here and types."""

    def isatty(self) -> bool:
        return True
