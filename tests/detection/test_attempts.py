"""The rules at work in a request: what a success sends, what is forgiven, and which fields are looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import RequestFactory

from secguard.context import RequestContext, context_of
from secguard.detection import Observation, Rule
from secguard.detection.catalogue import BRUTE_FORCE
from secguard.detection.detector import Attempt
from secguard.detection.store import READ, Op
from secguard.pipeline.attempts import Pipeline
from secguard.pipeline.parts import get_store

ADDRESS, NETWORK = "198.51.100.7", "198.51.100.0/24"
RATE = Rule(name="rate", events="login_failed", subject="network", threshold=5, window=600, max_success_rate=0.5)
SECOND_FACTOR = Rule(name="second_factor", events="2fa_failed", subject="actor", threshold=5, window=600)
PATHS = Rule(name="paths", events="permission_denied", subject="address", distinct="path", threshold=5, window=600)


def visit(*, collects: bool = False) -> RequestContext:
    context = context_of(RequestFactory().get("/private/", REMOTE_ADDR=ADDRESS, headers={"User-Agent": "curl"}))
    context.collects = collects
    return context


def guess(pipeline: Pipeline, context: RequestContext, account: str = "anna") -> Attempt:
    attempt, procedure = pipeline.begin(context, account)
    pipeline.run(procedure)
    return attempt


def who(pipeline: Pipeline, context: RequestContext, account: str | None = "anna", **more: Any) -> Observation:
    return pipeline.observe(context, context.address, account, **more)


def successes(pipeline: Pipeline, account: str = "anna") -> int:
    """As many as the rule over a rate has counted: the last of its companions."""
    records = pipeline.detector.records_of(Observation(ADDRESS, NETWORK, account))
    (target,) = [each for each in records.targets if each.kind in ("network", "account")]
    return get_store().execute([Op(READ, target.key, target.panel)])[0].counts[-1]


@pytest.mark.parametrize("collects", [False, True])
class TestASuccess:
    def test_is_counted_once(self, collects: bool) -> None:
        pipeline, context = Pipeline([RATE]), visit(collects=collects)
        guess(pipeline, context)
        for _ in range(2):  # Django's own login, and a package that tells of it as well
            pipeline.passed(context, who(pipeline, context), names=["anna"])
        pipeline.collect(context)
        assert successes(pipeline) == 1

    def test_is_counted_once_where_nothing_was_reserved(self, collects: bool) -> None:
        pipeline, context = Pipeline([RATE]), visit(collects=collects)
        pipeline.passed(context, who(pipeline, context), names=["anna"])
        assert successes(pipeline) == 1

    def test_counts_for_its_account_where_nobody_said_what_was_typed(self, collects: bool) -> None:
        pipeline, context = Pipeline([replace(RATE, subject="account")]), visit(collects=collects)
        pipeline.passed(context, who(pipeline, context, account=None), names=["anna"])
        assert successes(pipeline) == 1

    def test_links_its_names_and_is_counted(self, collects: bool) -> None:
        pipeline, context = Pipeline([replace(RATE, subject="account")]), visit(collects=collects)
        guess(pipeline, context, "anna@example.com")
        pipeline.passed(context, who(pipeline, context, "anna@example.com"), link="anna", names=["anna"])
        pipeline.collect(context)
        assert pipeline.detector.is_linked("anna@example.com")
        assert successes(pipeline) == 1

    def test_writes_nothing_more_where_no_rule_compares(self, collects: bool) -> None:
        pipeline, context = Pipeline([BRUTE_FORCE]), visit(collects=collects)
        attempt = guess(pipeline, context)
        assert pipeline.detector.success_ops(attempt.observation) == []


def test_a_threat_that_a_reservation_does_not_know_is_found_after_the_view(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline([replace(RATE, threshold=2)])
    found = []
    for account in ("anna", "bert", "carl"):
        context = visit(collects=True)
        guess(pipeline, context, account)
        assert pipeline.failed(context, who(pipeline, context, account)).opened == []
        caplog.clear()
        pipeline.collect(context)
        found.append([record.getMessage() for record in caplog.records])
    assert [len(messages) for messages in found] == [0, 1, 0]


class TestForgiving:
    def test_drops_what_the_user_got_wrong_from_this_address(self) -> None:
        pipeline, context = Pipeline([SECOND_FACTOR]), visit()
        observed = who(pipeline, context, user="7", event_type="2fa_failed")
        for _ in range(3):
            pipeline.counted("2fa_failed", observed)
        pipeline.counted("2fa_failed", observed._replace(address="203.0.113.1"))
        pipeline.forgive(["2fa_failed"], observed)
        assert pipeline.counted("2fa_failed", observed).counts == {"second_factor": 2}

    def test_asks_the_store_nothing_where_no_rule_counts_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pipeline, context = Pipeline([SECOND_FACTOR]), visit()
        observed = who(pipeline, context, user="7")
        monkeypatch.setattr(get_store(), "execute", None)
        pipeline.forgive(["code_rejected", "login_failed"], observed)


class TestFieldsOfTheRequest:
    def test_are_observed_for_events_of_a_rule_that_counts_one(self) -> None:
        pipeline, context = Pipeline([PATHS, RATE]), visit()
        observed = who(pipeline, context, event_type="permission_denied", fields={"object": 7})
        assert observed.fields == {"path": "/private/", "user_agent": "curl", "object": "7"}

    def test_are_left_alone_for_all_other_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pipeline, context = Pipeline([PATHS, RATE]), visit()
        monkeypatch.setattr(RequestContext, "fields", None)
        assert who(pipeline, context).fields == {}
        assert who(pipeline, context, event_type="2fa_failed").fields == {}

    def test_are_observed_for_an_attempt_if_a_rule_over_logins_counts_one(self) -> None:
        pipeline = Pipeline([replace(PATHS, events="login_failed")])
        assert guess(pipeline, visit()).observation.fields["path"] == "/private/"
