"""``manage.py secguard``: what operators do, and what they are told."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from secguard import records
from secguard.context import get_resolver
from secguard.logging import security_event_logger
from secguard.management import verbs
from secguard.models import Block
from secguard.pipeline import get_replica
from secguard.testing import capture_events

HOST, OTHER = "203.0.113.7", "203.0.113.8"

pytestmark = pytest.mark.django_db


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


def is_blocked(text: str = HOST) -> bool:
    address = get_resolver().address(text)
    assert address is not None
    return get_replica().find(address) is not None


def fail(number: int, address: str = HOST) -> None:
    for _ in range(number):
        security_event_logger.log_login_failed(ip_address=address, email="anna@example.com")


class Terminal(io.StringIO):
    """Somebody sits here and types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _nobody_sits_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CLIENT", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", verbs.ALL)
def test_every_verb_says_what_it_does_and_how_it_ends(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("secguard", verb, "--help")
    assert end.value.code == 0
    assert "Exit codes: 0" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("explode",), ("block",), ("unblock",), ("unblock", HOST, OTHER)])
def test_what_is_no_command_is_an_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        secguard(*arguments)


# -- status --------------------------------------------------------------------------------------------------------


def test_status_says_how_the_guard_is_doing() -> None:
    records.block_network(HOST)
    code, written = exit_code("status")
    assert code == 0
    facts = {line[:16].strip(): line[16:].strip() for line in written.splitlines() if not line.startswith("  ")}
    assert facts == {
        "mode": "enforce",
        "store": "MemoryStore",
        "store shared": "False",
        "store exact": "True",
        "store degraded": "False",
        "active blocks": "1",
        "rules": "",
    }
    assert "  brute_force: 5 in 900 s per address, block" in written.splitlines()
    assert "  account_failures: 20 in 1800 s per account, log" in written.splitlines()


def test_status_can_be_read_by_programs() -> None:
    facts = json.loads(secguard("status", "--json"))
    assert facts["mode"] == "enforce"
    assert facts["active_blocks"] == 0
    assert facts["store_degraded"] is False
    assert len(facts["rules"]) == 4


@override_settings(SECGUARD={"RULES": {"brute_force": {"threshold": 9}, "account_failures": None}})
def test_status_shows_the_rules_in_force() -> None:
    rules = json.loads(secguard("status", "--json"))["rules"]
    assert "brute_force: 9 in 900 s per address, block" in rules
    assert len(rules) == 3


def test_status_shows_a_mode_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_MODE", "monitor")
    with override_settings(SECGUARD={}):
        assert "monitor (overridden by the environment)" in secguard("status")


def test_status_says_by_its_exit_code_that_the_store_is_away(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        code, written = exit_code("status", "--json")
    assert code == 4
    facts = json.loads(written)
    assert (facts["store"], facts["store_degraded"]) == ("RedisStore", True)


def test_status_of_a_store_that_answers(empty_redis: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        code, written = exit_code("status", "--json")
        from secguard.pipeline import get_store

        get_store().primary.close()  # type: ignore[attr-defined]
    assert code == 0
    assert json.loads(written)["store_shared"] is True


# -- list ----------------------------------------------------------------------------------------------------------


def test_an_empty_list_says_so() -> None:
    assert secguard("list") == "Nothing is blocked.\n"
    assert json.loads(secguard("list", "--json")) == []


def test_the_list_is_a_table_of_the_blocks_in_force() -> None:
    fail(5)
    request = records.block_network("2001:db8::/48", by="anna", reason="abuse")
    records.block_network(OTHER)
    records.unblock_network(OTHER)
    header, first, second = secguard("list").splitlines()
    assert header.split() == ["network", "rule", "expires_at", "created_by", "reference"]
    assert first.split() == ["2001:db8::/48", "-", "-", "anna", request.reference]
    network, rule, expires, by, _ = second.split()
    assert (network, rule, by) == (HOST, "brute_force", "-")
    assert datetime.fromisoformat(expires) > datetime.now(timezone.utc)
    assert {line.index(part) for line, part in ((header, "rule"), (second, "brute_force"))} == {header.index("rule")}


def test_the_list_can_be_read_by_programs() -> None:
    request = records.block_network(HOST, duration=3600, by="anna", reason="abuse")
    (row,) = json.loads(secguard("list", "--json"))
    expires = datetime.fromisoformat(row.pop("expires_at"))
    assert expires - datetime.now(timezone.utc) < timedelta(hours=1)
    assert row == {
        "network": HOST,
        "rule": "",
        "created_by": "anna",
        "reference": request.reference,
        "reason": "abuse",
    }


def test_what_has_ended_is_not_listed() -> None:
    records.block_network(HOST)
    Block.objects.update(expires_at=datetime.now(timezone.utc) - timedelta(seconds=5))
    assert secguard("list") == "Nothing is blocked.\n"


# -- block ---------------------------------------------------------------------------------------------------------


def test_a_block_is_in_force_and_recorded() -> None:
    written = secguard("block", HOST, "--reason", "abuse")
    block = Block.objects.get()
    assert written == f"Blocked 203.0.113.7 for good. Reference: {block.reference}\n"
    assert (block.network, block.expires_at, block.reason) == (HOST, None, "abuse")
    assert block.created_by
    assert is_blocked()


def test_a_block_of_somebody_without_a_name_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python 3.13 raises OSError where a container's user has no entry, earlier ones KeyError.
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)
    secguard("block", HOST)
    assert Block.objects.get().created_by == "unknown"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("1.5", 1.5), ("45s", 45), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("0.5H", 1800)],
)
def test_a_duration_has_a_unit(written: str, seconds: float) -> None:
    assert f"for {seconds:g} s" in secguard("block", HOST, "--duration", written)
    block = Block.objects.get()
    assert block.expires_at is not None
    assert (block.expires_at - block.created_at).total_seconds() == seconds


