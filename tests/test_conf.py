"""settings.SECGUARD: every key, what it takes, and what is said of what it does not take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from secguard import conf
from secguard.alert_options import parse_alerts
from secguard.conf import KEYS, PRESETS, Settings, TrustedProxies, get_settings, parse, until_settings_change
from secguard.detection import DEFAULT_RULES, Action, Rule
from secguard.detection.rule import SUBJECTS
from secguard.exceptions import InvalidSetting, SecguardError
from secguard.logging import SecurityEventLogger
from secguard.testing import capture_events

if TYPE_CHECKING:
    from tests.conftest import RunPython

DAY = 86_400
NAN, INFINITY = float("nan"), float("inf")


def settings_of(**raw: Any) -> Settings:
    settings, problems = parse(raw, {})
    assert not problems
    assert settings is not None
    return settings


def problem_of(key: str, value: object) -> InvalidSetting:
    settings, problems = parse({key: value}, {})
    assert settings is None
    (problem,) = problems
    return problem


def answer(request: object, refusal: object) -> None:
    """A callable of the project's own."""


async def awaited(*given: object) -> None:
    """One that would have to be awaited."""


class Asked:
    """An object that can be called."""

    def __call__(self, *given: object) -> bool:
        return True


class Awaited:
    """An object whose calls would have to be awaited."""

    async def __call__(self, *given: object) -> bool:
        return True


HERE, NOT_CALLABLE = __name__, "a text"
EMPTY: list[Any] = []


# -- defaults --------------------------------------------------------------------------------------------------


def test_every_key_is_optional() -> None:
    settings = settings_of()
    assert (settings.mode, settings.fail_mode, settings.cache_alias) == ("enforce", "local", "default")
    ladder: Any = settings.block_duration
    assert (ladder, settings.block_jitter, settings.offence_memory) == ((900, 3_600, DAY, 7 * DAY), 0.1, 30 * DAY)
    assert (settings.block_status, settings.max_active_blocks) == (403, 100_000)
    assert (settings.network_action_ipv4, settings.network_action_ipv6) == ("propose", "block")
    assert settings.network_threshold == 8
    assert (settings.exempt_when, settings.subjects, settings.trap_paths) == (None, {}, ())
    assert (settings.preset, settings.account_lockout, settings.lock_duration) == ("default", "off", 1_800)
    assert (settings.device_cookie_name, settings.device_cookie_age) == ("secguard_device", 180 * DAY)
    assert (settings.unlock_base_url, settings.unlock_mails_per_hour) == (None, 3)
    assert (settings.max_consecutive_failures, settings.on_max_consecutive_failures) == (None, None)
    assert (settings.sync_interval, settings.store_timeout, settings.reserve_wait) == (1, 0.05, 10)
    assert (settings.redis_url, settings.reserve_max_waiters, settings.blocked_response) == (None, None, None)
    assert (settings.trusted_proxies, settings.client_ip_header) == (TrustedProxies(), "X-Forwarded-For")
    assert (settings.allowlist, settings.exempt_paths, settings.rules) == ((), (), DEFAULT_RULES)
    assert (settings.request_id_header, settings.unknown_account_names) == ("X-Request-ID", "plain")


def test_without_the_setting_everything_is_at_its_default(settings: Any) -> None:
    assert not hasattr(settings, "SECGUARD")
    assert get_settings() == settings_of()


@pytest.mark.parametrize("key", KEYS)
def test_the_default_of_a_key_may_be_written_down(key: str) -> None:
    assert settings_of(**{key: KEYS[key].default}) == settings_of()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_says_what_it_is_for(key: str) -> None:
    assert len(KEYS[key].summary) > 10


# -- good values -----------------------------------------------------------------------------------------------

