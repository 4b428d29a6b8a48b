"""How a message leaves: by mail, or posted to a webhook. Each says plainly why it did not, and keeps its secrets."""

from __future__ import annotations

import hmac
import http.client
import smtplib
import time
import urllib.error
import urllib.request
from typing import Any, Protocol

from django.conf import settings as django_settings
from django.core import mail
from django.core.mail import EmailMessage

import secguard
from secguard.alert_options import AlertOptions, Webhook
from secguard.alerts.forms import body_of, text_of
from secguard.alerts.messages import Message
from secguard.formatters.text import one_line

#: Seconds that one attempt may wait for a server's next word.
TIMEOUT = 10.0
SIGNATURE_HEADER, TIMESTAMP_HEADER = "X-Secguard-Signature", "X-Secguard-Timestamp"
_MAX_MAIL = 50_000
#: Answers of a server that may do better another time.
_PASSING = frozenset({408, 425, 429})


class DeliveryError(Exception):
    """A message was not delivered. ``again``: is it worth another attempt? The text holds no secret."""

    def __init__(self, problem: str, *, again: bool = True) -> None:
        super().__init__(one_line(problem, 300))
        self.again = again


class Channel(Protocol):
    """``send`` raises DeliveryError, and nothing else that is an Exception."""

    name: str

    def send(self, message: Message, timeout: float = TIMEOUT) -> None: ...


def channels_of(options: AlertOptions) -> list[Channel]:
    """Whom the settings name."""
    found: list[Channel] = [MailChannel(options.mail)] if options.mail else []
    return [*found, *map(WebhookChannel, options.webhooks)]


class MailChannel:
    """Plain text to the addresses, or to those of ADMINS, by the project's own way to mail."""

    name = "mail"

    def __init__(self, addresses: bool | tuple[str, ...]) -> None:
        self._addresses = addresses

    def send(self, message: Message, timeout: float = TIMEOUT) -> None:
        recipients = admins() if self._addresses is True else list(self._addresses or ())
        if not recipients:
            raise DeliveryError("ADMINS is empty: name somebody there, or in SECGUARD['ALERTS']['mail']", again=False)
        try:
            connection = _connection(timeout)
            mailed = EmailMessage(
                f"{django_settings.EMAIL_SUBJECT_PREFIX}{message.title}".replace("\n", " ").replace("\r", " "),
                text_of(message, _MAX_MAIL) + "\n",
                django_settings.SERVER_EMAIL,
                recipients,
                headers={"Auto-Submitted": "auto-generated"},
            )
            connection.send_messages([mailed])
        except Exception as error:
            # A refusal for good, as of an unknown address, is as good as any other: whoever mends it wants the mail.
            raise DeliveryError(_told(error)) from error


def admins() -> list[str]:
    """The addresses of ADMINS, which are pairs with the name before Django 6."""
    return [str(each[1] if isinstance(each, (list, tuple)) else each) for each in django_settings.ADMINS]


def _connection(timeout: float) -> Any:
    """The project's mailer. One that would wait for ever for a dead server waits as long as is said here."""
    mailers = getattr(mail, "mailers", None)  # from Django 6.1 on
    connection = mail.get_connection() if mailers is None else mailers.default
    if hasattr(connection, "timeout"):
        connection.timeout = min(connection.timeout or timeout, timeout)
    return connection


def _told(error: BaseException | str) -> str:
    """What went wrong. A mail server's refusal is told by its code: its text may name what was sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: {error.smtp_code}"
    return f"{type(error).__name__}: {error}".strip(": ") if isinstance(error, BaseException) else error


class WebhookChannel:
    """A POST of JSON. Redirections are not followed: they would make a GET of it, or lead elsewhere."""

    def __init__(self, hook: Webhook) -> None:
        self.name = hook.name
        self._hook = hook

    def send(self, message: Message, timeout: float = TIMEOUT) -> None:
        body = body_of(message, self._hook.form)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"secguard/{secguard.__version__}",
            **signed(body, self._hook.secret, int(time.time())),
        }
        # Checked when the settings were read: http or https, and nothing else.
        request = urllib.request.Request(self._hook.url, body, headers, method="POST")  # noqa: S310
        try:
            with _opener().open(request, timeout=timeout):
                pass  # the status says it all
        except urllib.error.HTTPError as answer:
            with answer:
                raise _refused(answer.code) from None
        except urllib.error.URLError as error:
            raise DeliveryError(self._safe(_told(error.reason))) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeliveryError(self._safe(_told(error))) from None

    def _safe(self, problem: str) -> str:
        """Without the URL, or what of it may be secret."""
        host = urllib.request.Request(self._hook.url).host  # noqa: S310
        _, _, rest = self._hook.url.partition(host)
        return problem.replace(self._hook.url, "[url]").replace(rest, "[path]") if len(rest) > 1 else problem


def _refused(code: int) -> DeliveryError:
    if 300 <= code < 400:
        return DeliveryError(f"it answered {code}: give the address that it redirects to", again=False)
    return DeliveryError(f"it answered {code}", again=code >= 500 or code in _PASSING)


def signed(body: bytes, secret: bytes | None, timestamp: int) -> dict[str, str]:
    """The headers by which the receiver knows that it was us, and when: an HMAC of ``timestamp.body``."""
    if secret is None:
        return {}
    signature = hmac.new(secret, b"%d.%b" % (timestamp, body), "sha256").hexdigest()
    return {TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: f"sha256={signature}"}


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS, through the proxies that the environment names; no redirections, no other schemes."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
