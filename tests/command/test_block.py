"""``manage.py secguard block``: of addresses, networks and accounts."""

from __future__ import annotations

import sys

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.models import AccountLock, Block
from secguard.pipeline import get_locks
from tests.command.running import ANNA, HOST, Terminal, allowed_row, as_json, is_blocked, secguard

pytestmark = pytest.mark.django_db


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
    secguard("block", HOST, "--duration", written)
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
    assert ("never refused" in secguard("block", network)) is told


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/28"]})
@pytest.mark.parametrize(("network", "who"), [(HOST, "It"), ("203.0.113.0/28", "It"), ("203.0.113.0/24", "Part of it")])
def test_it_is_told_whether_that_is_all_of_it(network: str, who: str) -> None:
    said = secguard("block", network).splitlines()[-1]
    assert said == f"{who} is never refused: 203.0.113.0/28 (ALLOWLIST, proxies, allowed)."


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/28"]})
def test_an_allowlist_of_the_other_family_is_no_obstacle() -> None:
    assert "never refused" not in secguard("block", "2001:db8::/48")


def test_who_blocks_what_an_operator_allowed_is_told() -> None:
    allowed_row("203.0.113.5")
    assert "never refused: 203.0.113.5" in secguard("block", "203.0.113.0/24")


def test_a_duration_is_told_in_units_that_people_read() -> None:
    assert secguard("block", HOST, "--duration", "5400").startswith("Blocked 203.0.113.7 for 1h 30m. Reference: ")


def test_block_can_be_read_by_programs() -> None:
    told = as_json("block", "203.0.113.0/24", "--duration", "1h")
    reference = str(Block.objects.get().reference)
    assert told == {"network": "203.0.113.0/24", "duration": 3600, "reference": reference, "never_refused": []}


def test_with_wrong_settings_nothing_is_half_done() -> None:
    with override_settings(SECGUARD={"MODE": "on"}), pytest.raises(CommandError, match="settings are wrong"):
        secguard("block", HOST)
    assert not Block.objects.exists()


@pytest.mark.parametrize("network", ["0.0.0.0/0", "64.0.0.0/2", "::/0"])
def test_a_good_part_of_the_internet_needs_a_yes(network: str) -> None:
    with pytest.raises(CommandError, match="Add --yes"):
        secguard("block", network)
    assert not Block.objects.exists()
    assert secguard("block", network, "--yes").startswith(f"Blocked {network}")


# -- accounts --------------------------------------------------------------------------------------------------------


def test_an_account_is_locked_and_recorded() -> None:
    written = secguard("block", "--account", "Anna@Example.com", "--duration", "1h", "--reason", "stolen")
    lock = AccountLock.objects.get()
    assert written == f"Locked anna@example.com for 1h. Reference: {lock.reference}\n"
    assert (lock.account, lock.scope, lock.reason) == (ANNA, "all", "stolen")
    assert lock.created_by
    assert lock.expires_at is not None
    assert (lock.expires_at - lock.created_at).total_seconds() == 3600
    assert get_locks().find(lock.digest) is not None


def test_a_lock_may_be_for_unknown_devices_alone() -> None:
    written = secguard("block", "--account", ANNA, "--scope", "unknown_devices")
    assert written.startswith("Locked anna@example.com for unknown devices until it is lifted.")
    lock = AccountLock.objects.get()
    assert (lock.scope, lock.expires_at) == ("unknown_devices", None)


def test_a_scope_is_for_accounts() -> None:
    with pytest.raises(CommandError, match="--account"):
        secguard("block", HOST, "--scope", "all")
    assert not Block.objects.exists()


def test_a_lock_can_be_read_by_programs() -> None:
    told = as_json("block", "--account", ANNA)
    assert told == {
        "account": ANNA,
        "duration": None,
        "scope": "all",
        "reference": str(AccountLock.objects.get().reference),
    }


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