@pytest.mark.parametrize("written", ["0", "-5", "5x", "", "h", "nan", "inf", "1e999", "101y", "40000d", "ten"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(CommandError, match="duration"):
        secguard("block", HOST, f"--duration={written}")
    assert not Block.objects.exists()


@pytest.mark.parametrize(
    "network", ["", "*", "{}", "203.0.113.*", "203.0.113.7/24", "203.0.113", "example.org", "0.0.0.0/33", "anna"]
)
@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_what_is_no_network_is_refused(verb: str, network: str) -> None:
    records.block_network(HOST)
    with pytest.raises(CommandError):
        secguard(verb, network)
    assert [block.network for block in records.active_blocks()] == [HOST]


def test_host_bits_are_refused_with_the_network_that_was_meant() -> None:
    with pytest.raises(CommandError, match=r"203\.0\.113\.0/24"):
        secguard("block", "203.0.113.7/24")


@pytest.mark.parametrize(
    ("network", "canonical"),
    [("2001:db8::7", "2001:db8::/64"), ("203.0.113.0/24", "203.0.113.0/24"), ("::ffff:203.0.113.7", HOST)],
)
def test_a_network_is_blocked_in_its_one_spelling(network: str, canonical: str) -> None:
    assert secguard("block", network).startswith(f"Blocked {canonical} for good.")
    assert Block.objects.get().network == canonical


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/28"], "TRUSTED_PROXIES": ["198.51.100.1", "unix"]})
@pytest.mark.parametrize(
    ("network", "told"), [(HOST, True), ("203.0.113.0/24", True), ("198.51.100.0/24", True), ("192.0.2.1", False)]
)
def test_who_blocks_what_is_never_refused_is_told(network: str, told: bool) -> None:
    assert ("ALLOWLIST" in secguard("block", network)) is told


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/28"]})
def test_an_allowlist_of_the_other_family_is_no_obstacle() -> None:
    assert "ALLOWLIST" not in secguard("block", "2001:db8::/48")


# -- one's own address ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "network"),
    [
        (HOST, HOST),
        (HOST, "203.0.113.0/24"),
        ("::ffff:203.0.113.7", HOST),
        ("2001:db8::7", "2001:db8::9"),
        ("2001:db8::7", "2001:db8::/48"),
    ],
)
class TestOwnAddress:
    """Whoever is about to shut himself out is asked first."""

    @pytest.fixture(autouse=True)
    def _sits_there(self, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSH_CLIENT", f"{own} 50412 22")

    def test_without_a_terminal_it_is_refused(self, own: str, network: str) -> None:
        with pytest.raises(CommandError, match="Add --yes"):
            secguard("block", network)
        assert not Block.objects.exists()

    @pytest.mark.parametrize("answer", ["y", "Y", "yes", " YES "])
    def test_it_is_blocked_if_the_answer_is_yes(
        self, own: str, network: str, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
        secguard("block", network)
        assert f"includes {own}, the address you are connected from" in capsys.readouterr().out
        assert Block.objects.count() == 1

    @pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "maybe\n", ""])
    def test_it_is_not_blocked_on_any_other_answer(
        self, own: str, network: str, answer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises(CommandError, match="Not blocked"):
            secguard("block", network)
        assert not Block.objects.exists()

    def test_nobody_is_asked_who_said_yes_before(self, own: str, network: str) -> None:
        assert secguard("block", network, "--yes").startswith("Blocked ")


@pytest.mark.parametrize("own", ["192.0.2.1 50412 22", "2001:db8::1 50412 22", "UNKNOWN 0 0", "", "  "])
def test_nobody_is_asked_who_sits_elsewhere(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CLIENT", own)
    assert secguard("block", HOST).startswith("Blocked ")


# -- unblock -------------------------------------------------------------------------------------------------------


def test_unblock_lifts_every_block_of_the_address() -> None:
    records.block_network(HOST)
    assert exit_code("unblock", HOST) == (0, "Lifted 1 block of 203.0.113.7.\n")
    assert not is_blocked()
    for _ in range(2):
        records.block_network(HOST)
    assert exit_code("unblock", HOST) == (0, "Lifted 2 blocks of 203.0.113.7.\n")


def test_unblock_records_who_and_why() -> None:
    records.block_network(HOST)
    with capture_events() as events:
        secguard("unblock", HOST, "--reason", "a mistake")
    block = Block.objects.get()
    assert block.lift_reason == "a mistake"
    assert block.lifted_by == events.of("address_unblocked")[0].context["by"] != ""


def test_unblock_of_what_is_not_blocked_says_so_by_its_exit_code() -> None:
    assert exit_code("unblock", HOST) == (3, "203.0.113.7 was not blocked.\n")


def test_unblock_closes_the_threat_and_counts_from_nought() -> None:
    fail(5)
    secguard("unblock", HOST)
    assert not security_event_logger.is_suspicious_activity(ip_address=HOST)
    assert security_event_logger.get_failed_login_count(HOST) == 0
    fail(4)
    assert not is_blocked()


def test_unblock_counts_from_nought_even_what_is_not_blocked() -> None:
    fail(4)
    assert exit_code("unblock", HOST)[0] == 3
    assert security_event_logger.get_failed_login_count(HOST) == 0


def test_unblock_keeps_the_counters_if_told_to() -> None:
    fail(5)
    secguard("unblock", HOST, "--keep-counters")
    assert not is_blocked()
    assert security_event_logger.get_failed_login_count(HOST) == 5


@pytest.mark.parametrize("spelling", ["2001:db8::ffff", "2001:db8::/64", "2001:DB8:0:0::/64"])
def test_any_address_of_a_64_lifts_its_block(spelling: str) -> None:
    fail(5, "2001:db8::7")
    assert is_blocked("2001:db8::1234")
    assert exit_code("unblock", spelling) == (0, "Lifted 1 block of 2001:db8::/64.\n")
    assert not is_blocked("2001:db8::7")


def test_who_is_still_inside_another_block_is_told() -> None:
    for network in (HOST, "203.0.113.0/24", "203.0.0.0/16", "198.51.100.0/24", "2001:db8::/32"):
        records.block_network(network)
    lifted, first, second = secguard("unblock", HOST).splitlines()
    assert lifted == "Lifted 1 block of 203.0.113.7."
    assert first == "It is still inside the blocked network 203.0.0.0/16."
    assert second == "It is still inside the blocked network 203.0.113.0/24."
    assert is_blocked()


def test_unblock_works_while_the_store_is_away(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        records.block_network(HOST)
        assert exit_code("unblock", HOST) == (0, "Lifted 1 block of 203.0.113.7.\n")
        assert not is_blocked()
    assert records.active_blocks() == []


# -- as operators run it: in a process of its own --------------------------------------------------------------------

SITE = """
SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "secguard"
]
MIDDLEWARE = [
    "secguard.middleware.SecurityGuardMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTHENTICATION_BACKENDS = ["secguard.backends.GuardedModelBackend"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}}
SECGUARD = {{}}
{more}
"""
WRONG = {
    "E001": "SECGUARD = {'MODE': 'on', 'NO_SUCH_KEY': 1}",
    "E002": "SECGUARD = {'LOGGER_CLASS': 'no_such_module.Logger'}",
    "E003": "SECGUARD = {'CACHE_ALIAS': 'no such cache'}",
    "E004": "SECGUARD = {'BLOCKED_RESPONSE': 'no_such_module.view'}",
    "E005": "MIDDLEWARE.reverse()",
}

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


def manage_in(directory: Path) -> Manage:
    """Run manage.py on a site whose settings end with ``more``."""

    def manage(*arguments: str, more: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        settings = SITE.format(database=str(directory / "db.sqlite3"), more=more)
        (directory / "site_settings.py").write_text(settings, encoding="utf-8")
        given = {"DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONDONTWRITEBYTECODE": "1", **environment}
        paths = os.pathsep.join([str(directory), str(Path(__file__).parent.parent)])
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env={**os.environ, "PYTHONPATH": paths, **given},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return manage


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables in it."""
    directory = tmp_path_factory.mktemp("site")
    done = manage_in(directory)("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return directory / "db.sqlite3"


@pytest.fixture
def manage(migrated: Path, tmp_path: Path) -> Manage:
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    return manage_in(tmp_path)


def blocked(manage: Manage) -> list[Any]:
    done = manage("secguard", "list", "--json")
    assert done.returncode == 0, done.stderr
    return [row["network"] for row in json.loads(done.stdout)]


def test_the_verbs_work_from_one_process_to_the_next(manage: Manage) -> None:
    done = manage("secguard", "block", "203.0.113.0/24", "--duration", "2h")
    assert done.returncode == 0
    assert done.stdout.startswith("Blocked 203.0.113.0/24 for 7200 s. Reference: ")
    assert json.loads(done.stderr)["context"]["event_type"] == "address_blocked"
    assert blocked(manage) == ["203.0.113.0/24"]
    done = manage("secguard", "unblock", "203.0.113.0/24")
    assert (done.returncode, done.stdout) == (0, "Lifted 1 block of 203.0.113.0/24.\n")
    assert blocked(manage) == []
    assert manage("secguard", "unblock", "203.0.113.0/24").returncode == 3


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
    assert done.returncode != 0
    assert "secguard_block" in done.stderr
