"""``manage.py secguard import``, and the lists that it makes."""

from __future__ import annotations

import io
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError

from secguard.models import Block
from secguard.records import database_now
from tests.command.running import Terminal, as_json, block_row, exit_code, rows_of, secguard

pytestmark = pytest.mark.django_db


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("# a list\n203.0.113.7\n198.51.100.0/24 ; scanners\n", encoding="utf-8")
    return path


def in_force() -> list[str]:
    return sorted(Block.objects.filter(lifted_at=None).values_list("network", flat=True))


def test_a_file_is_imported_and_replaced_by_the_next_of_its_name(given: Path) -> None:
    code, written = exit_code("import", str(given), "--name", "spam", "--reason", "they spam")
    assert (code, written) == (0, "Imported spam: 2 networks in force (2 added, 0 kept, 0 removed).\n")
    assert in_force() == ["198.51.100.0/24", "203.0.113.7"]
    row = Block.objects.filter(network="203.0.113.7").get()
    assert (row.list_name, row.reason, bool(row.created_by), row.expires_at) == ("spam", "they spam", True, None)
    given.write_text("203.0.113.7\n192.0.2.1\n192.0.2.2\n", encoding="utf-8")
    written = secguard("import", str(given), "--name", "spam")
    assert written == "Imported spam: 3 networks in force (2 added, 1 kept, 1 removed).\n"
    assert in_force() == ["192.0.2.1", "192.0.2.2", "203.0.113.7"]


def test_a_list_comes_from_the_standard_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("203.0.113.7\n"))
    secguard("import", "-", "--name", "spam")
    assert in_force() == ["203.0.113.7"]


def test_a_byte_order_mark_is_no_part_of_the_first_entry(given: Path) -> None:
    given.write_bytes(b"\xef\xbb\xbf203.0.113.7\r\n\xff\xfe\r\n192.0.2.1\r\n")
    written = secguard("import", str(given), "--name", "spam")
    assert in_force() == ["192.0.2.1", "203.0.113.7"]
    assert "Skipped 1 line:" in written


def test_what_is_skipped_is_shown_with_its_line_and_why(given: Path) -> None:
    given.write_text("203.0.113.7\nfoo\x1b[2J\n203.0.113.7/24\n192.0.2.1\n192.0.2.2\n", encoding="utf-8")
    lines = secguard("import", str(given), "--name", "spam").splitlines()
    assert lines[1] == "Skipped 2 lines:"
    assert lines[2].startswith(r"  2: foo\x1b[2J: ")
    assert lines[3].startswith("  3: 203.0.113.7/24: ")
    assert "host bits" in lines[3]


def test_of_many_skipped_lines_the_first_are_shown(given: Path) -> None:
    rows = [f"192.0.2.{number}\nrubbish {number}" for number in range(25)]
    given.write_text("\n".join(rows), encoding="utf-8")
    lines = secguard("import", str(given), "--name", "spam").splitlines()
    assert lines[1] == "Skipped 25 lines:"
    assert (len(lines), lines[-1]) == (2 + 20 + 1, "  and 5 more: --show-skipped")
    lines = secguard("import", str(given), "--name", "spam", "--show-skipped").splitlines()
    assert (len(lines), lines[-1].split(":")[0]) == (2 + 25, "  50")


def test_entries_inside_others_are_told(given: Path) -> None:
    given.write_text("198.51.100.0/24\n198.51.100.7\n", encoding="utf-8")
    assert "1 entry is inside another one of the list." in secguard("import", str(given), "--name", "spam")


def test_an_import_can_be_read_by_programs(given: Path) -> None:
    given.write_text("203.0.113.7\n192.0.2.1\nfoo\n", encoding="utf-8")
    told = as_json("import", str(given), "--name", "spam")
    (skipped,) = told.pop("skipped")
    assert (skipped["line"], skipped["text"], "foo" in skipped["why"]) == (3, "foo", True)
    assert told == {
        "name": "spam",
        "added": 2,
        "kept": 0,
        "removed": 0,
        "total": 2,
        "skipped_total": 1,
        "collapsed": 0,
    }


def lasts() -> timedelta:
    row = Block.objects.filter(network="203.0.113.7").get()
    assert row.expires_at is not None
    return row.expires_at - row.created_at


def test_a_list_lasts_for_a_duration(given: Path) -> None:
    secguard("import", str(given), "--name", "spam", "--duration", "2d")
    assert lasts() == timedelta(days=2)


