"""The password that somebody signed in has to give again, before a new one is set: nobody calls authenticate() for it.

Whoever has somebody's session, but not the password, may guess at it there. Counted like a failed login; not reserved,
since what is observed cannot refuse.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from secguard.context import context_for
from secguard.doors.patching import observe
from secguard.logging import get_event_logger, names_of

REASON = "wrong_current_password"


def watch(owner: Any, check: str, *errors: type[Exception]) -> None:
    """Observe a form's method that checks the current password of ``self.user``.

    ``errors``: what it raises where that is wrong; Django's ValidationError, if nothing else is said.
    """

    def failed(error: Exception, form: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(error, errors or (ValidationError,)):
            names = names_of(form.user)
            names.pop("email", None)  # it is guessed at the account, by its one name
            get_event_logger().log_login_failed(reason=REASON, request=_request_of(form), **names)

    def passed(result: object, form: Any, *args: Any, **kwargs: Any) -> None:
        if context_for(_request_of(form)).open_attempt() is None:
            get_event_logger().attempt_passed(request=_request_of(form), user=form.user)

    observe(owner, check, after=passed, failed=failed)


def _request_of(form: Any) -> Any:
    return getattr(form, "request", None)
