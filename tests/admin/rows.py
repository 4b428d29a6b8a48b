"""Rows and people for the tests of the admin."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from django.contrib.auth.models import Permission, User
from django.urls import reverse

from secguard.logging import get_event_logger
from secguard.models import EventRecord

HOST, OTHER, IPV6 = "203.0.113.7", "198.51.100.9", "2001:db8::/64"
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
HOSTILE = "<script>alert(1)</script>\"'\u202e\r\n=cmd"
LIST = "admin:secguard_eventrecord_changelist"


def digest(name: str) -> str:
    return get_event_logger().pipeline.detector.digest("account", name).hex()


def event(**fields: Any) -> EventRecord:
    """An event that is kept: a denial of anna's at HOST, unless said otherwise."""
    return EventRecord.objects.create(**facts(**fields))


def facts(**fields: Any) -> dict[str, Any]:
    account = fields.get("account", "anna")
    return {
        "event_id": uuid.uuid4(),
        "timestamp": NOON,
        "event_type": "permission_denied",
        "category": "authorization",
        "severity": "warning",
        "message": f"Permission denied to {account}",
        "ip_address": fields.get("network", HOST),
        "network": HOST,
        "account": account,
        "account_digest": digest(account) if account else "",
        "user_agent": "Firefox",
        **fields,
    }


def events(number: int, **fields: Any) -> None:
    """As many, a second apart, the latest at NOON."""
    rows = (facts(timestamp=NOON - timedelta(seconds=back), **fields) for back in range(number))
    EventRecord.objects.bulk_create(EventRecord(**each) for each in rows)


def staff(*permissions: str, name: str = "operator") -> User:
    """Somebody who may enter the admin and has these permissions of secguard."""
    user = User.objects.create_user(name, f"{name}@example.org", "pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions, content_type__app_label="secguard"))
    return user


def address_page(network: str = HOST) -> str:
    return reverse("admin:secguard_address", args=[network])


def account_page(name: str = "anna") -> str:
    return reverse("admin:secguard_account", args=[digest(name)])
