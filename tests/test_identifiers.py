"""The account that credentials are for: one, however its number or key was written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import models

from secguard import conf, logging
from secguard.detection import normalize_identifier
from secguard.logging import identifier_in, names_of

KEY = uuid.UUID("6f1c1b0e-6f5d-4f43-8a3d-1b2d6c2b8a11")


class PhoneField(models.CharField):
    """As fields of phone numbers are: many spellings go in, one is asked for."""

    def get_prep_value(self, value: Any) -> str:
        return "+" + "".join(filter(str.isdigit, str(value).replace("+", "00")))[2:]


class Staff(models.Model):
    number = models.IntegerField()
    email = models.EmailField()
    USERNAME_FIELD = "number"

    class Meta:
        abstract = True


class Members(models.Model):
    key = models.UUIDField()
    USERNAME_FIELD = "key"

    class Meta:
        abstract = True


class Customers(models.Model):
    phone = PhoneField()
    USERNAME_FIELD = "phone"

    class Meta:
        abstract = True


@pytest.fixture
def users(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "get_user_model", lambda: request.param)
    conf.reset()
    yield
    conf.reset()


def accounts(*typed: Any, name: str = "username") -> set[str | None]:
    return {normalize_identifier(identifier_in({name: each, "password": "x"})) for each in typed}


@pytest.mark.parametrize("users", [Staff], indirect=True)
@pytest.mark.usefixtures("users")
class TestANumber:
    @pytest.mark.parametrize("name", ["username", "number"])
    def test_is_one_account_in_every_spelling(self, name: str) -> None:
        assert accounts("4711", 4711, "0004711", "+4711", " 4711", "4_711", 4711.0, "٤٧١١", name=name) == {"4711"}

    def test_that_is_none_is_what_was_typed(self) -> None:
        assert accounts("anna") == {"anna"}
        assert accounts("anna@example.com", name="email") == {"anna@example.com"}
        assert accounts(["4711"], {"4711": 1}) == {None}


@pytest.mark.parametrize("users", [Members], indirect=True)
@pytest.mark.usefixtures("users")
def test_a_key_is_one_account_in_every_spelling() -> None:
    assert accounts(str(KEY), KEY, KEY.hex, f"{{{KEY}}}", f"urn:uuid:{KEY}", str(KEY).upper()) == {str(KEY)}


@pytest.mark.parametrize("users", [Customers], indirect=True)
@pytest.mark.usefixtures("users")
def test_a_phone_number_is_one_account_in_every_spelling() -> None:
    assert accounts("+49 151 123", "0049151123", "+49-151-123", "+49 (151) 123") == {"+49151123"}


@pytest.mark.parametrize("users", [Members], indirect=True)
@pytest.mark.usefixtures("users")
def test_who_got_in_has_the_name_under_which_guesses_at_him_count() -> None:
    class User:
        USERNAME_FIELD = "key"
        is_authenticated, pk = True, 1

        def get_username(self) -> uuid.UUID:
            return KEY

    assert accounts(names_of(User())["username"]) == accounts(KEY.hex)


def test_a_user_name_of_text_stays_as_it_was_typed() -> None:
    assert identifier_in({"username": "Anna"}) == "Anna"
