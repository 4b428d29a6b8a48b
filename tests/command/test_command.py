"""What holds for every verb, and the command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from secguard.management import verbs
from tests.command.conftest import ROOT, Manage, manage_in
from tests.command.running import HOST, OTHER, secguard

pytestmark = pytest.mark.django_db

WRONG = {
    "E001": "SECGUARD = {'MODE': 'on', 'NO_SUCH_KEY': 1}",
    "E002": "SECGUARD = {'LOGGER_CLASS': 'no_such_module.Logger'}",
    "E003": "SECGUARD = {'CACHE_ALIAS': 'no such cache'}",
    "E004": "SECGUARD = {'BLOCKED_RESPONSE': 'no_such_module.view'}",
    "E005": "MIDDLEWARE.reverse()",
}


@pytest.mark.parametrize("verb", verbs.ALL)
def test_every_verb_says_what_it_does_and_how_it_ends(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("secguard", verb, "--help")
    assert end.value.code == 0
    written = capsys.readouterr().out
    assert "Exit codes: 0" in written
    assert "--json" in written


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explode",),
        ("block",),
        ("unblock",),
        ("unblock", HOST, OTHER),
        ("block", HOST, "--account", "anna"),
        ("unblock", HOST, "--account", "anna"),
        ("block", "--account", "  "),
        ("unblock", "--account", ""),
        ("allow",),
        ("explain",),
        ("forget",),
        ("forget", HOST, "--account", "anna", "--yes"),
        ("list", "everything"),
        ("import",),
        ("export", "--format", "xml"),
        ("prune", "--days", "0"),
    ],
)
def test_what_is_no_command_is_an_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        secguard(*arguments)


@contextmanager
def no_tables() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE secguard_block RENAME TO secguard_block_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE secguard_block_away RENAME TO secguard_block")


@pytest.mark.parametrize("arguments", [("list",), ("status",), ("block", HOST), ("unblock", HOST), ("export",)])
@pytest.mark.django_db(transaction=True)
def test_a_database_without_the_tables_is_a_sentence(arguments: tuple[str, ...]) -> None:
    with no_tables(), pytest.raises(CommandError, match="migrate secguard"):
        secguard(*arguments)


@pytest.mark.parametrize("arguments", [("status",), ("explain", HOST), ("selftest",), ("forget", HOST, "--yes")])
def test_wrong_settings_are_a_sentence(arguments: tuple[str, ...]) -> None:
    with override_settings(SECGUARD={"MODE": "on"}), pytest.raises(CommandError, match="MODE"):
        secguard(*arguments)


# -- as operators run it: in a process of its own ------------------------------------------------------------------


def blocked(manage: Manage) -> list[Any]:
    done = manage("secguard", "list", "--json")
    assert done.returncode == 0, done.stderr
    return [row["network"] for row in json.loads(done.stdout)]


def test_the_verbs_work_from_one_process_to_the_next(manage: Manage) -> None:
    done = manage("secguard", "block", "203.0.113.0/24", "--duration", "2h")
    assert done.returncode == 0
    assert done.stdout.startswith("Blocked 203.0.113.0/24 for 2h. Reference: ")
    assert json.loads(done.stderr)["context"]["event_type"] == "address_blocked"
    assert blocked(manage) == ["203.0.113.0/24"]
    done = manage("secguard", "unblock", "203.0.113.0/24")
    assert (done.returncode, done.stdout) == (0, "Lifted 1 block of 203.0.113.0/24.\n")
    assert blocked(manage) == []
    assert manage("secguard", "unblock", "203.0.113.0/24").returncode == 3


def test_a_list_comes_from_the_standard_input(manage: Manage) -> None:
    done = manage("secguard", "import", "-", "--name", "spam", given="203.0.113.7\n198.51.100.0/24\n")
    assert done.returncode == 0, done.stderr
    assert sorted(blocked(manage)) == ["198.51.100.0/24", "203.0.113.7"]
    assert manage("secguard", "export", "--list", "spam").stdout == "198.51.100.0/24\n203.0.113.7\n"


def test_whoever_reads_may_stop_early(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join(f"10.{high}.{low}.1\n" for high in range(40) for low in range(256)))
    assert manage("secguard", "import", str(tmp_path / "list"), "--name", "many").returncode == 0
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings"}
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(ROOT)))
    command = [sys.executable, "-m", "django", "secguard", "export"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"10.0.0.1\n"
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


def test_wrong_input_ends_with_code_1_and_a_sentence(manage: Manage) -> None:
    done = manage("secguard", "block", "203.0.113.*")
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: ")
    assert "Traceback" not in done.stderr


def test_ones_own_address_needs_a_yes(manage: Manage) -> None:
    done = manage("secguard", "block", HOST, SSH_CLIENT=f"{HOST} 50412 22")
    assert done.returncode == 1
    assert "Add --yes" in done.stderr
    assert blocked(manage) == []


@pytest.mark.parametrize("wrong", WRONG)
def test_unblock_works_whatever_else_is_wrong(wrong: str, manage: Manage) -> None:
    manage("secguard", "block", HOST)
    check = manage("check", more=WRONG[wrong])
    assert f"(secguard.{wrong})" in check.stderr
    done = manage("secguard", "unblock", HOST, more=WRONG[wrong])
    assert (done.returncode, done.stdout) == (0, "Lifted 1 block of 203.0.113.7.\n"), done.stderr
    assert blocked(manage) == []


def test_without_the_tables_the_operator_is_told(tmp_path: Path) -> None:
    done = manage_in(tmp_path)("secguard", "unblock", HOST)
    assert done.returncode == 1
    assert "secguard_block" in done.stderr
    assert "migrate secguard" in done.stderr
    assert "Traceback" not in done.stderr
