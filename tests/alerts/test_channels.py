"""Messages reach a real mail server and a real webhook, and what goes wrong is said without secrets."""

from __future__ import annotations

import hmac
import json
import socket
import threading
import urllib.request
from contextlib import closing
from typing import Any

import pytest

from secguard.alert_options import TRIGGERS, parse_alerts
from secguard.alerts.channels import Channel, DeliveryError, channels_of
from secguard.alerts.messages import Message, alert_of
from tests.alerts.conftest import mail_by
from tests.alerts.events import event_of, threat
from tests.alerts.servers import Mailbox, Receiver

SECRET = "a secret of the receiver's"


def channel_of(**alerts: Any) -> Channel:
    (channel,) = channels_of(parse_alerts(alerts))
    return channel


def message_of(**context: Any) -> Message:
    return Message("alert", "shop", [alert_of(TRIGGERS["critical"], threat(**context), 1_800_000_000.0)])


def failure(channel: Channel, message: Message | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        channel.send(message or message_of(), 5)
    assert "s3cret" not in str(raised.value)
    return raised.value


@pytest.fixture
def nobody() -> Any:
    """A port that refuses connections, and is nobody else's meanwhile."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


# -- mail --------------------------------------------------------------------------------------------------


def test_a_mail_reaches_the_named_addresses_as_plain_text(mailbox: Mailbox, settings: Any) -> None:
    settings.SERVER_EMAIL, settings.EMAIL_SUBJECT_PREFIX = "site@example.com", "[shop] "
    channel_of(mail=["soc@example.com", "anna@example.com"]).send(message_of())
    (mail,) = mailbox.mails
    assert mailbox.recipients == [["soc@example.com", "anna@example.com"]]
    assert (mail["From"], mail["Auto-Submitted"]) == ("site@example.com", "auto-generated")
    assert " ".join(mail["Subject"].split()) == (
        "[shop] shop: Threat brute_force: 5 on address 203.0.113.7 within 900 s"
    )
    assert mail.get_content_type() == "text/plain"
    assert "address 203.0.113.7, event id-7" in mail.get_payload()


@pytest.mark.parametrize("admins", [[("Anna", "anna@example.com")], ["anna@example.com"]])
def test_true_mails_the_admins_in_either_spelling(mailbox: Mailbox, settings: Any, admins: Any) -> None:
    settings.ADMINS = admins
    channel_of(mail=True).send(message_of())
    assert mailbox.recipients == [["anna@example.com"]]


def test_without_admins_that_is_said_and_not_tried_again(settings: Any) -> None:
    settings.ADMINS = []
    error = failure(channel_of(mail=True))
    assert str(error) == "ADMINS is empty: name somebody there, or in SECGUARD['ALERTS']['mail']"
    assert not error.again


def test_nothing_an_attacker_writes_adds_a_header_to_a_mail(mailbox: Mailbox) -> None:
    event = event_of(message="x\r\nBcc: evil@example.com\n\nhello", username="y\r\nTo: evil@example.com")
    message = Message("alert", "shop", [alert_of(TRIGGERS["critical"], event, 0.0)])
    channel_of(mail=["soc@example.com"]).send(message)
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mail.get_all("To") == ["soc@example.com"]
    assert r"x\r\nBcc: evil@example.com\n\nhello" in " ".join(mail["Subject"].split())
    assert mailbox.recipients == [["soc@example.com"]]


def test_a_dead_mail_server_is_worth_another_attempt(mailbox: Mailbox, settings: Any, nobody: int) -> None:
    mail_by(settings, nobody)
    error = failure(channel_of(mail=["soc@example.com"]))
    assert error.again
    assert str(error).startswith("ConnectionRefusedError")


def test_a_mail_server_that_never_answers_is_not_waited_for_for_ever(mailbox: Mailbox, settings: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        mail_by(settings, silent.getsockname()[1])
        with pytest.raises(DeliveryError, match="timed out"):
            channel_of(mail=["soc@example.com"]).send(message_of(), 0.2)


def test_a_refusal_is_told_by_its_code(mailbox: Mailbox) -> None:
    mailbox.refuse = "554 s3cret reasons"
    assert str(failure(channel_of(mail=["soc@example.com"]))) == "SMTPDataError: 554"


# -- webhooks ------------------------------------------------------------------------------------------------


def test_a_webhook_is_posted_json(receiver: Receiver) -> None:
    channel_of(webhooks=[receiver.url]).send(message_of())
    (posted,) = receiver.posts
    assert (posted.path, posted.headers["Content-Type"]) == ("/hooks/s3cret-path", "application/json")
    assert posted.told["alerts"][0]["subject"] == "203.0.113.7"
    assert "X-Secguard-Signature" not in posted.headers


def test_a_secret_signs_the_time_and_the_body(receiver: Receiver) -> None:
    channel_of(webhooks=[{"url": receiver.url, "secret": SECRET}]).send(message_of())
    (posted,) = receiver.posts
    timestamp = posted.headers["X-Secguard-Timestamp"]
    right = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + posted.body, "sha256").hexdigest()
    assert posted.headers["X-Secguard-Signature"] == f"sha256={right}"


@pytest.mark.parametrize(("status", "again"), [(500, True), (503, True), (429, True), (400, False), (404, False)])
def test_a_refusal_tells_whether_another_attempt_is_worth_it(receiver: Receiver, status: int, again: bool) -> None:
    receiver.answers = [status]
    error = failure(channel_of(webhooks=[receiver.url]))
    assert (str(error), error.again) == (f"it answered {status}", again)


@pytest.mark.parametrize("target", ["/elsewhere", "file:///etc/passwd", "http://127.0.0.1:1/"])
def test_a_redirection_is_not_followed(receiver: Receiver, target: str) -> None:
    receiver.answers, receiver.headers = [302], {"Location": target}
    error = failure(channel_of(webhooks=[receiver.url]))
    assert (str(error), error.again) == ("it answered 302: give the address that it redirects to", False)
    assert len(receiver.posts) == 1


def test_a_webhook_that_nobody_serves_is_worth_another_attempt(nobody: int) -> None:
    error = failure(channel_of(webhooks=[f"http://127.0.0.1:{nobody}/s3cret"]))
    assert error.again
    assert str(error).startswith("ConnectionRefusedError")


def test_a_webhook_that_never_answers_is_not_waited_for_for_ever(receiver: Receiver) -> None:
    receiver.gate.clear()
    with pytest.raises(DeliveryError, match=r"(?i)timed? ?out"):
        channel_of(webhooks=[receiver.url]).send(message_of(), 0.2)


def test_an_answer_that_is_no_http_is_no_delivery() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        channel = channel_of(webhooks=[f"http://127.0.0.1:{server.getsockname()[1]}/s3cret"])

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"SSH-2.0-nothing\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "BadStatusLine" in str(failure(channel))
        thread.join()


@pytest.mark.parametrize("form", ["slack", "teams", "discord"])
def test_each_service_is_posted_its_form(receiver: Receiver, form: str) -> None:
    channel_of(webhooks=[{"url": receiver.url, "form": form}]).send(message_of())
    (posted,) = receiver.posts
    assert b"Threat brute_force" in posted.body
    assert json.loads(posted.body).keys() & {"text", "attachments", "content"}


def test_no_error_tells_the_url(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, request: urllib.request.Request, *args: object, **kwargs: object) -> None:
        raise ValueError(f"cannot open {request.full_url}, nor {request.selector}")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    error = failure(channel_of(webhooks=[receiver.url]))
    assert str(error) == "ValueError: cannot open [url], nor [path]"
