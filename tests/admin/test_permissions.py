"""Who gets in, who is refused, and that a refusal is an event."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path, reverse

from secguard import admin as secguard_admin
from secguard import records
from secguard.models import Block
from secguard.testing import capture_events
from tests.admin.rows import HOST, LIST, account_page, address_page, digest, event, staff

pytestmark = pytest.mark.django_db

EVENT_PAGES = (
    "secguard_eventrecord_changelist",
    "secguard_find",
)
DECISION_PAGES = ("block", "allowednetwork", "accountlock")


class OwnSite(AdminSite):
    site_header = "An admin site of the project's own"


own_site = OwnSite(name="own")
secguard_admin.register(own_site)
bare_site = AdminSite(name="bare")
bare_site.register(Block, secguard_admin.BlockAdmin)
urlpatterns = [path("own/", own_site.urls), path("bare/", bare_site.urls)]


def pages_of_events() -> list[str]:
    row = event()
    return [
        *(reverse(f"admin:{name}") for name in EVENT_PAGES),
        reverse("admin:secguard_eventrecord_change", args=[row.pk]),
        reverse("admin:secguard_eventrecord_export", args=["csv"]),
        address_page(),
        account_page(),
    ]


def pages_of_decisions() -> list[str]:
    records.block_network(HOST)
    lists = [reverse(f"admin:secguard_{name}_changelist") for name in DECISION_PAGES]
    return [*lists, reverse("admin:secguard_block_change", args=[Block.objects.earliest("pk").pk])]


def pages_that_decide() -> list[str]:
    records.block_network(HOST)
    return [
        *(reverse(f"admin:secguard_{name}_add") for name in DECISION_PAGES),
        reverse("admin:secguard_block_lift", args=[Block.objects.earliest("pk").pk]),
        reverse("admin:secguard_address_reset", args=[HOST]),
        reverse("admin:secguard_account_reset", args=[digest("anna")]),
    ]


def test_who_is_not_logged_in_is_asked_to() -> None:
    for page in [*pages_of_events(), *pages_of_decisions(), *pages_that_decide()]:
        response = Client().get(page)
        assert response.status_code == 302
        assert response["Location"].startswith(reverse("admin:login"))


def test_who_is_no_staff_is_asked_to_log_in_as_somebody_who_is() -> None:
    user = staff("view_eventrecord", "manage_blocks")
    user.is_staff = False
    user.save()
    client = Client()
    client.force_login(user, settings.AUTHENTICATION_BACKENDS[1])
    assert client.get(reverse(LIST)).status_code == 302
    assert client.post(pages_that_decide()[3]).status_code == 302
    assert Block.objects.get().lifted_at is None


def test_staff_without_permission_is_refused_and_each_refusal_is_an_event() -> None:
    client = Client()
    client.force_login(staff(name="curious"), settings.AUTHENTICATION_BACKENDS[1])
    for page in [*pages_of_events(), *pages_of_decisions(), *pages_that_decide()[:3]]:
        with capture_events() as events:
            assert client.get(page).status_code == 403
        (denied,) = events.of("permission_denied")
        assert denied.context["username"] == "curious"
        assert denied.context["path"] == page


def test_who_may_only_look_decides_nothing(viewer: Client) -> None:
    for page in pages_of_events():
        assert viewer.get(page).status_code in (200, 302)
    for page in pages_that_decide():
        with capture_events() as events:
            assert viewer.post(page, {"network": "198.51.100.1", "account": "anna"}).status_code == 403
        assert events.types == ["permission_denied"]
    assert Block.objects.get().lifted_at is None
    page = viewer.get(address_page()).content.decode()
    assert "<form method" not in page.replace('<form class="sg-find" method', "")
    assert "sg-decide" not in page


def test_who_may_decide_sees_decisions_without_a_permission_more() -> None:
    client = Client()
    client.force_login(staff("manage_blocks"), settings.AUTHENTICATION_BACKENDS[1])
    for page in [*pages_of_decisions(), *pages_that_decide()[:3]]:
        assert client.get(page).status_code == 200
    assert client.get(address_page()).status_code == 403
    response = client.post(pages_that_decide()[3], {"reason": "a mistake"})
    assert response["Location"] == reverse("admin:secguard_block_change", args=[Block.objects.earliest("pk").pk])


def test_a_lift_by_get_is_refused_with_405(operator: Client) -> None:
    for page in pages_that_decide()[3:]:
        response = operator.get(page)
        assert (response.status_code, response["Allow"]) == (405, "POST")
    assert Block.objects.get().lifted_at is None


def test_nothing_is_decided_without_a_csrf_token(operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    for page in pages_that_decide():
        assert strict.post(page, {"network": "198.51.100.1", "account": "anna"}).status_code == 403
    assert Block.objects.get().lifted_at is None


def test_who_may_see_no_event_gets_no_box_to_search_for_one(viewer: Client) -> None:
    index = reverse("admin:app_list", args=["secguard"])
    assert "sg-find" in viewer.get(index).content.decode()
    other = Client()
    other.force_login(staff("manage_blocks"), settings.AUTHENTICATION_BACKENDS[1])
    assert 'id="sg-find"' not in other.get(index).content.decode()


@override_settings(ROOT_URLCONF="tests.admin.test_permissions")
def test_an_admin_site_of_the_projects_own_has_the_same_pages(operator: Client) -> None:
    row = event()
    records.block_network(HOST)
    for page in ("own:secguard_eventrecord_changelist", "own:secguard_block_changelist"):
        response = operator.get(reverse(page))
        assert response.status_code == 200
        assert '="/admin/' not in response.content.decode()
        assert reverse("own:secguard_address", args=[HOST]) in response.content.decode()
    for name, args in (("eventrecord_change", [row.pk]), ("address", [HOST]), ("account", [row.account_digest])):
        response = operator.get(reverse(f"own:secguard_{name}", args=args))
        assert (response.status_code, '="/admin/' in response.content.decode()) == (200, False)


@override_settings(ROOT_URLCONF="tests.admin.test_permissions")
def test_an_admin_site_with_some_of_the_pages_links_to_no_other(operator: Client) -> None:
    records.block_network(HOST)
    response = operator.get(reverse("bare:secguard_block_changelist"))
    assert response.status_code == 200
    row = Block.objects.get()
    assert operator.get(reverse("bare:secguard_block_change", args=[row.pk])).status_code == 200
    response = operator.post(reverse("bare:secguard_block_lift", args=[row.pk]))
    assert response["Location"] == reverse("bare:secguard_block_change", args=[row.pk])


def without_middleware() -> Any:
    kept = [each for each in settings.MIDDLEWARE if not each.startswith("secguard.")]
    return override_settings(MIDDLEWARE=kept)


def test_the_pages_work_without_the_middleware(operator: Client) -> None:
    with without_middleware():
        for page in [*pages_of_events(), *pages_of_decisions()]:
            assert operator.get(page).status_code in (200, 302)
        response: HttpResponse = operator.post(reverse("admin:secguard_block_add"), {"network": "192.0.2.44"})
        assert "the address you are connected from" in response.content.decode()
