"""settings.SECGUARD: every key, what it takes, and what is said of what it does not take."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from secguard import conf
from secguard.conf import KEYS, Settings, TrustedProxies, get_settings, parse, until_settings_change
from secguard.detection import DEFAULT_RULES, Action, Rule
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


# -- defaults --------------------------------------------------------------------------------------------------


def test_every_key_is_optional() -> None:
    settings = settings_of()
    assert (settings.mode, settings.fail_mode, settings.cache_alias) == ("enforce", "local", "default")
    assert (settings.block_duration, settings.block_status, settings.max_active_blocks) == (900, 403, 100_000)
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
    ("TRUSTED_PROXIES", {"hops": 2, "peers": ["10.0.0.0/8"]}, TrustedProxies(("10.0.0.0/8",), 2)),
    ("CLIENT_IP_HEADER", "CF-Connecting-IP", "CF-Connecting-IP"),
    ("ALLOWLIST", ["192.0.2.7", " 2001:db8::/32 "], ("192.0.2.7/32", "2001:db8::/32")),
    ("ALLOWLIST", {"::ffff:192.0.2.0/120"}, ("192.0.2.0/24",)),
    ("ALLOWLIST", [ip_network("192.0.2.0/24")], ("192.0.2.0/24",)),
    ("ALLOWLIST", ["10.0.0.0/8", "2001::/16"], ("10.0.0.0/8", "2001::/16")),
    ("EXEMPT_PATHS", ["/healthz", "/static/"], ("/healthz", "/static/")),
    ("BLOCK_DURATION", 60, 60),
    ("BLOCK_DURATION", 1.5, 1.5),
    ("BLOCK_DURATION", timedelta(hours=1), 3600),
    ("BLOCK_DURATION", 3650 * DAY, 3650 * DAY),
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
    ("HMAC_KEY", "k" * 16, b"k" * 16),
    ("HMAC_KEY", b"k" * 64, b"k" * 64),
    ("LOGGER_CLASS", SecurityEventLogger, SecurityEventLogger),
    ("REQUEST_ID_HEADER", "X-Amzn-Trace-Id", "X-Amzn-Trace-Id"),
    ("UNKNOWN_ACCOUNT_NAMES", "digest", "digest"),
]


@pytest.mark.parametrize(("key", "value", "expected"), GOOD, ids=str)
def test_a_good_value_is_taken(key: str, value: Any, expected: Any) -> None:
    assert getattr(settings_of(**{key: value}), key.lower()) == expected


def test_every_key_has_a_good_value_here() -> None:
    assert {key for key, _, _ in GOOD} | {"RULES"} == set(KEYS)


@pytest.mark.parametrize("key", ["BLOCK_DURATION", "SYNC_INTERVAL", "STORE_TIMEOUT", "RESERVE_WAIT"])
def test_a_duration_may_be_a_timedelta(key: str) -> None:
    assert getattr(settings_of(**{key: timedelta(seconds=2)}), key.lower()) == 2.0


# -- bad values: each is named, with the way out ---------------------------------------------------------------

SECONDS_OUT_OF_RANGE = ["5", True, None, [], NAN, INFINITY, -1, timedelta(seconds=-1)]
BAD: dict[str, list[Any]] = {
    "MODE": ["Enforce", "on", "", None, True, 1, []],
    "CACHE_ALIAS": ["", None, 0, ["default"]],
    "REDIS_URL": ["localhost:6379", "http://h", "", 6379, [], "REDIS"],
    "TRUSTED_PROXIES": [
        *("10.0.0.0/8", b"10.0.0.0/8", None, 2, True, ["10.0.0.0/33"], ["10.0.0.1/8"], ["0.0.0.0/0"], ["::/0"]),
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
        *[{"brute_force": {"subject": bad}} for bad in ("ip", None, [], "", "address ")],
        *[{"brute_force": {"block_duration": bad}} for bad in (0, -5, "1h", True, INFINITY, 3651 * DAY)],
        *[{"brute_force": {"action": bad}} for bad in ("ban", None, True, [])],
        *[{"brute_force": {"severity": bad}} for bad in ("fatal", None, 50)],
        *[{"brute_force": {"distinct": bad}} for bad in ("", "a b", "address", 5)],
        {"brute_force": {"treshold": 3}},
        {"account_failures": {"action": "block"}},
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
    "BLOCK_DURATION": [*SECONDS_OUT_OF_RANGE, 0, 0.5, 3650 * DAY + 1],
    "BLOCK_STATUS": [200, 404, "403", True, None, 0, -403],
    "BLOCKED_RESPONSE": ["refused", 5, True, [], ""],
    "SYNC_INTERVAL": [*SECONDS_OUT_OF_RANGE, 3601],
    "FAIL_MODE": ["fail", None, True, "", "OPEN"],
    "STORE_TIMEOUT": [*SECONDS_OUT_OF_RANGE, 0, 61],
    "RESERVE_WAIT": [*SECONDS_OUT_OF_RANGE, 61],
    "RESERVE_MAX_WAITERS": [-1, "16", True, 1.5, 100_001, []],
    "MAX_ACTIVE_BLOCKS": [0, -1, "5", True, None, 1.0, 10_000_001],
    "HMAC_KEY": ["short", b"short", 5, True, ["k" * 16], ""],
    "LOGGER_CLASS": [None, "Strict", 5, True, [], ""],
    "REQUEST_ID_HEADER": ["", "X Request", None, 5, "X_Request_ID"],
    "UNKNOWN_ACCOUNT_NAMES": ["hash", None, True, ""],
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


@pytest.mark.parametrize("key", ["REDIS_URL", "HMAC_KEY"])
def test_no_secret_is_repeated(key: str) -> None:
    secret = "http://:s3cr3t@h" if key == "REDIS_URL" else "s3cr3t"
    assert "s3cr3t" not in str(problem_of(key, secret))


def test_a_long_value_is_cut() -> None:
    assert len(str(problem_of("MODE", "x" * 100_000))) < 500


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
