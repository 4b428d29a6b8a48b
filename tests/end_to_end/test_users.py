"""Changes of users and of what they may: one event each, once they are committed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.test import Client

from secguard.logging import SecurityEventLogger
from secguard.testing import CapturedEvents, capture_events
from tests.end_to_end.entry import RIGHT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def anna(settings: Any) -> User:
    settings.SECGUARD = {}
    return User.objects.create_user("anna", "anna@example.com", RIGHT)


@pytest.fixture
def events(anna: User) -> Any:
    with capture_events() as captured:
        yield captured


class TestAPassword:
    def test_that_is_set_is_an_event(self, anna: User, events: CapturedEvents) -> None:
        anna.set_password("another one")
        anna.save()
        (changed,) = events
        assert (changed.type, changed.context["username"]) == ("password_changed", "anna")

    def test_that_is_stored_as_a_hash_is_an_event(self, anna: User, events: CapturedEvents) -> None:
        anna.password = make_password("another one")
        anna.save(update_fields=["password"])
        assert events.types == ["password_changed"]

    def test_that_is_set_twice_is_two(self, anna: User, events: CapturedEvents) -> None:
        for password in ("one", "two"):
            anna.set_password(password)
            anna.save()
        assert events.types == ["password_changed"] * 2

    def test_of_a_stale_instance_is_compared_with_the_database(self, anna: User, events: CapturedEvents) -> None:
        stale = User.objects.get(pk=anna.pk)
        anna.set_password("another one")
        anna.save()
        del events[:]
        stale.first_name = "Anna"
        stale.save()  # puts the old password back
        assert events.types == ["password_changed"]

    def test_whose_hash_is_upgraded_is_none(self, anna: User, events: CapturedEvents, settings: Any) -> None:
        settings.PASSWORD_HASHERS = [
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.MD5PasswordHasher",
        ]
        assert anna.check_password(RIGHT)
        assert User.objects.get(pk=anna.pk).password.startswith("pbkdf2")
        assert events.types == []

    def test_that_was_never_saved_is_none(self, anna: User, events: CapturedEvents) -> None:
        anna.set_password("another one")
        anna.save(update_fields=["last_login"])
        assert events.types == []

    def test_is_no_event_of_a_save_of_other_fields(self, anna: User, events: CapturedEvents) -> None:
        anna.first_name = "Anna"
        anna.save()
        assert events.types == []

    def test_that_is_taken_away_is_an_event_of_its_own(self, anna: User, events: CapturedEvents) -> None:
        anna.set_unusable_password()
        anna.save()
        assert events.types == ["password_disabled"]

    def test_that_is_rolled_back_is_none(self, anna: User, events: CapturedEvents) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            anna.set_password("another one")
            anna.save()
            raise ZeroDivisionError
        assert events.types == []

    def test_is_an_event_only_once_it_is_committed(self, anna: User, events: CapturedEvents) -> None:
        with transaction.atomic():
            anna.set_password("another one")
            anna.save()
            assert events.types == []
        assert events.types == ["password_changed"]

    def test_in_bulk_is_out_of_reach(self, anna: User, events: CapturedEvents) -> None:
        User.objects.filter(pk=anna.pk).update(password=make_password("another one"))
        assert events.types == []


class TestAUser:
    def test_that_is_created_is_an_event_and_no_change_of_a_password(self, events: CapturedEvents) -> None:
        User.objects.create_user("bert", "bert@example.com", RIGHT)
        (created,) = events
        assert (created.type, created.context["username"]) == ("user_created", "bert")
        assert "granted" not in created.context

    def test_that_is_created_with_privileges_says_so(self, events: CapturedEvents) -> None:
        User.objects.create_superuser("root", "root@example.com", RIGHT)
        assert events[0].context["granted"] == ["is_staff", "is_superuser"]

    def test_that_is_deactivated_and_reactivated_is_an_event(self, anna: User, events: CapturedEvents) -> None:
        for active in (False, True):
            anna.is_active = active
            anna.save()
        assert events.types == ["user_deactivated", "user_reactivated"]

    def test_whose_mail_address_changes_is_an_event(self, anna: User, events: CapturedEvents) -> None:
        anna.email = "new@example.com"
        anna.save()
        (changed,) = events
        assert (changed.type, changed.context["old_email"]) == ("email_changed", "anna@example.com")

    def test_that_is_deleted_is_an_event(self, anna: User, events: CapturedEvents) -> None:
        anna.delete()
        (deleted,) = events
        assert (deleted.type, deleted.context["username"]) == ("user_deleted", "anna")


class TestPrivileges:
    def test_of_staff_and_superusers(self, anna: User, events: CapturedEvents) -> None:
        anna.is_staff = anna.is_superuser = True
        anna.save()
        anna.is_superuser = False
        anna.save(update_fields=["is_superuser"])
        first, second = events
        assert (first.type, first.context["granted"]) == ("privileges_changed", ["is_staff", "is_superuser"])
        assert second.context["revoked"] == ["is_superuser"]

    def test_by_a_group_from_the_users_side(self, anna: User, events: CapturedEvents) -> None:
        editors = Group.objects.create(name="editors")
        anna.groups.add(editors)
        anna.groups.add(editors)  # changes nothing
        anna.groups.clear()
        assert [event.context.get("granted") or event.context["revoked"] for event in events] == [
            ["group editors"],
            ["group editors"],
        ]
        assert {event.context["username"] for event in events} == {"anna"}

    def test_by_a_group_from_the_groups_side(self, anna: User, events: CapturedEvents) -> None:
        editors = Group.objects.create(name="editors")
        editors.user_set.add(anna)
        (granted,) = events
        assert (granted.context["username"], granted.context["granted"]) == ("anna", ["group editors"])

    def test_by_a_permission(self, anna: User, events: CapturedEvents) -> None:
        permission = Permission.objects.get(codename="delete_user")
        anna.user_permissions.set([permission])
        anna.user_permissions.set([])
        assert events[0].context["granted"] == ["auth.delete_user"]
        assert events[1].context["revoked"] == ["auth.delete_user"]

    def test_of_a_group(self, events: CapturedEvents) -> None:
        editors = Group.objects.create(name="editors")
        editors.permissions.add(Permission.objects.get(codename="delete_user"))
        (granted,) = events
        assert (granted.context["group"], granted.context["granted"]) == ("editors", ["auth.delete_user"])

    def test_that_are_rolled_back_are_none(self, anna: User, events: CapturedEvents) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            anna.groups.add(Group.objects.create(name="editors"))
            raise ZeroDivisionError
        assert events.types == []

    def test_given_in_the_admin_name_who_gave_them(self, anna: User) -> None:
        root = User.objects.create_superuser("root", "root@example.com", RIGHT)
        client = Client()
        client.force_login(root)
        data = {"username": "anna", "is_active": "on", "is_staff": "on", "email": "anna@example.com"}
        data |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "first_name": "", "last_name": ""}
        with capture_events() as events:
            assert client.post(f"/admin/auth/user/{anna.pk}/change/", data).status_code == 302
        (changed,) = events
        assert (changed.type, changed.context["username"]) == ("privileges_changed", "anna")
        assert (changed.context["by"], changed.context["granted"]) == ("root", ["is_staff"])


def test_any_of_them_may_be_switched_off(anna: User, events: CapturedEvents, settings: Any) -> None:
    settings.SECGUARD = {"DISABLED_EVENTS": ["user_deactivated"]}
    anna.is_active = False
    anna.save()
    assert events.types == []


class OurLogger(SecurityEventLogger):
    def log_password_changed(self, **details: Any) -> Any:
        return super().log_password_changed(site="shop", **details)

    def log_permission_denied(self, **details: Any) -> Any:
        return super().log_permission_denied(site="shop", **details)


def test_a_logger_class_of_ones_own_has_its_say(anna: User, events: CapturedEvents, settings: Any) -> None:
    settings.SECGUARD = {"LOGGER_CLASS": OurLogger}
    anna.set_password("another one")
    anna.save()
    Client().get("/sync/deny/")
    assert [(event.type, event.context["site"]) for event in events] == [
        ("password_changed", "shop"),
        ("permission_denied", "shop"),
    ]
    assert events[0].message == "Password of anna@example.com changed"
