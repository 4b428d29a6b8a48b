"""What operators see and decide in Django's admin: events, blocks, allowed networks, account locks, and a page for each
address and account.

Nothing here edits a row: events are read, decisions are taken and lifted by what ``secguard.records`` offers.
"""

from __future__ import annotations

from django.contrib import admin

from secguard.admin.blocks import AllowedNetworkAdmin, BlockAdmin
from secguard.admin.events import EventRecordAdmin
from secguard.admin.locks import AccountLockAdmin
from secguard.models import AccountLock, AllowedNetwork, Block, EventRecord

__all__ = ["AccountLockAdmin", "AllowedNetworkAdmin", "BlockAdmin", "EventRecordAdmin", "register"]


def register(site: admin.AdminSite) -> None:
    """Put secguard's pages on an admin site; Django's default site has them."""
    site.register(EventRecord, EventRecordAdmin)
    site.register(Block, BlockAdmin)
    site.register(AllowedNetwork, AllowedNetworkAdmin)
    site.register(AccountLock, AccountLockAdmin)


register(admin.site)
