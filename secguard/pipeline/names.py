"""Names that two users share: what one of them gets right must forgive no guesses at the other.

Counters go by identifiers that were made equal (``normalize_identifier``), and by what was typed. So one record may
stand for several users: of names that differ by case alone, or where somebody's user name or mail address is the mail
address of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

from secguard.failures import report_failure


def are_anothers_too(identifiers: Iterable[str | None], user: str | None) -> bool:
    """May one of these identifiers be the user name or the mail address of anybody but this user?

    ``identifiers``: normalised. ``user``: the primary key, if it is known. One query, whose price is that of a search
    by name without regard to case: ask only where something hangs on it. Where nobody can tell, the answer is yes.
    """
    model = get_user_model()
    existing = {field.name: field for field in model._meta.get_fields()}
    columns = {model.USERNAME_FIELD, model.get_email_field_name()} & existing.keys()
    names = {each for each in identifiers if each}
    wanted = [
        Q(**{f"{column}__iexact": name})
        for column in sorted(columns)
        for name in sorted(names)
        if may_hold(existing[column], name)
    ]
    if not wanted:
        return False
    try:
        found = model._default_manager.filter(reduce(or_, wanted))
        if user:
            return bool(found.exclude(pk=user).exists())
        return len(found.values_list("pk", flat=True).distinct()[:2]) > 1
    except Exception:
        report_failure("could not look up whether a name is somebody else's too; nothing is forgiven under it")
        return True


def may_hold(field: Any, name: str) -> bool:
    """A field of numbers or keys refuses to be searched for a mail address."""
    try:
        field.get_prep_value(name)
    except Exception:
        return False
    return True
