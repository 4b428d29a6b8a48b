"""Each format is recognised, read exactly, and survives whatever stands in it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from secguard.context import get_resolver
from secguard.replay.attempts import ACCOUNT, ADDRESS, AT, HAS_FAILED, OTHER_NAME, Attempt, People, iso
from secguard.replay.ordering import SLACK, in_order, merged
from secguard.replay.readers import Notes, Reading, Times, UnreadableError, attempts_of

Seen = tuple[str, str, "str | None", "str | None"]


def reading(**options: Any) -> Reading:
    return Reading(People(get_resolver()), options.pop("times", Times()), Notes(), **options)


def read(path: Path, how: Reading | None = None, format_: str = "auto") -> list[Attempt]:
    log = attempts_of(str(path), how or reading(), format_, lambda lines, share: None)
    return [each for batch in merged([log]) for each in batch]


def told(attempts: list[Attempt]) -> list[Seen]:
    return [
        (iso(each[AT]), "failure" if each[HAS_FAILED] else "success", each[ADDRESS], each[ACCOUNT]) for each in attempts
    ]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    def write(*lines: str, name: str = "log") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def line(ts: str = "2026-01-01T00:00:00Z", **changes: Any) -> str:
    return json.dumps({"ts": ts, "ip": "192.0.2.1", "username": "anna", "outcome": "failure", **changes})


# -- JSON ------------------------------------------------------------------------------------------------


def test_json_lines_are_attempts(log: Any) -> None:
    path = log(line(), line("2026-01-01T00:00:01.5Z", outcome="success", username=" Anna "))
    assert told(read(path)) == [
        ("2026-01-01T00:00:00Z", "failure", "192.0.2.1", "anna"),
        ("2026-01-01T00:00:01.5Z", "success", "192.0.2.1", "anna"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01 00:00:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:00:00.25+0200", "2026-01-01T00:00:00.25Z"),
        ("2025-12-31T18:30:00,000001-05:30", "2026-01-01T00:00:00.000001Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z"),
        ("2026-01-01T00:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_times_are_iso_8601_with_any_zone_and_any_decimals(log: Any, text: str, expected: str) -> None:
    # Twice: the second time its parts are known.
    assert [each[0] for each in told(read(log(line(text), line(text))))] == [expected, expected]


def test_a_time_without_a_zone_is_of_the_zone_that_is_given(log: Any) -> None:
    how = reading(times=Times(ZoneInfo("Europe/Berlin")))
    path = log(line("2026-01-01T01:00:00"), line("2026-07-01T02:00:00"), line("2026-07-01T02:00:00Z"))
    assert [each[0] for each in told(read(path, how))] == [
        "2026-01-01T00:00:00Z",
        "2026-07-01T00:00:00Z",
        "2026-07-01T02:00:00Z",
    ]


def test_fields_may_be_called_otherwise_and_be_nested(log: Any) -> None:
    how = reading(names={"ts": "@timestamp", "ip": "source.ip", "username": "user.name", "outcome": "event.outcome"})
    event = {
        "@timestamp": "2026-01-01T00:00:00Z",
        "source": {"ip": "2001:db8::1"},
        "user": {"name": "Bert"},
        "event": {"outcome": "failure"},
    }
    assert told(read(log(json.dumps(event)), how)) == [("2026-01-01T00:00:00Z", "failure", "2001:db8::/64", "bert")]


JUNK = [
    "no json",
    "{}",
    "[1, 2]",
    '"text"',
    "17",
    "null",
    "[" * 50_000,
    '{"ts": "2026-01-01T00:00:00Z"',
    line("yesterday"),
    line("2026-13-01T00:00:00Z"),
    line("0001-01-01T00:00:00Z"),
    line("9999-12-31T23:59:59-23:59"),
    line(ip="192.0.2.300"),
    line(ip=["192.0.2.1"]),
    line(outcome="maybe"),
    line(outcome=None),
    line(ip=None, username=None),
    line(ip=None, username=["anna"]),
    line() + " trailing",
    "\x00\x01\x02",
    "9" * 6_000,
    json.dumps({"ts": 5, "ip": 5, "username": 5, "outcome": 5}),
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_is_skipped_and_counted_and_what_stands_around_it_is_read(log: Any, junk: str) -> None:
    how = reading()
    assert len(read(log(line(), junk, line(), junk, line()), how)) == 3
    assert how.notes.skipped_total == 2
    assert [each.line for each in how.notes.skipped] == [2, 4]
    assert all(each.why for each in how.notes.skipped)


def test_an_unknown_address_or_account_is_counted_for_the_other(log: Any) -> None:
    found = told(read(log(line(ip=None), line(ip=""), line(username=None), line(username=""))))
    assert [each[2:] for each in found] == [(None, "anna")] * 2 + [("192.0.2.1", None)] * 2


def test_a_name_of_any_length_stays_bounded_and_different_from_others(log: Any) -> None:
    names = [each[ACCOUNT] or "" for each in read(log(line(username="a" * 9_000), line(username="a" * 9_001)))]
    assert len(set(names)) == 2
    assert all(len(name) <= 254 for name in names)


# -- secguard's own --------------------------------------------------------------------------------------


def event(kind: str, **context: Any) -> str:
    stamp = context.pop("timestamp", "2026-01-01T00:00:00.000Z")
    return json.dumps({"timestamp": stamp, "level": "WARNING", "context": {"event_type": kind, **context}})


def test_of_secguards_own_lines_logins_are_attempts_and_the_others_are_ignored(log: Any) -> None:
    how = reading()
    path = log(
        event("login_failed", email="anna@example.com", ip_address="192.0.2.1"),
        "<13>Jan 1 host app: " + event("login_failed", username="bert", ip_address="192.0.2.2"),
        event("address_blocked", subject="192.0.2.1"),
        event("login_success", username="bert", ip_address="192.0.2.2"),
        '{"other": "line"}',
    )
    assert [each[1:] for each in told(read(path, how))] == [
        ("failure", "192.0.2.1", "anna@example.com"),
        ("failure", "192.0.2.2", "bert"),
        ("success", "192.0.2.2", "bert"),
    ]
    assert (how.notes.ignored, how.notes.skipped_total) == (1, 1)


def test_a_users_two_names_are_one_account_once_he_got_in(log: Any) -> None:
    path = log(
        event("login_failed", email="anna@example.com", ip_address="192.0.2.1"),
        event("login_success", username="anna", email="anna@example.com", ip_address="192.0.2.1"),
        event("login_failed", email="anna@example.com", ip_address="192.0.2.1"),
    )
    found = read(path)
    assert [each[ACCOUNT] for each in found] == ["anna@example.com", "anna", "anna"]
    assert found[1][OTHER_NAME] == "anna@example.com"


# -- CSV -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_by_the_names_of_its_columns(log: Any, delimiter: str) -> None:
    head = delimiter.join(("outcome", "ip", "extra", "ts", "username"))
    rows = [
        delimiter.join(("failure", "192.0.2.1", "", "2026-01-01T00:00:00Z", '"an""na"')),
        delimiter.join(("success", "192.0.2.2", "x", "2026-01-01T00:00:01Z", "bert")),
        "short",
    ]
    how = reading()
    assert [each[1:] for each in told(read(log(head, *rows), how))] == [
        ("failure", "192.0.2.1", 'an"na'),
        ("success", "192.0.2.2", "bert"),
    ]
    assert how.notes.skipped_total == 1


# -- sshd ------------------------------------------------------------------------------------------------

SSHD = """\
Dec 31 23:59:58 web sshd[100]: Invalid user admin from 192.0.2.1
Dec 31 23:59:58 web sshd[100]: input_userauth_request: invalid user admin [preauth]
Dec 31 23:59:59 web sshd[100]: Failed password for invalid user admin from 192.0.2.1 port 4711 ssh2
Dec 31 23:59:59 web sshd[100]: Connection closed by 192.0.2.1 [preauth]
Jan  1 00:00:01 web sshd[101]: Invalid user guest from 192.0.2.2 port 4712
Jan  1 00:00:02 web sshd[101]: Received disconnect from 192.0.2.2: 11: Bye Bye [preauth]
Jan  1 00:00:03 web sshd[102]: message repeated 3 times: [ Failed password for root from 192.0.2.3 port 22 ssh2]
Jan  1 00:00:04 web CRON[103]: pam_unix(cron:session): session opened for user root by (uid=0)
Jan  1 00:00:05 web sshd-session[104]: Accepted publickey for anna from 2001:db8::5 port 22 ssh2: ED25519 SHA256:abc
Jan  1 00:00:06 web sshd[105]: Failed publickey for anna from 192.0.2.4 port 22 ssh2: RSA SHA256:abc
Jan  1 00:00:07 web sshd[106]: Failed password for x from 203.0.113.9 port 1 ssh2 from 192.0.2.6 port 22 ssh2
Jan  1 00:00:08 web last message repeated 2 times
Jan  1 00:00:0"""


def test_sshd_is_read_across_new_year_and_each_guess_counts_once(log: Any) -> None:
    how = reading(year=2025)
    assert told(read(log(*SSHD.splitlines()), how)) == [
        ("2025-12-31T23:59:59Z", "failure", "192.0.2.1", "admin"),
        ("2026-01-01T00:00:01Z", "failure", "192.0.2.2", "guest"),
        *[("2026-01-01T00:00:03Z", "failure", "192.0.2.3", "root")] * 3,
        ("2026-01-01T00:00:05Z", "success", "2001:db8::/64", "anna"),
        ("2026-01-01T00:00:07Z", "failure", "192.0.2.6", "x from 203.0.113.9 port 1 ssh2"),
        *[("2026-01-01T00:00:08Z", "failure", "192.0.2.6", "x from 203.0.113.9 port 1 ssh2")] * 2,
    ]
    assert [each.text for each in how.notes.skipped] == ["Jan  1 00:00:0"]


def test_sshd_with_iso_times_needs_no_year(log: Any) -> None:
    path = log("2026-11-30T23:27:20.5+01:00 web sshd[1]: Failed password for root from 192.0.2.1 port 2 ssh2")
    assert told(read(path)) == [("2026-11-30T22:27:20.5Z", "failure", "192.0.2.1", "root")]


def test_the_year_of_syslog_is_the_latest_that_is_no_later_than_the_file(log: Any) -> None:
    path = log("Mar 10 06:55:48 web sshd[1]: Failed password for root from 192.0.2.1 port 2 ssh2")
    for modified, year in ((datetime(2024, 3, 11), "2024"), (datetime(2024, 3, 1), "2023")):
        stamp = modified.replace(tzinfo=timezone.utc).timestamp()
        os.utime(path, (stamp, stamp))
        assert told(read(path))[0][0] == f"{year}-03-10T06:55:48Z"


# -- access logs -------------------------------------------------------------------------------------------


def request(status: int, what: str = "POST /login/ HTTP/1.1", user: str = "-") -> str:
    return f'192.0.2.1 - {user} [30/Nov/2026:23:27:20 +0100] "{what}" {status} 512 "-" "agent \\"x\\""'


def test_posts_to_the_login_path_are_attempts(log: Any) -> None:
    how = reading(login_paths=frozenset(("/login",)))
    path = log(
        request(200),
        request(403),
        request(302),
        request(500),
        request(302, "POST /login?next=/ HTTP/2.0", "Basic User"),
        request(200, "GET /login/ HTTP/1.1"),
        request(200, "POST /other/ HTTP/1.1"),
        request(400, "\\x16\\x03\\x01"),
        "junk",
    )
    found = told(read(path, how))
    assert found == [
        ("2026-11-30T22:27:20Z", "failure", "192.0.2.1", None),
        ("2026-11-30T22:27:20Z", "failure", "192.0.2.1", None),
        ("2026-11-30T22:27:20Z", "success", "192.0.2.1", None),
        ("2026-11-30T22:27:20Z", "success", "192.0.2.1", "basic user"),
    ]
    assert (how.notes.ignored, how.notes.skipped_total) == (4, 1)


def test_which_answers_are_failures_can_be_said(log: Any) -> None:
    how = reading(login_paths=frozenset(("/login",)), failure_statuses=frozenset((400, 401)))
    assert [each[1] for each in told(read(log(request(200), request(400)), how))] == ["success", "failure"]


# -- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_known_by_their_beginning(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "log"
    path.write_bytes(compress(f"{line()}\n{line()}\n".encode()))
    assert len(read(path)) == 2


def test_the_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(line().encode()))))
    assert len(read(Path("-"))) == 1


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(f"{line()}\n".encode() * 100_000)[:-40])
    with pytest.raises(UnreadableError, match=r"log\.gz cannot be read beyond line"):
        read(path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableError, match=f"{name} cannot be read"):
        read(tmp_path / name)


def test_what_no_format_knows_is_an_error(log: Any) -> None:
    with pytest.raises(UnreadableError, match="--format"):
        read(log("something", "else"))


def test_an_empty_file_holds_no_attempts(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert read(tmp_path / "empty") == []


def test_lines_end_as_windows_ends_them_and_the_last_may_not_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xef\xbb\xbf" + f"{line()}\r\n{line()}\r\n{line()}".encode())
    assert len(read(path)) == 3


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(f"{line()}\n".encode() + b"x" * 5_000_000 + f"\n{line()}\n".encode())
    how = reading()
    assert len(read(path, how)) == 2
    assert how.notes.skipped_total == 1


# -- order -------------------------------------------------------------------------------------------------


def test_several_logs_are_one_in_the_order_of_their_times(log: Any) -> None:
    how = reading()
    names = ("one", "two")
    log(line("2026-01-01T00:00:00Z"), line("2026-01-01T00:00:09Z"), name="one")
    path = log(line("2026-01-01T00:00:05Z"), line("2026-01-01T00:00:09Z", username="bert"), name="two")
    logs = [attempts_of(str(path.parent / name), how, "auto", lambda lines, share: None) for name in names]
    found = [(each[AT] // 1_000_000 % 60, each[ACCOUNT]) for batch in merged(logs) for each in batch]
    assert found == [(0, "anna"), (5, "anna"), (9, "anna"), (9, "bert")]


def numbered(number: int, order: int = 0) -> Attempt:
    return (None, None, str(order), None, None, number, True, None, None)


def test_small_disorder_is_put_right_and_the_order_of_equals_kept() -> None:
    given = [numbered(at // 3 * 3 + (7 * at) % 3, at) for at in range(3 * SLACK)]
    found = [each for batch in in_order([given[at : at + 999] for at in range(0, len(given), 999)]) for each in batch]
    assert found == sorted(given, key=lambda each: each[AT])


def test_a_line_from_the_future_does_not_make_all_others_late() -> None:
    given = [numbered(10**15), *(numbered(at) for at in range(3 * SLACK))]
    found = [each[AT] for batch in in_order([given]) for each in batch]
    assert found == [*range(3 * SLACK), 10**15]