GOOD: list[tuple[str, Any, Any]] = [
    *[("MODE", mode, mode) for mode in ("enforce", "monitor", "off")],
    ("CACHE_ALIAS", "counters", "counters"),
    *[("REDIS_URL", url, url) for url in ("redis://h:6379/1", "rediss://:pw@h", "unix:///run/redis.sock", None)],
    ("TRUSTED_PROXIES", ["10.0.0.0/8", "::1"], TrustedProxies(("10.0.0.0/8", "::1/128"))),
    ("TRUSTED_PROXIES", ("192.0.2.1",), TrustedProxies(("192.0.2.1/32",))),
    ("TRUSTED_PROXIES", ["unix"], TrustedProxies(("unix",))),
    ("TRUSTED_PROXIES", [], TrustedProxies()),
    ("TRUSTED_PROXIES", "none", TrustedProxies(are_none=True)),
    ("TRUSTED_PROXIES", {"hops": 2, "peers": ["10.0.0.0/8"]}, TrustedProxies(("10.0.0.0/8",), 2)),
    ("CLIENT_IP_HEADER", "CF-Connecting-IP", "CF-Connecting-IP"),
    ("ALLOWLIST", ["192.0.2.7", " 2001:db8::/32 "], ("192.0.2.7/32", "2001:db8::/32")),
    ("ALLOWLIST", {"::ffff:192.0.2.0/120"}, ("192.0.2.0/24",)),
    ("ALLOWLIST", [ip_network("192.0.2.0/24")], ("192.0.2.0/24",)),
    ("ALLOWLIST", ["10.0.0.0/8", "2001::/16"], ("10.0.0.0/8", "2001::/16")),
    ("EXEMPT_PATHS", ["/healthz", "/static/"], ("/healthz", "/static/")),
    ("EXEMPT_WHEN", None, None),
    ("EXEMPT_WHEN", answer, answer),
    ("EXEMPT_WHEN", f"{HERE}.answer", answer),
    ("SUBJECTS", {"client": answer, "door": f"{HERE}.answer"}, {"client": answer, "door": answer}),
    ("TRAP_PATHS", ["/wp-login.php", "/.git", "*.php", "/cgi-bin/"], ("/wp-login.php", "/.git", "*.php", "/cgi-bin/")),
    ("BLOCK_DURATION", 60, (60,)),
    ("BLOCK_DURATION", 1.5, (1.5,)),
    ("BLOCK_DURATION", timedelta(hours=1), (3600,)),
    ("BLOCK_DURATION", 3650 * DAY, (3650 * DAY,)),
    ("BLOCK_DURATION", [60], (60,)),
    ("BLOCK_DURATION", [60, timedelta(hours=1), 1.5], (60, 3600, 1.5)),
    ("BLOCK_DURATION", answer, answer),
    ("BLOCK_DURATION", f"{HERE}.answer", answer),
    *[("BLOCK_JITTER", share, share) for share in (0, 0.25, 0.5)],
    ("OFFENCE_MEMORY", timedelta(days=90), 90 * DAY),
    ("NETWORK_THRESHOLD", 2, 2),
    *[("NETWORK_ACTION_IPV4", action, action) for action in ("off", "propose", "block")],
    *[("NETWORK_ACTION_IPV6", action, action) for action in ("off", "propose", "block")],
    ("BLOCK_STATUS", 429, 429),
    ("BLOCKED_RESPONSE", "shop.views.refused", "shop.views.refused"),
    ("BLOCKED_RESPONSE", answer, answer),
    ("SYNC_INTERVAL", 0, 0),
    ("SYNC_INTERVAL", timedelta(milliseconds=250), 0.25),
    *[("FAIL_MODE", mode, mode) for mode in ("local", "open", "closed")],
    ("STORE_TIMEOUT", 0.001, 0.001),
    ("STORE_TIMEOUT", timedelta(milliseconds=50), 0.05),
    ("RESERVE_WAIT", 0, 0),
    ("RESERVE_WAIT", timedelta(minutes=1), 60),
    ("RESERVE_MAX_WAITERS", 0, 0),
    ("RESERVE_MAX_WAITERS", None, None),
    ("MAX_ACTIVE_BLOCKS", 1, 1),
    *[("PRESET", preset, preset) for preset in ("default", "strict", "pci", "nist")],
    *[("ACCOUNT_LOCKOUT", lockout, lockout) for lockout in ("off", "unknown_devices", "all")],
    ("LOCK_DURATION", 60, 60),
    ("LOCK_DURATION", timedelta(hours=1), 3600),
    ("DEVICE_COOKIE_NAME", "__Host-device", "__Host-device"),
    ("DEVICE_COOKIE_AGE", timedelta(days=30), 30 * DAY),
    ("UNLOCK_BASE_URL", "https://example.com/", "https://example.com"),
    ("UNLOCK_BASE_URL", "http://localhost:8000", "http://localhost:8000"),
    ("UNLOCK_BASE_URL", None, None),
    *[("UNLOCK_MAILS_PER_HOUR", number, number) for number in (1, 60)],
    *[("MAX_CONSECUTIVE_FAILURES", number, number) for number in (1, 100, None)],
    ("ON_MAX_CONSECUTIVE_FAILURES", answer, answer),
    ("ON_MAX_CONSECUTIVE_FAILURES", f"{HERE}.answer", answer),
    ("ON_MAX_CONSECUTIVE_FAILURES", None, None),
    ("HMAC_KEY", "k" * 16, b"k" * 16),
    ("HMAC_KEY", b"k" * 64, b"k" * 64),
    ("HMAC_KEY", "\udcff" * 8, b"\xed\xb3\xbf" * 8),
    ("LOGGER_CLASS", SecurityEventLogger, SecurityEventLogger),
    ("REQUEST_ID_HEADER", "X-Amzn-Trace-Id", "X-Amzn-Trace-Id"),
    ("UNKNOWN_ACCOUNT_NAMES", "digest", "digest"),
    ("MAX_LINES_PER_MINUTE", 1, 1),
    ("PERSIST_EVENTS", "all", "all"),
    ("RETENTION_DAYS", 365, 365),
    ("PRIVACY", "hmac", "hmac"),
    ("AUDIT_CHAIN", True, True),
    ("GEOIP_PATH", __file__, __file__),
    ("ALERTS", {"mail": True}, parse_alerts({"mail": True})),
    ("METRICS", "on", "on"),
    ("DISABLED_EVENTS", ["logout", "token_refreshed"], frozenset({"logout", "token_refreshed"})),
    ("DRF_EXCEPTION_HANDLER", "myproject.api.handler", "myproject.api.handler"),
]


@pytest.mark.parametrize(("key", "value", "expected"), GOOD, ids=str)
def test_a_good_value_is_taken(key: str, value: Any, expected: Any) -> None:
    assert getattr(settings_of(**{key: value}), key.lower()) == expected


