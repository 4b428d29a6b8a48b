"""``manage.py secguard export``: which blocks are written, and how the file is replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard.blocking import export
from tests.command.running import HOST, OTHER, ago, allowed_row, as_json, block_row, exit_code, secguard

pytestmark = pytest.mark.django_db


def test_the_blocks_in_force_are_written_in_order() -> None:
    block_row("2001:db8::/64")
    block_row(OTHER, rule="brute_force")
    block_row(HOST, list_name="spam")
    block_row("198.51.100.0/24")
    block_row("192.0.2.1", lifted_at=ago(minutes=1))
    block_row("192.0.2.2", expires_at=ago(minutes=1))
    assert exit_code("export") == (0, f"198.51.100.0/24\n{HOST}\n{OTHER}\n2001:db8::/64\n")
    assert secguard("export", "--format", "nginx").splitlines()[0] == "deny 198.51.100.0/24;"
    assert secguard("export", "--list", "spam") == f"{HOST}\n"


@pytest.mark.parametrize("name", export.FORMATS)
def test_every_format_is_written(name: str) -> None:
    block_row(HOST, expires_at=ago(minutes=-10))
    assert HOST in secguard("export", "--format", name)


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/30"], "TRUSTED_PROXIES": ["203.0.113.4", "unix"]})
def test_what_is_never_refused_is_left_out() -> None:
    block_row("203.0.113.0/29")
    allowed_row("203.0.113.5")
    allowed_row("203.0.113.6", expires_at=ago(minutes=1))
    assert secguard("export") == "203.0.113.6/31\n"


def test_an_export_can_be_read_by_programs() -> None:
    row = block_row(HOST, expires_at=ago(minutes=-10), rule="brute_force", reason="5 events")
    (told,) = as_json("export")
    assert 590 <= told.pop("seconds") <= 600
    assert told == {
        "network": HOST,
        "reference": str(row.reference),
        "rule": "brute_force",
        "list_name": "",
        "reason": "5 events",
    }


def test_what_is_exported_can_be_imported(tmp_path: Path) -> None:
    for network in (HOST, "198.51.100.0/24", "2001:db8::/64", "2001:db8:1::1/128"):
        block_row(network)
    first = secguard("export")
    (tmp_path / "list").write_text(first)
    secguard("import", str(tmp_path / "list"), "--name", "ours")
    assert secguard("export", "--list", "ours") == first


def test_in_monitor_mode_it_says_that_nobody_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    block_row(HOST)
    with override_settings(SECGUARD={"MODE": "monitor"}):
        assert secguard("export") == f"{HOST}\n"
    assert "MODE is monitor" in capsys.readouterr().err


# -- into a file ---------------------------------------------------------------------------------------------------


def test_a_file_is_written_and_counted(tmp_path: Path) -> None:
    block_row(HOST)
    file = tmp_path / "deny.conf"
    written = secguard("export", "--format", "nginx", "--output", str(file))
    assert written == f"Wrote 1 network to {file}.\n"
    assert file.read_text() == f"deny {HOST};\n"
    told = as_json("export", "--format", "nginx", "--output", str(file))
    assert told == {"file": str(file), "format": "nginx", "networks": 1}
    assert file.read_text() == f"deny {HOST};\n"


def test_a_new_file_can_be_read_as_any_other_and_an_old_one_as_before(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("old\n")
    old.chmod(0o640)
    mask = os.umask(0o027)
    try:
        secguard("export", "--output", str(new))
        secguard("export", "--output", str(old))
    finally:
        os.umask(mask)
    assert (stat.S_IMODE(new.stat().st_mode), stat.S_IMODE(old.stat().st_mode)) == (0o640, 0o640)
    old.chmod(0o604)
    secguard("export", "--output", str(old))
    assert stat.S_IMODE(old.stat().st_mode) == 0o604


def test_a_link_stays_one(tmp_path: Path) -> None:
    block_row(HOST)
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    secguard("export", "--output", str(link))
    assert link.is_symlink()
    assert target.read_text() == f"{HOST}\n"


def test_an_export_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(entries: Sequence[export.Entry]) -> Iterator[str]:
        yield "half"
        raise OSError("the disk is full")

    file = tmp_path / "deny.conf"
    file.write_text("old\n")
    monkeypatch.setitem(export.FORMATS, "plain", half)
    with pytest.raises(CommandError, match=r"the disk is full\. It is as it was"):
        secguard("export", "--output", str(file))
    assert file.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["deny.conf"]


@pytest.mark.parametrize("output", ["no/such/directory/file", ".", "/dev/null"])
def test_what_cannot_be_written_is_said(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="cannot be written"):
        secguard("export", "--output", output)
    assert os.listdir(tmp_path) == []
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("arguments", [("--list", "scanners"), ("--list", ""), ("--json", "--format", "nginx")])
def test_wrong_input_is_an_error(arguments: tuple[str, ...]) -> None:
    block_row(HOST, list_name="spam")
    with pytest.raises(CommandError):
        secguard("export", *arguments)
