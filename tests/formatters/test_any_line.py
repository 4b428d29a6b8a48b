"""Whatever a record holds, in each format it is one line that its readers take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.formatters import CefFormatter, EcsFormatter, OcsfFormatter
from secguard.formatters.text import clean_context
from tests.formatters import test_cef, test_ecs, test_ocsf
from tests.formatters.hostile import KEYS, SCALARS
from tests.formatters.samples import REQUEST, THREAT, TYPES, USER, context_of, json_of, record

FIELDS = [*REQUEST, *USER, *THREAT, "reason", "reference", "by", "event_id", "severity", "category"]
CONTEXTS = st.builds(
    lambda event_type, changes, more: {**context_of(event_type), **more, **changes},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), SCALARS, max_size=4),
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
)


@given(CONTEXTS, st.text(max_size=40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_context_is_a_line_of_every_format(context: dict[Any, Any], message: str, cleaned: bool) -> None:
    given_context = clean_context(context) if cleaned else context
    made = record(given_context, message=message, context_is_clean=cleaned)
    test_ecs.assert_typed(test_ecs.document(made))
    test_ocsf.event(made)
    test_cef.parsed(made)


@pytest.mark.parametrize("formatter", [EcsFormatter(), OcsfFormatter(), CefFormatter()])
def test_where_the_recursion_limit_leaves_no_room_there_is_still_a_line(formatter: Any) -> None:
    made = record(context_of("login_failed"))

    def deep() -> str:
        try:
            return deep()
        except RecursionError:
            return str(formatter.format(made))

    line = deep()
    if isinstance(formatter, CefFormatter):
        test_cef.parse(line)
    else:
        json_of(line)


@pytest.mark.parametrize("formatter", [EcsFormatter, OcsfFormatter, CefFormatter])
def test_the_last_resort_is_a_line_of_the_format(formatter: Any) -> None:
    if formatter is CefFormatter:
        assert test_cef.parse(formatter.last_resort).signature == "unprintable"
    elif formatter is EcsFormatter:
        test_ecs.assert_typed(json_of(formatter.last_resort))
    else:
        assert json_of(formatter.last_resort)["class_uid"] == 0


@pytest.mark.parametrize("formatter", [EcsFormatter, OcsfFormatter, CefFormatter])
def test_a_record_that_cannot_be_read_says_so(formatter: Any) -> None:
    made = record(context_of("login_failed"))
    del made.filename
    line = formatter().format(made)
    assert "<unprintable record>" in line
    assert "login_failed" in line
    assert "AttributeError" in line