def test_every_key_has_a_good_value_here() -> None:
    assert {key for key, _, _ in GOOD} | {"RULES"} == set(KEYS)


@pytest.mark.parametrize("key", ["SYNC_INTERVAL", "STORE_TIMEOUT", "RESERVE_WAIT"])
def test_a_duration_may_be_a_timedelta(key: str) -> None:
    assert getattr(settings_of(**{key: timedelta(seconds=2)}), key.lower()) == 2.0


@pytest.mark.parametrize("key", ["EXEMPT_WHEN", "BLOCK_DURATION", "BLOCKED_RESPONSE", "ON_MAX_CONSECUTIVE_FAILURES"])
def test_an_object_that_can_be_called_is_as_good_as_a_function(key: str) -> None:
    assert isinstance(getattr(settings_of(**{key: Asked()}), key.lower()), Asked)
    assert getattr(settings_of(**{key: Asked}), key.lower()) is Asked


# -- bad values: each is named, with the way out ---------------------------------------------------------------

SECONDS_OUT_OF_RANGE = ["5", True, None, [], NAN, INFINITY, -1, timedelta(seconds=-1)]
NO_FUNCTION = [
    *(5, True, [answer], awaited, Awaited(), f"{HERE}.awaited", f"{HERE}.NOT_CALLABLE", f"{HERE}.no_such_function"),
    *("no_such_module.function", "secguard.conf", ".", "a."),
]
BAD: dict[str, list[Any]] = {
    "MODE": ["Enforce", "on", "", None, True, 1, []],
    "CACHE_ALIAS": ["", None, 0, ["default"]],
    "REDIS_URL": ["localhost:6379", "http://h", "", 6379, [], "REDIS"],
    "TRUSTED_PROXIES": [
        *("10.0.0.0/8", "None", b"10.0.0.0/8", None, 2, True, ["10.0.0.0/33"], ["10.0.0.1/8"], ["0.0.0.0/0"], ["::/0"]),
        *(["0.0.0.0/1"], ["proxy.example"], [None], [""], ["10.0.0.0/255.0.0.0"], {}, {"hops": 2}),
        *[{"hops": hops, "peers": ["10.0.0.0/8"]} for hops in (0, -1, 21, True, "2", None, 1.5)],
        *[{"hops": 2, "peers": peers} for peers in ([], "10.0.0.0/8", ["0.0.0.0/0"], None)],
        {"hops": 2, "peers": ["10.0.0.0/8"], "more": 1},
    ],
    "CLIENT_IP_HEADER": ["", "X_Forwarded_For", "HTTP_X_FORWARDED_FOR", None, 1, "X-Forwarded-För", "-", "a b", "a:b"],
    "RULES": [
        *(None, [], "brute_force", {"brute_force": 5}, {"no_such_rule": None}, {"new": {"threshold": 3}}),
        *[{"brute_force": {"threshold": bad}} for bad in (0, -1, "5", True, 5.0, None, 1001, NAN)],
        *[{"brute_force": {"window": bad}} for bad in (0, -1, "15m", True, None, NAN, INFINITY, 7 * DAY + 1)],
        *[
            {"brute_force": {"events": bad}}
            for bad in ("", [], "No Type", None, 5, [5], "attempt_refused", ["degraded"])
        ],
        *[{"brute_force": {"subject": bad}} for bad in ("ip", None, EMPTY, "", "address ")],
        *[{"brute_force": {"block_duration": bad}} for bad in (0, -5, "1h", True, INFINITY, 3651 * DAY)],
        *[{"brute_force": {"action": bad}} for bad in ("ban", None, True, EMPTY)],
        *[{"brute_force": {"severity": bad}} for bad in ("fatal", None, 50)],
        *[{"brute_force": {"distinct": bad}} for bad in ("", "a b", "address", 5)],
        {"brute_force": {"treshold": 3}},
        {"account_failures": {"action": "block"}},
        {"account_failures": {"action": "lock"}},
        {"brute_force": {"action": "lock"}},
        {"trap": {"action": "refuse"}},
        *[{"brute_force": {"block_duration": bad}} for bad in ([], [0], ["1h"], awaited, f"{HERE}.answer")],
        *[
            {bad: {"events": "login_failed", "subject": "address", "threshold": 3, "window": 60}}
            for bad in ("a b", "", 5)
        ],
    ],
    "ALLOWLIST": [
        "192.0.2.1",
        None,
        ["192.0.2.300"],
        ["0.0.0.0/0"],
        ["::/0"],
        ["unix"],
        [7],
        ["192.0.2.1/24"],
        {"a": 1},
    ],
    "EXEMPT_PATHS": ["/healthz", None, ["healthz"], ["/"], ["//"], [""], [1], {"/a": 1}],
    "EXEMPT_WHEN": [*NO_FUNCTION, "", "exempt"],
    "SUBJECTS": [
        *(None, [], "client", [("client", answer)], {"": answer}, {"a b": answer}, {5: answer}, {None: answer}),
        *({"x" * 65: answer}, {"address": answer}, {"device": answer}),
        *[{"client": given} for given in (*NO_FUNCTION, None, "", "client")],
    ],
    "TRAP_PATHS": [
        *("/wp-login.php", b"/wp-login.php", None, 5, {"/wp-login.php": 1}),
        *[[bad] for bad in ("", "/", "//", "*", "**", "*/", "wp-login.php", ".git", "/a*b", "/a*", "**.php", 5, None)],
        *(["/ "], ["/a?b"]),
    ],
    "BLOCK_DURATION": [
        *[bad for bad in SECONDS_OUT_OF_RANGE if bad != []],
        *(0, 0.5, 3650 * DAY + 1, "1.5", "1h", [], (), [0], [900, 0], [900, None], [900, "3600"], [900, True], [[900]]),
        *([timedelta(0)], {900}, {"first": 900}, *NO_FUNCTION[1:]),
    ],
    "BLOCK_JITTER": [-0.1, 0.51, 1, NAN, INFINITY, "0.1", True, None, [], timedelta(seconds=0)],
    "OFFENCE_MEMORY": [*SECONDS_OUT_OF_RANGE, 0, 59, 3650 * DAY + 1],
    "NETWORK_THRESHOLD": [0, 1, 257, -8, "8", True, None, 8.0, []],
    "NETWORK_ACTION_IPV4": ["on", "log", "", None, True, 1, [], "Block"],
    "NETWORK_ACTION_IPV6": ["on", "log", "", None, True, 1, [], "Block"],
    "BLOCK_STATUS": [200, 404, "403", True, None, 0, -403],
    "BLOCKED_RESPONSE": ["refused", 5, True, [], "", awaited, Awaited()],
    "SYNC_INTERVAL": [*SECONDS_OUT_OF_RANGE, 3601],
    "FAIL_MODE": [
        "fail",
        None,
        True,
        "",
        "OPEN",
        {"/x/": "ajar"},
        {"x/": "open"},
        {"/": "open"},
        {"default": 1},
        {1: "open"},
    ],
    "STORE_TIMEOUT": [*SECONDS_OUT_OF_RANGE, 0, 61],
    "RESERVE_WAIT": [*SECONDS_OUT_OF_RANGE, 61],
    "RESERVE_MAX_WAITERS": [-1, "16", True, 1.5, 100_001, []],
    "MAX_ACTIVE_BLOCKS": [0, -1, "5", True, None, 1.0, 10_000_001],
    "PRESET": ["lax", "Strict", "", None, True, 1, [], {"strict": 1}],
    "ACCOUNT_LOCKOUT": ["on", "unknown", "", None, True, False, 1, []],
    "LOCK_DURATION": [*SECONDS_OUT_OF_RANGE, 0, 59, 3650 * DAY + 1, [1800]],
    "DEVICE_COOKIE_NAME": ["", "a b", "a=b", "a;b", "gerät", None, 5, True, [], "-_", "a\n"],
    "DEVICE_COOKIE_AGE": [*SECONDS_OUT_OF_RANGE, 0, 3_599, 3650 * DAY + 1],
    "UNLOCK_BASE_URL": [
        "https://example.com\r\nx.example",
        "https://example.com/ a",
        "https://",
        "https://example.com/?next=x",
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "https://[",
        "https://[2001:db8::1",
        "https://example.com:port",
        "https://example.com:65536",
        "https://\u2100.example",
        5,
        True,
        [],
        b"https://a.b",
    ],
    "UNLOCK_MAILS_PER_HOUR": [0, 61, -1, "3", True, None, 1.5],
    "MAX_CONSECUTIVE_FAILURES": [0, 101, -1, "100", True, 10.0, []],
    "ON_MAX_CONSECUTIVE_FAILURES": [*NO_FUNCTION, "", "lock"],
    "HMAC_KEY": ["short", b"short", 5, True, ["k" * 16], ""],
    "LOGGER_CLASS": [None, "Strict", 5, True, [], ""],
    "REQUEST_ID_HEADER": ["", "X Request", None, 5, "X_Request_ID"],
    "UNKNOWN_ACCOUNT_NAMES": ["hash", None, True, ""],
    "METRICS": ["yes", None, True, ""],
    "MAX_LINES_PER_MINUTE": [0, -1, "5", True, None, 1.0, 1_000_001],
    "PERSIST_EVENTS": ["some", None, True, ""],
    "RETENTION_DAYS": [0, -1, "180", True, None, 36_501],
    "PRIVACY": ["digest", None, True, ""],
    "AUDIT_CHAIN": [1, 0, "True", None],
    "GEOIP_PATH": ["", "/no/such/file.mmdb", 5, "/"],
    "ALERTS": [None, True, [], {"email": True}, {"mail": "anna"}, {"webhooks": ["file:///etc/passwd"]}],
    "DISABLED_EVENTS": ["logout", None, 5, ["login_failed"], ["no_such_event"], ["Log Out"], [None], [["logout"]]],
    "DRF_EXCEPTION_HANDLER": ["handler", 5, True, ""],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values], ids=str)