@pytest.mark.parametrize("zone", ["+00:00", "Z", "", "-05:00"])
def test_a_list_lasts_until_a_time(given: Path, zone: str) -> None:
    end = database_now("default").replace(tzinfo=None, microsecond=0) + timedelta(days=3)
    secguard("import", str(given), "--name", "spam", "--expires", f"{end.isoformat()}{zone}")
    late = timedelta(hours=5) if zone == "-05:00" else timedelta(0)
    assert abs(lasts() - timedelta(days=3) - late) < timedelta(seconds=5)


def test_progress_is_shown_where_somebody_watches(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Terminal()
    monkeypatch.setattr(sys, "stderr", watching)
    secguard("import", str(given), "--name", "spam")
    assert "\rlines read: 3" in watching.getvalue()
    monkeypatch.setattr(sys, "stderr", unwatched := io.StringIO())
    secguard("import", str(given), "--name", "spam")
    assert "lines read" not in unwatched.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--name", "spam"),
        ("FILE", "--name", "spam", "--remove"),
        ("FILE", "--name", "no name"),
        ("FILE", "--name", ""),
        ("FILE",),
        ("/no/such/file", "--name", "spam"),
        (".", "--name", "spam"),
        ("FILE", "--name", "spam", "--expires", "2020-01-01"),
        ("FILE", "--name", "spam", "--expires", "tomorrow"),
        ("FILE", "--name", "spam", "--expires", "2999-01-01", "--duration", "1d"),
        ("FILE", "--name", "spam", "--duration", "0"),
        ("--name", "scanners", "--remove"),
        ("--name", "spam", "--remove", "--duration", "1d"),
    ],
)
def test_wrong_input_changes_nothing(arguments: tuple[str, ...], given: Path) -> None:
    block_row("192.0.2.9", list_name="spam")
    with pytest.raises(CommandError):
        secguard("import", *(str(given) if argument == "FILE" else argument for argument in arguments))
    assert in_force() == ["192.0.2.9"]


@pytest.mark.parametrize("content", ["", "# nothing\n", "<html>\n<body>\n404\n</body>\n</html>\n"])
def test_a_file_that_is_no_list_changes_nothing(content: str, given: Path) -> None:
    block_row("192.0.2.9", list_name="spam")
    given.write_text(content, encoding="utf-8")
    with pytest.raises(CommandError, match="nothing was changed"):
        secguard("import", str(given), "--name", "spam")
    assert in_force() == ["192.0.2.9"]


def test_a_list_is_removed(given: Path) -> None:
    secguard("import", str(given), "--name", "spam")
    block_row("203.0.113.7")
    assert exit_code("import", "--name", "spam", "--remove", "--reason", "too broad") == (
        0,
        "Removed the list spam: lifted 2 blocks.\n",
    )
    assert in_force() == ["203.0.113.7"]
    row = Block.objects.exclude(lifted_at=None).first()
    assert row is not None
    assert (row.lift_reason, bool(row.lifted_by)) == ("too broad", True)
    secguard("import", str(given), "--name", "spam")
    assert as_json("import", "--name", "spam", "--remove") == {"name": "spam", "removed": 2}


def test_lists_are_listed(given: Path) -> None:
    secguard("import", str(given), "--name", "spam")
    (row,) = rows_of(secguard("list", "lists"), "name")
    assert (row["name"], row["networks"], row["by"] != "-") == ("spam", "2", True)
    assert [each["name"] for each in as_json("list", "lists")] == ["spam"]


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-10:00", "9999-12-31T23:59:59Z", "9999-12-31"])
def test_an_end_at_the_end_of_time_can_be_stored(given: Path, end: str) -> None:
    given.write_text(f"ip,expires\n203.0.113.7,{end}\n", encoding="utf-8")
    assert secguard("import", str(given), "--name", "spam").startswith("Imported spam: 1 network in force")
    row = Block.objects.get()
    assert row.expires_at is not None
    assert row.expires_at.year == 9999


def test_an_end_of_the_list_may_not_be_that_far_away(given: Path) -> None:
    with pytest.raises(CommandError, match="too far away"):
        secguard("import", str(given), "--name", "spam", "--expires", "9999-12-31T23:59:59-10:00")
    assert in_force() == []


def test_what_is_no_utf_8_on_the_standard_input_is_skipped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO(b"203.0.113.7\n\xff\xfe\n# caf\xe9\n192.0.2.1\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw, encoding="utf-8"))
    written = secguard("import", "-", "--name", "spam")
    assert in_force() == ["192.0.2.1", "203.0.113.7"]
    assert "Skipped 1 line:" in written
