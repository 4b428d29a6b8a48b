"""``manage.py secguard events``."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from secguard.events import VOCABULARY
from secguard.formatters.vocabulary import TERMS, markdown
from tests.command.running import as_json, secguard
from tests.test_docs import page, section


def test_every_type_of_the_vocabulary_is_shown_with_all_its_names() -> None:
    rows = as_json("events")
    assert [row["type"] for row in rows] == list(VOCABULARY) == list(TERMS)
    (refused,) = (row for row in rows if row["type"] == "attempt_refused")
    assert (refused["owasp"], refused["ocsf"]["class_uid"]) == ("authn_login_fail_max", 3002)
    assert (refused["ecs"]["event.category"], refused["cef"]["severity"]) == (["authentication"], 5)


def test_the_table_is_shown_as_text_and_as_markdown() -> None:
    shown = secguard("events").splitlines()
    assert len(shown) == len(VOCABULARY) + 1
    assert shown[0].startswith("type ")
    assert secguard("events", "--markdown") == markdown()


def test_only_the_types_that_are_asked_for_are_shown() -> None:
    assert [row["type"] for row in as_json("events", "logout", "login_failed")] == ["logout", "login_failed"]
    with pytest.raises(CommandError, match=r"No type of event: coupon\\n. Without"):
        secguard("events", "logout", "coupon\n")


def test_the_documentation_shows_the_table_of_the_code() -> None:
    assert markdown() in section(page("docs/events.md"), "What other standards call them")
