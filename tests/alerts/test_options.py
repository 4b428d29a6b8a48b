"""SECGUARD["ALERTS"]: what it takes, and what is said of what it does not take."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secguard.alert_options import FORMS, TRIGGERS, AlertOptions, Trigger
from secguard.conf import parse
from secguard.events import EventType
from tests.alerts.events import event_of, locked, threat, warning

SLACK = "https://hooks.slack.com/services/T0/B0/s3cret"


def options_of(**alerts: Any) -> AlertOptions:
    settings, problems = parse({"ALERTS": alerts}, {})
    assert problems == []
    assert settings is not None
    return settings.alerts


def problem_of(alerts: Any) -> str:
    settings, problems = parse({"ALERTS": alerts}, {})
    assert settings is None
    (problem,) = problems
    assert problem.hint
    return str(problem)


def trigger_of(name: str, **alerts: Any) -> Trigger:
    (found,) = (each for each in options_of(**alerts).triggers if each.name == name)
    return found


def test_nobody_is_alerted_by_default() -> None:
    settings, _ = parse({}, {})
    assert settings is not None
    assert not settings.alerts.enabled


def test_mail_to_the_admins_is_one_word() -> None:
    options = options_of(mail=True)
    assert (options.mail, options.enabled) == (True, True)


def test_mail_goes_to_named_addresses() -> None:
    assert options_of(mail=["soc@example.com", "anna@example.com"]).mail == ("soc@example.com", "anna@example.com")


def test_a_webhook_may_be_its_url_alone() -> None:
    (hook,) = options_of(webhooks=["https://siem.example.com/in"]).webhooks
    assert (hook.form, hook.name, hook.secret) == ("json", "json siem.example.com", None)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (SLACK, "slack"),
        ("https://discord.com/api/webhooks/1/s3cret", "discord"),
        ("https://example.webhook.office.com/webhookb2/1", "teams"),
        ("https://prod-1.westeurope.logic.azure.com:443/workflows/1", "teams"),
        ("https://hooks.slack.com.example.com/", "json"),
        ("https://example.com/hooks.slack.com", "json"),
    ],
)
def test_the_form_follows_from_a_services_address(url: str, form: str) -> None:
    assert options_of(webhooks=[url]).webhooks[0].form == form


@pytest.mark.parametrize("form", FORMS)
def test_the_form_may_be_said(form: str) -> None:
    assert options_of(webhooks=[{"url": SLACK, "form": form}]).webhooks[0].form == form


def test_webhooks_at_one_host_are_told_apart_by_number() -> None:
    assert [hook.name for hook in options_of(webhooks=[SLACK, SLACK + "2"]).webhooks] == [
        "slack hooks.slack.com 1",
        "slack hooks.slack.com 2",
    ]


def test_no_secret_is_in_the_representation() -> None:
    options = options_of(webhooks=[{"url": SLACK, "form": "json", "secret": "0123456789abcdef"}])
    assert "s3cret" not in repr(options)
    assert "0123456789abcdef" not in repr(options)


def test_times_are_seconds_or_timedeltas() -> None:
    options = options_of(mail=True, quiet=timedelta(hours=1), digest=30)
    assert (options.quiet, options.digest) == (3600.0, 30.0)


def test_a_trigger_may_be_changed_and_keeps_the_rest() -> None:
    changed = trigger_of("locks", mail=True, triggers={"locks": {"threshold": 10}})
    assert (changed.threshold, changed.window, changed.events) == (10, 600.0, TRIGGERS["locks"].events)


def test_a_trigger_may_be_switched_off() -> None:
    assert [each.name for each in options_of(mail=True, triggers={"critical": False}).triggers] == [
        "locks",
        "suspicious",
    ]


def test_a_trigger_of_ones_own_counts_the_events_it_names() -> None:
    own = trigger_of("exports", mail=True, triggers={"exports": {"events": "data_access", "threshold": 100}})
    assert own.wants(event_of(EventType.DATA_ACCESS))
    assert not own.wants(threat())


def test_every_critical_event_is_wanted_and_no_other() -> None:
    assert TRIGGERS["critical"].wants(threat())
    assert TRIGGERS["critical"].wants(event_of(EventType.CONSECUTIVE_FAILURES_EXCEEDED))
    assert not TRIGGERS["critical"].wants(warning())


def test_suspicious_is_of_the_category_threat_and_no_operators_act() -> None:
    assert TRIGGERS["suspicious"].wants(warning())
    assert not TRIGGERS["suspicious"].wants(locked())
    assert not TRIGGERS["suspicious"].wants(event_of(EventType.ADDRESS_UNBLOCKED))


def test_without_triggers_nobody_is_alerted() -> None:
    assert not options_of(mail=True, triggers=dict.fromkeys(TRIGGERS, False)).enabled


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        (True, "is True"),
        ({"mails": True}, "['mails'] is no part of ALERTS. Did you mean 'mail'?"),
        ({1: True}, "[1] is no part of ALERTS. Use 'mail', 'webhooks'"),
        ({"mail": 1}, "['mail'] is 1. Give True"),
        ({"mail": "soc@example.com"}, "['mail'] is 'soc@example.com'. Give True"),
        ({"mail": ["a@example.com", "b\nBcc: c@example.com"]}, "['mail'][1] is 'b\\nBcc: c@example.com'"),
        ({"mail": ["Anna <anna@example.com>"]}, "['mail'][0]"),
        ({"webhooks": SLACK}, "['webhooks'] is no list of webhooks"),
        ({"webhooks": [{"form": "slack"}]}, "['webhooks'][0] has no 'url'"),
        ({"webhooks": [SLACK, "file:///etc/passwd"]}, "['webhooks'][1]['url'] is no URL that can be posted to"),
        ({"webhooks": ["ftp://example.com/s3cret"]}, "['webhooks'][0]['url'] is no URL that can be posted to"),
        ({"webhooks": ["https://user:s3cret@example.com/"]}, "is no URL that can be posted to"),
        ({"webhooks": ["https://[::1/s3cret"]}, "is no URL that can be posted to"),
        ({"webhooks": ["https://example.com/s3cret\r\nX: y"]}, "['webhooks'][0]['url'] is no URL."),
        ({"webhooks": [{"url": SLACK, "form": "irc"}]}, "['webhooks'][0]['form'] is 'irc'. Use one of 'json', 'slack'"),
        ({"webhooks": [{"url": SLACK, "from": "slack"}]}, "['webhooks'][0]['from'] is no key of a webhook"),
        ({"webhooks": [{"url": "https://a.example/", "secret": "s3cret"}]}, "['secret'] is too short"),
        ({"webhooks": [{"url": SLACK, "secret": "0123456789abcdef"}]}, "['secret'] is set with the form 'slack'"),
        ({"webhooks": [{"url": SLACK, "name": "a\nb"}]}, "['webhooks'][0]['name']"),
        ({"triggers": ["critical"]}, "['triggers'] is ['critical']"),
        ({"triggers": {"critcal": False}}, "['triggers']['critcal'] is no trigger. Did you mean 'critical'?"),
        ({"triggers": {"own": {"threshold": 3}}}, "['triggers']['own'] is no trigger"),
        ({"triggers": {"locks": 3}}, "['triggers']['locks'] is 3. Give True, False"),
        ({"triggers": {"locks": {"treshold": 3}}}, "['triggers']['locks']['treshold'] is no field of a trigger"),
        ({"triggers": {"locks": {"threshold": 0}}}, "['triggers']['locks']['threshold'] is 0. Give a whole number"),
        ({"triggers": {"locks": {"window": "10m"}}}, "['triggers']['locks']['window'] is '10m'. Give 10 to 86400"),
        ({"triggers": {"locks": {"severity": "bad"}}}, "['severity'] is 'bad'. Use one of 'info'"),
        ({"triggers": {"own": {"events": ["login_faild"]}}}, "Did you mean 'login_failed'?"),
        ({"triggers": {"own": {"events": "Login"}}}, "has the entry 'Login'"),
        ({"triggers": {"own": {"events": "alert_not_delivered"}}}, "has the entry 'alert_not_delivered'"),
        ({"quiet": 0}, "['quiet'] is 0. Give 10 to 604800 seconds"),
        ({"digest": float("nan")}, "['digest'] is nan"),
        ({"per_hour": True}, "['per_hour'] is True"),
        ({"site": "a\nb"}, "['site']"),
        ({"tasks": 1}, "['tasks'] is 1. Give an alias of TASKS"),
    ],
)
def test_what_is_wrong_is_named_with_its_path_and_the_cure(alerts: Any, told: str) -> None:
    problem = problem_of(alerts)
    assert told in problem
    assert problem.startswith("SECGUARD['ALERTS']")
    assert "s3cret" not in problem
