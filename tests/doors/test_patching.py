"""Functions of other packages are observed, and do what they did."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from secguard.doors.patching import harmless, observe


class Package:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def double(self, number: int) -> int:
        """Twice as much."""
        return number * 2


@pytest.fixture
def package() -> type[Package]:
    return type("Copy", (Package,), {"double": Package.double})


def test_an_observed_function_answers_as_before(package: Any) -> None:
    observe(package, "double", before=lambda self, n: self.seen.append(n), after=lambda r, self, n: self.seen.append(r))
    found = package()
    assert (found.double(4), found.seen) == (8, [4, 8])
    assert package.double.__doc__ == "Twice as much."


def test_it_raises_as_before_and_the_observer_knows_what(package: Any) -> None:
    observe(package, "double", failed=lambda error, self, n: self.seen.append(type(error)))
    found = package()
    with pytest.raises(TypeError):
        found.double({})
    assert found.seen == [TypeError]


def test_an_observer_that_fails_fails_nothing(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    observe(package, "double", after=lambda *args: 1 / 0)
    assert package().double(4) == 8
    assert "the observer" in caplog.text


def test_to_observe_twice_is_to_observe_once(package: Any) -> None:
    for _ in range(2):
        observe(package, "double", after=lambda r, self, n: self.seen.append(r))
    found = package()
    found.double(4)
    assert found.seen == [8]


def test_what_the_package_does_not_have_is_reported(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    observe(package, "treble")
    assert "has no treble" in caplog.text


@override_settings(SECGUARD={"MODE": "off"})
def test_nothing_is_observed_when_off(package: Any) -> None:
    observe(package, "double", after=lambda r, self, n: self.seen.append(r))
    found = package()
    assert (found.double(4), found.seen) == (8, [])


@pytest.mark.parametrize("secguard", [{}, {"MODE": "nonsense"}])
def test_a_receiver_that_fails_fails_nothing_not_even_under_wrong_settings(secguard: dict[str, Any]) -> None:
    @harmless
    def receiver(sender: object, **kwargs: Any) -> None:
        raise ZeroDivisionError

    with override_settings(SECGUARD=secguard):
        receiver(None, signal=None)
