"""Whom a counter belongs to: one account, one spelling; different accounts, different digests."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from secguard.detection import normalize_identifier
from secguard.detection.identity import DIGEST_SIZE, keyed_digest


@pytest.mark.parametrize(
    "spelling",
    ["anna", "ANNA", "  anna\t", "ａｎｎａ", "ＡＮＮＡ", "\u00a0anna\u3000", "𝐚𝐧𝐧𝐚", b"anna", b" ANNA"],
)
def test_spellings_of_one_account_are_one_account(spelling: object) -> None:
    assert normalize_identifier(spelling) == "anna"


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("é", "e\u0301"), ("ﬁx", "fix"), ("Ω", "Ω"), ("ſam", "sam")],
)
def test_unicode_variants_are_one_account(one: str, other: str) -> None:
    assert normalize_identifier(one) == normalize_identifier(other)


@pytest.mark.parametrize("mark", ["\u200b", "\u200d", "\u202e", "\u2066", "\x00", "\n"])
def test_invisible_characters_within_a_name_are_counted_and_not_dropped(mark: str) -> None:
    name = normalize_identifier(f"an{mark}na")
    assert name is not None
    assert name != "anna"


@pytest.mark.parametrize(
    "nobody", [None, "", "   ", "\u3000", b"", [], ["anna"], {}, {"a": 1}, True, False, 1.5, object()]
)
def test_what_is_no_identifier_is_nobody(nobody: object) -> None:
    assert normalize_identifier(nobody) is None


def test_a_number_is_its_text() -> None:
    assert normalize_identifier(42) == normalize_identifier("42") == "42"


def test_a_number_of_any_length_is_an_identifier() -> None:
    assert normalize_identifier(10**6_000) != normalize_identifier(10**6_000 + 1)


def test_invalid_bytes_are_an_identifier() -> None:
    assert normalize_identifier(b"\xffanna") == "\ufffdanna"


class Posing(str):
    """A text whose methods are not to be trusted."""

    __slots__ = ()

    def _refuse(self, *args: object) -> Any:
        raise RuntimeError("no")

    __str__ = isascii = strip = lower = casefold = __len__ = _refuse  # type: ignore[assignment]


class Hiding:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class Failing:
    """A lazy object that poses as a text, and fails when it is asked for it."""

    __class__ = str  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("lazy", ["anna", "Zo\u00eb"])
def test_a_lazy_text_is_its_text(lazy: str) -> None:
    assert normalize_identifier(SimpleLazyObject(lambda: lazy)) == lazy.lower()


def test_a_text_of_another_class_is_its_text() -> None:
    name = normalize_identifier(Posing("Zo\u00eb"))
    assert name == "zo\u00eb"
    assert type(name) is str


def test_what_cannot_be_asked_is_nobody() -> None:
    assert normalize_identifier(Hiding()) is None
    assert normalize_identifier(Failing()) is None


@pytest.mark.parametrize("edge", [" ", "\t", "\u00a0", "\u3000"])
def test_any_number_of_spaces_around_a_name_makes_no_other_account(edge: str) -> None:
    assert normalize_identifier(edge * 5_000 + "\uff41\uff4e\uff4e\uff41") == "anna"
    assert normalize_identifier("\uff41\uff4e\uff4e\uff41" + edge * 5_000) == "anna"


@pytest.mark.parametrize("name", ["\ufdfa" * 100 + "\u0390", "\u0390" * 1_025, "x" + "\u00b4" * 1_000])
def test_normalizing_twice_changes_nothing_for_names_that_grow(name: str) -> None:
    once = normalize_identifier(name)
    assert normalize_identifier(once) == once


def test_a_long_name_keeps_its_end() -> None:
    assert normalize_identifier("x" * 1_000_000 + "1") != normalize_identifier("x" * 1_000_000 + "2")


def test_a_long_run_of_combining_marks_is_never_reordered() -> None:
    """Sorting the marks of a run is what makes NFKC quadratic; a long name is not put through it."""
    run = "a" + "\u0301\u0316" * 500_000
    assert normalize_identifier(run) == run
    assert normalize_identifier(run[:100]) == unicodedata.normalize("NFKC", run[:100])


@given(st.text())
def test_normalizing_twice_changes_nothing(name: str) -> None:
    once = normalize_identifier(name)
    assert once is None or normalize_identifier(once) == once


@given(st.text(alphabet=st.characters(codec=None), max_size=30))
def test_no_text_is_too_odd_for_a_digest(name: str) -> None:
    assert len(keyed_digest(b"key")("account", normalize_identifier(name) or "")) == DIGEST_SIZE


ODD = [
    "",
    "*",
    "{}",
    "{a}",
    ":",
    "1:",
    "a:b",
    "\n",
    "\r\n",
    "\0",
    "a\0",
    "\ud800",
    "\udfff",
    "é",
    "x" * 1_000_000,
]


def test_hostile_names_have_digests_of_their_own() -> None:
    digest = keyed_digest(b"key")
    found = [digest("account", name) for name in ODD]
    assert len(set(found)) == len(ODD)
    assert {len(each) for each in found} == {DIGEST_SIZE}


def test_no_choice_of_parts_looks_like_another() -> None:
    digest = keyed_digest(b"key")
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("", "abc"), ("abc", ""), ("1:a", "b"), ("1", ":a", "b")]
    assert len({digest(*each) for each in parts}) == len(parts)


def test_a_digest_depends_on_its_key() -> None:
    assert keyed_digest(b"one")("account", "anna") != keyed_digest(b"two")("account", "anna")


def test_a_subject_of_one_kind_is_no_subject_of_another() -> None:
    digest = keyed_digest(b"key")
    kinds = ("address", "account", "pair", "network", "user")
    for one, other in itertools.combinations(kinds, 2):
        assert digest(one, "x") != digest(other, "x")
