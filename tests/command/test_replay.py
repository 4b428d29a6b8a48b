"""``manage.py secguard replay``: what is printed, what is wrong input, and that nothing live is touched."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard.management.console import Progress
from secguard.pipeline import get_replica, get_store
from tests.command.running import as_json, rows_of, secguard
from tests.replay import sample


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.write(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_the_json_has_the_numbers_and_the_threats_by_time() -> None:
    found = as_json("replay", "logins.jsonl")
    assert {name: found[name] for name in ("events", "failures", "successes", "skipped")} == {
        "events": 64,
        "failures": 58,
        "successes": 6,
        "skipped": 1,
    }
    assert [each["opened_at"] for each in found["threats"]] == sorted(each["opened_at"] for each in found["threats"])
    assert (
        found["threats"][0].items()
        >= {
            "rule": "brute_force",
            "subject": "203.0.113.7",
            "opened_at": "2026-11-30T02:00:12Z",
            "closed_at": "2026-11-30T02:16:57Z",
            "peak": 40,
        }.items()
    )


def test_the_successes_that_would_have_been_refused_are_named() -> None:
    found = as_json("replay", "logins.jsonl")
    assert found["refused"] == {"failures": 36, "successes": 6}
    assert [each["username"] for each in found["refused_successes"]] == list(sample.STAFF)


def test_rules_can_be_changed_and_switched_off() -> None:
    found = as_json("replay", "logins.jsonl", "--rule", "brute_force.threshold=8", "--rule", "distributed_attack=off")
    assert {each["rule"] for each in found["threats"]} == {"brute_force", "account_enumeration", "password_spraying"}
    assert found["refused"]["successes"] == 0


def test_a_comparison_sees_the_rules_in_force_the_defaults_or_a_second_set() -> None:
    with override_settings(SECGUARD={"RULES": {"brute_force": {"threshold": 30}}}):
        changed = ("--rule", "brute_force.threshold=8")
        in_force = as_json("replay", *changed, "--compare", "logins.jsonl")["compared"]
        defaults = as_json("replay", "logins.jsonl", *changed, "--compare", "defaults")["compared"]
        second = as_json("replay", "logins.jsonl", "--compare", "brute_force.window=3")["compared"]
    thresholds = [next(rule["threshold"] for rule in each["rules"]) for each in (in_force, defaults, second)]
    assert thresholds == [30, 5, 30]
    assert [each["refused"]["successes"] for each in (in_force, defaults, second)] == [0, 6, 0]


def test_a_sweep_suggests_the_lowest_threshold_that_refuses_no_success() -> None:
    (sweep,) = as_json("replay", "logins.jsonl", "--sweep", "brute_force")["sweeps"]
    assert sweep["suggested"] == 8
    steps = sweep["steps"]
    assert [step["threshold"] for step in steps] == sorted(step["threshold"] for step in steps)
    assert [step["threshold"] for step in steps if step["is_now"]] == [5]
    refused = [step["refused_failures"] for step in steps]
    assert refused == sorted(refused, reverse=True)


def test_skipped_lines_are_shown_if_asked_for() -> None:
    assert "# rotated" not in secguard("replay", "logins.jsonl")
    assert "logins.jsonl:65: # rotated: no JSON" in secguard("replay", "logins.jsonl", "--show-skipped")


def test_what_an_attacker_typed_cannot_command_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2Jroot\n\u202e"
    lines = [
        json.dumps({"ts": f"2026-01-01T00:00:{at:02d}Z", "ip": "192.0.2.1", "username": hostile, "outcome": "failure"})
        for at in range(25)
    ]
    (tmp_path / "hostile.jsonl").write_text("\n".join([*lines, "junk \x1b[2J"]))
    written = secguard("replay", "hostile.jsonl", "--show-skipped")
    assert "account_failures" in written
    assert "\x1b" not in written
    assert "\u202e" not in written


def test_tables_are_cut_and_say_so() -> None:
    written = secguard("replay", "logins.jsonl", "--limit", "2")
    threats = written.partition("Threats\n")[2].partition("\n\n")[0]
    assert len(threats.splitlines()) == 4
    assert threats.endswith("and 9 more: --limit")


def test_several_files_are_one_log(tmp_path: Path) -> None:
    lines = sample.json_lines()
    (tmp_path / "even.jsonl").write_text("\n".join(lines[::2]))
    (tmp_path / "odd.jsonl").write_text("\n".join(lines[1::2]))
    assert as_json("replay", "odd.jsonl", "even.jsonl")["threats"] == as_json("replay", "logins.jsonl")["threats"]


def test_access_logs_go_by_the_login_url_unless_a_path_is_given() -> None:
    with override_settings(LOGIN_URL="/accounts/login/"):
        assert as_json("replay", "access.log")["events"] == 64
    with override_settings(LOGIN_URL="/elsewhere/"):
        assert as_json("replay", "access.log")["events"] == 0
        assert as_json("replay", "access.log", "--login-path", "/accounts/login")["events"] == 64
        found = as_json("replay", "access.log", "--login-path", "/accounts/login/", "--failure-status", "302,400")
        assert (found["failures"], found["successes"]) == (6, 58)


@pytest.mark.parametrize(
    "given", [("--map", "ts=time", "--map", "outcome=how"), ("--map", "time=ts,how=outcome")], ids=["ours", "theirs"]
)
def test_fields_of_other_names_are_mapped(tmp_path: Path, given: tuple[str, ...]) -> None:
    text = "\n".join(sample.json_lines()).replace('"ts"', '"time"').replace('"outcome"', '"how"')
    (tmp_path / "other.jsonl").write_text(text)
    assert as_json("replay", "other.jsonl", *given)["events"] == 64


def test_nothing_live_is_touched(django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0):
        secguard("replay", "logins.jsonl")
    assert len(get_replica()) == 0
    assert len(get_store().primary) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give a FILE"),
        (("missing.log",), r"missing\.log cannot be read: No such file or directory"),
        (("logins.jsonl", "--rule", "brute_force.threshold=many"), "--rule: rule 'brute_force': threshold is 'many'"),
        (("logins.jsonl", "--rule", "brute_force.threshold=0"), "--rule: rule 'brute_force': threshold is 0"),
        (("logins.jsonl", "--rule", "brute_force.window=soon"), "--rule: rule 'brute_force': window is 'soon'"),
        (("logins.jsonl", "--rule", "brute_force.treshold=3"), "unknown field 'treshold'.* 'threshold'"),
        (("logins.jsonl", "--rule", "brute_farce=off"), "'brute_farce' cannot be switched off.*'brute_force'"),
        (("logins.jsonl", "--rule", "brute_force"), "NAME.FIELD=VALUE"),
        (("logins.jsonl", "--rule", "brute_force=3"), "off or on"),
        (("logins.jsonl", "--compare", "brute_force.threshold=x"), "--compare: rule 'brute_force'"),
        (("logins.jsonl", "--sweep", "brute_farce"), "--sweep: there is no rule 'brute_farce'"),
        (("logins.jsonl", "--sweep", "brute_force=3-x"), "'3-x' is no threshold"),
        (("logins.jsonl", "--sweep", "brute_force=5-900"), "at most 40"),
        (("logins.jsonl", "--map", "when=time"), "--map 'when=time'"),
        (("logins.jsonl", "--timezone", "Mars/Base"), "no time zone"),
        (("access.log", "--failure-status", "4xx"), "no list of statuses"),
        (("db:axes",), "no table AccessFailureLog of the app 'axes'"),
    ],
)
def test_wrong_input_is_a_sentence_that_names_it(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        secguard("replay", *arguments)


def test_a_bar_shows_how_far_it_is_where_somebody_watches() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with Progress("lines read", terminal) as progress:
        progress(5_000, 0.25)
    assert terminal.getvalue() == "\rlines read: 5,000 [#####...............]  25%\r\x1b[K"


def test_the_table_of_rules_leaves_out_what_no_log_tells() -> None:
    written = secguard("replay", "logins.jsonl")
    rules = rows_of(written.partition("Rules\n")[2], "rule")
    assert "token_guessing" not in [row["rule"] for row in rules]
    assert "no log of attempts tells: second_factor_guessing, token_guessing" in written