def test_a_bad_value_is_named_with_its_key_and_the_way_out(key: str, value: Any) -> None:
    problem = problem_of(key, value)
    assert problem.setting == key
    assert problem.problem
    assert len(problem.hint) > 10
    assert str(problem).startswith(f"SECGUARD['{key}'] ")
    assert isinstance(problem, (SecguardError, ValueError))


def test_every_key_has_a_bad_value_here() -> None:
    assert set(BAD) == set(KEYS)


@pytest.mark.parametrize(
    ("written", "meant"), [("MODES", "MODE"), ("mode", "MODE"), ("TRUSTED_PROXY", "TRUSTED_PROXIES"), ("RULE", "RULES")]
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(written: str, meant: str) -> None:
    problem = problem_of(written, "x")
    assert problem.setting == written
    assert problem.hint == f"Did you mean '{meant}'?"


@pytest.mark.parametrize("written", ["COLOUR", 5, None, ("a", "b"), "x" * 500])
def test_an_unknown_key_like_no_other_gets_the_list_of_keys(written: Any) -> None:
    problem = problem_of(written, "x")
    assert all(key in problem.hint for key in KEYS)
    assert len(problem.setting) <= 80


@pytest.mark.parametrize("raw", [None, [], "monitor", 5])
def test_the_setting_must_be_a_dict(raw: object) -> None:
    settings, (problem,) = parse(raw, {})
    assert settings is None
    assert "must be a dict" in problem.hint


def test_everything_that_is_wrong_is_named_at_once() -> None:
    _, problems = parse({"MODE": "on", "BLOCK_STATUS": 200, "COLOR": 1, "RULES": {"x": 1}}, {})
    assert {problem.setting for problem in problems} == {"MODE", "BLOCK_STATUS", "COLOR", "RULES"}


def test_a_wrong_rule_is_named_with_its_field() -> None:
    problem = problem_of("RULES", {"brute_force": {"window": 8 * DAY}})
    assert "'brute_force'" in problem.hint
    assert "window" in problem.hint
    assert "7 days" in problem.hint


def test_a_rule_field_that_does_not_exist_is_named_with_the_one_that_was_meant() -> None:
    assert "Did you mean 'threshold'?" in problem_of("RULES", {"brute_force": {"treshold": 3}}).hint


def test_a_header_with_one_address_cannot_be_counted_in_hops() -> None:
    raw = {"TRUSTED_PROXIES": {"hops": 2, "peers": ["10.0.0.0/8"]}, "CLIENT_IP_HEADER": "X-Real-IP"}
    settings, problems = parse(raw, {})
    assert settings is None
    assert [problem.setting for problem in problems] == ["TRUSTED_PROXIES"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SUBJECTS", {"good": answer, "client": 5}, "has for 'client' 5. Give a function, or the dotted path to one."),
        (
            "SUBJECTS",
            {"client": f"{HERE}.gone"},
            f"has for 'client' '{HERE}.gone'. That cannot be imported (ImportError: ",
        ),
        (
            "SUBJECTS",
            {"account": answer},
            "has the name 'account'. Give an identifier of at most 64 characters that is ",
        ),
        ("BLOCK_DURATION", [900, 0], "has the entry 0. Give 1 to 315360000 seconds."),
        ("BLOCK_DURATION", [900, "1h"], "has the entry '1h'. Give seconds as a number, or a timedelta."),
        ("BLOCK_DURATION", "1h", "is '1h'. Give seconds as a number or a timedelta, a list of them"),
        ("EXEMPT_WHEN", f"{HERE}.gone", f"is '{HERE}.gone'. That cannot be imported (ImportError: "),
        ("EXEMPT_WHEN", f"{HERE}.awaited", f"is '{HERE}.awaited'. Give a plain function: nobody awaits"),
        ("TRAP_PATHS", ["/ok", "wp-login.php"], "has the entry 'wp-login.php'. Give a path that starts with '/'"),
    ],
)
def test_what_is_wrong_is_said_of_the_part_that_is_wrong(key: str, value: object, said: str) -> None:
    assert str(problem_of(key, value)).startswith(f"SECGUARD['{key}'] {said}")


