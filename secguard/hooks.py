"""Ready-made functions for SECGUARD["ON_MAX_CONSECUTIVE_FAILURES"]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def disable_password(user: AbstractBaseUser | None, account: str, count: int) -> None:
    """Take the password away, as NIST SP 800-63B-4 asks for: unlocking the account does not bring it back.

    Django's password reset by mail serves only users who have a password: then somebody else has to set a new one.
    """
    if user is not None:
        user.set_unusable_password()
        user.save(update_fields=["password"])