def test_a_module_that_fails_when_it_is_imported_is_named_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_exemptions.py").write_text("raise RuntimeError('no such licence')")
    monkeypatch.syspath_prepend(tmp_path)
    problem = problem_of("EXEMPT_WHEN", "broken_exemptions.staff")
    assert "RuntimeError: no such licence" in problem.hint


@pytest.mark.parametrize("key", ["REDIS_URL", "HMAC_KEY"])
def test_no_secret_is_repeated(key: str) -> None:
    secret = "http://:s3cr3t@h" if key == "REDIS_URL" else "s3cr3t"
    assert "s3cr3t" not in str(problem_of(key, secret))


def test_a_long_value_is_cut() -> None:
    assert len(str(problem_of("MODE", "x" * 100_000))) < 500


def nested(depth: int) -> list[Any]:
    """Lists in lists, deeper than ``repr`` goes."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


# Made by name: pytest itself cannot write them.
UNWRITABLE: dict[str, Any] = {"an integer of 5,001 digits": 10**5_000, "lists in lists": nested(10_000)}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_value_that_python_cannot_write_is_named_with_its_key(key: str, name: str) -> None:
    for value in (UNWRITABLE[name], [UNWRITABLE[name]], {"default": UNWRITABLE[name], "/x": UNWRITABLE[name]}):
        assert problem_of(key, value).setting == key


@pytest.mark.parametrize("field", [item.name for item in fields(Rule) if item.init])
@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_field_of_a_rule_that_python_cannot_write_is_named(field: str, name: str) -> None:
    assert field in problem_of("RULES", {"brute_force": {field: UNWRITABLE[name]}}).hint


@pytest.mark.parametrize("raw", [{"RULES": {10**5_000: None}}, {"RULES": {10**5_000: {}}}, {10**5_000: 1}], ids=list)
def test_a_name_that_python_cannot_write_is_shown_by_its_class(raw: dict[Any, Any]) -> None:
    _, (problem,) = parse(raw, {})
    assert "<int>" in str(problem)


def test_settings_that_python_cannot_write_are_shown_by_their_class() -> None:
    _, (problem,) = parse(UNWRITABLE["lists in lists"], {})
    assert problem.problem == "is <list>"


@pytest.mark.parametrize("path", ["secguard.conf.a\nb", "secguard.conf.\x1b[31m", "secguard.conf.\ud800", "a\u2028.b"])
def test_what_an_import_says_stays_on_its_line(path: str) -> None:
    assert str(problem_of("EXEMPT_WHEN", path)).isprintable()


# -- rules -----------------------------------------------------------------------------------------------------


def rules(**overrides: Any) -> dict[str, Rule]:
    return {rule.name: rule for rule in settings_of(RULES=overrides).rules}


def test_a_field_of_a_rule_may_be_changed() -> None:
    changed = rules(brute_force={"threshold": 3, "window": timedelta(minutes=5), "action": "log"})["brute_force"]
    assert (changed.threshold, changed.window, changed.action) == (3, 300, Action.LOG)
    assert changed.subject == "address"


def test_a_rule_may_be_switched_off() -> None:
    assert set(rules(brute_force=None)) == {rule.name for rule in DEFAULT_RULES} - {"brute_force"}


def test_a_rule_may_be_added() -> None:
    own = {"events": ["coupon_guess"], "subject": "user", "threshold": 3, "window": 60}
    assert rules(coupons=own)["coupons"].events == ("coupon_guess",)


def test_a_rule_object_may_replace_one() -> None:
    own = Rule(name="other", events="login_failed", subject="pair", threshold=3, window=60)
    assert rules(brute_force=own)["brute_force"].subject == "pair"


RULE = {"events": "login_failed", "threshold": 3, "window": 60}


def test_a_rule_may_be_over_a_subject_of_ones_own() -> None:
    settings = settings_of(SUBJECTS={"client": answer}, RULES={"clients": {**RULE, "subject": "client"}})
    assert settings.rules[-1].subject == "client"


@pytest.mark.parametrize("subjects", [{}, {"client": answer}])
def test_a_rule_over_a_subject_that_nobody_names_is_refused(subjects: dict[str, Any]) -> None:
    settings, (problem,) = parse({"SUBJECTS": subjects, "RULES": {"own": {**RULE, "subject": "planet"}}}, {})
    assert settings is None
    assert str(problem).startswith(
        "SECGUARD['RULES'] has the rule 'own' over the subject 'planet'. Use one of address, "
    )
    assert "SECGUARD['SUBJECTS']" in problem.hint
    assert all(name in problem.hint for name in (*SUBJECTS, *subjects))


def test_a_rule_that_counts_different_values_of_a_subject_of_ones_own_is_refused() -> None:
    own = {**RULE, "subject": "address", "distinct": "coupon"}
    assert settings_of(RULES={"coupons": own}).rules[-1].distinct == "coupon"
    settings, (problem,) = parse({"SUBJECTS": {"coupon": answer}, "RULES": {"coupons": own}}, {})
    assert settings is None
    assert str(problem).startswith("SECGUARD['RULES'] has the rule 'coupons', which counts distinct 'coupon'")


@pytest.mark.parametrize("name", ["account_failures", "own"])
def test_a_rule_that_locks_without_a_lockout_is_refused(name: str) -> None:
    raw = {"RULES": {name: {**RULE, "subject": "account", "action": "lock"}}}
    settings, (problem,) = parse(raw, {})
    assert settings is None
    assert str(problem).startswith(f"SECGUARD['RULES'] has the rule '{name}' with the action 'lock'. Set SECGUARD['ACC")
    assert settings_of(**raw, ACCOUNT_LOCKOUT="all").rules


# -- rules that settings ask for ---------------------------------------------------------------------------------


def names(**raw: Any) -> list[str]:
    return [rule.name for rule in settings_of(**raw).rules]


def test_traps_are_counted_where_there_are_any() -> None:
    assert "trap" not in names()
    assert "trap" in names(TRAP_PATHS=["/wp-login.php"])
    assert "trap" not in names(TRAP_PATHS=["/wp-login.php"], RULES={"trap": None})


@pytest.mark.parametrize(("lockout", "counted"), [("off", False), ("all", False), ("unknown_devices", True)])
def test_devices_are_counted_where_they_are_told_apart(lockout: str, counted: bool) -> None:
    assert ("device_failures" in names(ACCOUNT_LOCKOUT=lockout)) is counted


def test_a_rule_that_nothing_asks_for_may_be_changed_all_the_same() -> None:
    changes = {"trap": {"threshold": 3}, "device_failures": {"window": 60}}
    assert names(RULES=changes) == names()
    (trap,) = (rule for rule in settings_of(RULES=changes, TRAP_PATHS=["/.env"]).rules if rule.name == "trap")
    assert trap.threshold == 3


def locking(**raw: Any) -> set[str]:
    return {rule.name for rule in settings_of(**raw).rules if rule.action is Action.LOCK}


@pytest.mark.parametrize("lockout", ["unknown_devices", "all"])
def test_with_a_lockout_the_rules_over_accounts_lock(lockout: str) -> None:
    assert locking(ACCOUNT_LOCKOUT="off") == set()
    assert locking(ACCOUNT_LOCKOUT=lockout) == {"account_failures", "distributed_attack"}


@pytest.mark.parametrize(
    "change",
    [
        {"action": "log"},
        {"action": "refuse"},
        {"subject": "address"},
        Rule(name="account_failures", events="login_failed", subject="account", threshold=5, window=60),
        None,
    ],
    ids=str,
)
def test_unless_their_action_or_subject_is_another(change: Any) -> None:
    raw = {"ACCOUNT_LOCKOUT": "all", "RULES": {"account_failures": change}}
    assert locking(**raw) == {"distributed_attack"}


def test_switching_a_rule_on_that_is_on_leaves_it_locking() -> None:
    assert locking(ACCOUNT_LOCKOUT="all", RULES={"account_failures": True}) == {
        "account_failures",
        "distributed_attack",
    }


def test_changing_another_field_leaves_a_rule_locking() -> None:
    raw = {"ACCOUNT_LOCKOUT": "all", "RULES": {"account_failures": {"threshold": 5}}}
    assert locking(**raw) == {"account_failures", "distributed_attack"}


def test_a_rule_of_ones_own_over_accounts_does_what_it_says() -> None:
    own = {"own": {**RULE, "subject": "account"}, "second": {**RULE, "subject": "account", "action": "lock"}}
    assert locking(ACCOUNT_LOCKOUT="all", RULES=own) == {"account_failures", "distributed_attack", "second"}


# -- presets -----------------------------------------------------------------------------------------------------


def changed_by(preset: str) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    given, plain = settings_of(PRESET=preset), settings_of()
    every = [name.lower() for name in KEYS if name not in ("PRESET", "HMAC_KEY")]
    return {name: getattr(given, name) for name in every if getattr(given, name) != getattr(plain, name)}


def rules_changed_by(preset: str) -> dict[str, tuple[int, object, str]]:
    rules = settings_of(PRESET=preset).rules
    return {rule.name: (rule.threshold, rule.window, str(rule.action)) for rule in rules if rule not in DEFAULT_RULES}


def test_the_default_preset_changes_nothing() -> None:
    assert changed_by("default") == {}


def test_the_strict_preset_blocks_sooner_and_longer() -> None:
    changed = changed_by("strict")
    del changed["rules"]
    assert changed == {
        "block_duration": (3_600, DAY, 7 * DAY, 30 * DAY),
        "network_threshold": 4,
        "network_action_ipv4": "block",
        "account_lockout": "unknown_devices",
    }
    assert rules_changed_by("strict") == {
        "brute_force": (5, 3_600, "block"),
        "account_enumeration": (10, 600, "block"),
        "distributed_attack": (10, 1_800, "lock"),
        "account_failures": (20, 1_800, "lock"),
        "device_failures": (10, 1_800, "refuse"),
    }


def test_the_pci_preset_locks_an_account_after_ten_attempts_for_half_an_hour() -> None:
    """PCI DSS 4.0.1, 8.3.4."""
    settings = settings_of(PRESET="pci")
    assert set(changed_by("pci")) == {"account_lockout", "rules"}
    assert (settings.account_lockout, settings.lock_duration) == ("all", 1_800)
    assert rules_changed_by("pci") == {
        "distributed_attack": (10, 1_800, "lock"),
        "account_failures": (10, DAY, "lock"),
    }


def test_the_nist_preset_allows_a_hundred_failures_in_a_row() -> None:
    """NIST SP 800-63B-4, 3.2.2."""
    assert changed_by("nist") == {"max_consecutive_failures": 100}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_nothing_but_settings_with_good_values(preset: str) -> None:
    assert set(PRESETS[preset]) <= set(KEYS)
    assert parse(PRESETS[preset], {})[1] == []


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("BLOCK_DURATION", 60, (60,)),
        ("NETWORK_THRESHOLD", 8, 8),
        ("NETWORK_ACTION_IPV4", "off", "off"),
        ("ACCOUNT_LOCKOUT", "off", "off"),
    ],
)
def test_what_is_said_beats_the_preset(key: str, value: Any, kept: Any) -> None:
    settings = settings_of(PRESET="strict", **{key: value})
    assert getattr(settings, key.lower()) == kept
    other = "network_threshold" if key == "BLOCK_DURATION" else "block_duration"
    assert getattr(settings, other) == getattr(settings_of(PRESET="strict"), other)


def test_without_the_presets_lockout_no_rule_of_it_locks() -> None:
    assert locking(PRESET="pci", ACCOUNT_LOCKOUT="off") == set()


def test_changes_of_rules_are_merged_over_the_presets_field_by_field() -> None:
    raw = {"PRESET": "strict", "RULES": {"brute_force": {"threshold": 3}, "trap": None, "account_enumeration": None}}
    rules = {rule.name: rule for rule in settings_of(**raw).rules}
    assert (rules["brute_force"].threshold, rules["brute_force"].window) == (3, 3_600)
    assert "account_enumeration" not in rules


def test_a_rule_changed_back_is_as_it_was() -> None:
    raw = {"PRESET": "strict", "RULES": {"brute_force": {"window": 900}}}
    assert next(rule for rule in settings_of(**raw).rules if rule.name == "brute_force") == DEFAULT_RULES[0]


def test_an_unknown_preset_is_named_with_those_that_there_are() -> None:
    problem = problem_of("PRESET", "hipaa")
    assert str(problem) == "SECGUARD['PRESET'] is 'hipaa'. Use one of 'default', 'strict', 'pci', 'nist'."


# -- in force --------------------------------------------------------------------------------------------------


def test_settings_in_force_are_read_once() -> None:
    assert get_settings() is get_settings()


@pytest.mark.parametrize("name", ["SECGUARD", "CACHES", "SECRET_KEY"])
def test_a_setting_that_is_overridden_takes_effect_at_once(name: str, settings: Any) -> None:
    before = get_settings()
    values: dict[str, Any] = {
        "SECGUARD": {"MODE": "monitor"},
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        "SECRET_KEY": "another",
    }
    with override_settings(**{name: values[name]}):
        during = get_settings()
    assert during is not before
    assert get_settings() is not during
    assert get_settings() == before


def test_a_setting_that_means_nothing_here_resets_nothing() -> None:
    before = get_settings()
    with override_settings(TIME_ZONE="UTC"):
        assert get_settings() is before


def test_what_rests_on_the_settings_is_built_again_when_they_change() -> None:
    built: list[str] = []

    @until_settings_change
    def derived() -> str:
        built.append(get_settings().mode)
        return built[-1]

    try:
        assert (derived(), derived()) == ("enforce", "enforce")
        with override_settings(SECGUARD={"MODE": "off"}):
            assert derived() == "off"
        assert derived() == "enforce"
    finally:
        conf._cached.remove(derived)
    assert built == ["enforce", "off", "enforce"]


@pytest.mark.parametrize("read", [get_settings])
def test_wrong_settings_are_improperly_configured_every_time_they_are_asked_for(read: Callable[[], Settings]) -> None:
    with override_settings(SECGUARD={"MODE": "on", "BLOCK_STATUS": 200}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured) as raised:
                read()
            assert len(str(raised.value).splitlines()) == 2
            assert "SECGUARD['MODE']" in str(raised.value)
            assert "SECGUARD['BLOCK_STATUS']" in str(raised.value)


def test_the_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        get_settings().mode = "off"  # type: ignore[misc]


def test_the_key_of_the_digests_follows_from_the_secret_key() -> None:
    derived = get_settings()
    assert derived.hmac_key_is_derived
    with override_settings(SECRET_KEY=b"given as bytes"):
        assert get_settings().hmac_key != derived.hmac_key
    with override_settings(SECGUARD={"HMAC_KEY": "a key of its own"}):
        assert not get_settings().hmac_key_is_derived


# -- the environment's switch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["enforce", "monitor", "off"])
def test_the_environment_overrides_the_mode(mode: str) -> None:
    settings, _ = parse({"MODE": "enforce"}, {"SECGUARD_MODE": mode})
    assert settings is not None
    assert (settings.mode, settings.mode_overridden) == (mode, True)
    assert settings.enforces is (mode == "enforce")


@pytest.mark.parametrize("mode", ["", "OFF", "disabled", "0"])
def test_a_mode_in_the_environment_that_is_none_is_an_error_and_not_ignored(mode: str) -> None:
    settings, (problem,) = parse({}, {"SECGUARD_MODE": mode})
    assert settings is None
    assert problem.setting == "MODE"
    assert f"SECGUARD_MODE={mode!r}" in problem.problem
    assert "off" in problem.hint


START = """
from django.conf import settings
apps = ["django.contrib.contenttypes", "django.contrib.auth", "secguard"]
settings.configure(SECRET_KEY="x" * 50, INSTALLED_APPS=apps)
import django
django.setup()
from secguard.conf import get_settings
print(get_settings().mode)
"""


def test_an_overridden_mode_is_logged_at_start(run_python: RunPython) -> None:
    done = run_python(START, SECGUARD_MODE="off")
    assert done.stdout == "off\n"
    assert '"event_type": "mode_overridden"' in done.stderr
    assert '"mode": "off"' in done.stderr


def test_a_mode_that_is_not_overridden_is_nothing_to_talk_about(run_python: RunPython) -> None:
    done = run_python(START)
    assert (done.stdout, done.stderr) == ("enforce\n", "")


def test_a_process_whose_environment_names_no_mode_starts_and_says_what_is_wrong(run_python: RunPython) -> None:
    done = run_python(START, SECGUARD_MODE="of")
    assert re.search(r"ImproperlyConfigured: SECGUARD\['MODE'\] is overridden by SECGUARD_MODE='of'", done.stderr)


def test_the_mode_in_force_without_an_override_is_no_event() -> None:
    from secguard.pipeline import report_mode_override

    with capture_events() as events:
        report_mode_override()
    assert events == []


def test_the_fail_mode_of_a_path_is_that_of_the_longest_path_named() -> None:
    settings, problems = parse({"FAIL_MODE": {"default": "open", "/a/": "closed", "/a/b/": "local"}}, {})
    assert settings is not None, problems
    paths = ["/", "/a", "/a/x", "/a/b/c", "/ab"]
    assert [settings.fail_mode_at(path) for path in paths] == ["open", "closed", "closed", "local", "open"]
