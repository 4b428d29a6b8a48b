"""Where there are tasks, they send the alerts: of Django 6.0's own framework, or of the package django-tasks before it.

In processes of their own, since the tests' site has no tasks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest

from tests.alerts.servers import Receiver

if TYPE_CHECKING:
    from tests.conftest import RunPython

PACKAGE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
SETUP = """
import django, json, os
from django.conf import settings
apps = ["django.contrib.auth", "django.contrib.contenttypes", "secguard"]
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=apps + ([] if django.VERSION >= (6, 0) else ["django_tasks"]),
    TASKS=json.loads(os.environ["TASKS"]),
    SECGUARD={"ALERTS": json.loads(os.environ["ALERTS"])},
)
django.setup()
"""
EMIT = """
from tests.alerts.events import threat
from secguard.emit import emit
emit(threat())
"""
#: What a worker of the tasks does: finds the task by its path, and calls it.
WORK = """
from pathlib import Path
from django.utils.module_loading import import_string
from secguard.alerts import tasks
tasks.DELAYS = (0.0, 0.0)
for line in Path(os.environ["TASKS_FILE"]).read_text().splitlines():
    given = json.loads(line)
    import_string(given["task"]).call(*given["args"], **given["kwargs"])
"""


def tasks_of(backend: str, **more: Any) -> str:
    return json.dumps({"default": {"BACKEND": backend, **more}})


FILE = tasks_of("tests.alerts.task_backends.FileBackend")


class Site:
    """Runs processes of one site."""

    def __init__(self, run: RunPython, receiver: Receiver, folder: Path) -> None:
        self._run, self._receiver = run, receiver
        self.file = folder / "tasks"

    def __call__(self, code: str, tasks: str = FILE, alerts: Any = None) -> list[dict[str, Any]]:
        """Run code. → the events that it logged"""
        given = {"webhooks": [{"url": self._receiver.url, "name": "soc"}], "site": "shop", **(alerts or {})}
        done = self._run(SETUP + code, TASKS=tasks, ALERTS=json.dumps(given), TASKS_FILE=str(self.file))
        assert done.returncode == 0, done.stderr
        self.complaints = done.stderr
        return [json.loads(line)["context"] for line in done.stderr.splitlines() if line.startswith("{")]

    @property
    def waiting(self) -> list[Any]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


@pytest.fixture
def site(run_python: RunPython, receiver: Receiver, tmp_path: Path) -> Site:
    return Site(run_python, receiver, tmp_path)


def test_a_real_backend_is_given_the_message_and_its_worker_sends_it(site: Site, receiver: Receiver) -> None:
    site(EMIT)
    (task,) = site.waiting
    assert (task["task"], task["args"][1]) == ("secguard.alerts.tasks.send_alert", "soc")
    assert receiver.posts == []
    site(WORK)
    assert receiver.posts[0].told["alerts"][0]["subject"] == "203.0.113.7"


def test_the_url_of_a_webhook_is_not_in_the_queue(site: Site) -> None:
    site(EMIT)
    assert "s3cret" not in json.dumps(site.waiting)


def test_each_channel_is_a_task_of_its_own(site: Site, receiver: Receiver) -> None:
    hooks = [{"url": receiver.url, "name": name} for name in ("soc", "siem")]
    site(EMIT, alerts={"webhooks": hooks})
    assert [task["args"][1] for task in site.waiting] == ["soc", "siem"]


def test_a_task_tries_again(site: Site, receiver: Receiver) -> None:
    site(EMIT)
    receiver.answers = [500, 503]
    assert site(WORK) == []
    assert len(receiver.posts) == 3


def test_a_task_that_gives_up_says_so(site: Site, receiver: Receiver) -> None:
    site(EMIT)
    receiver.answers = [500] * 9
    (failed,) = site(WORK)
    assert (failed["event_type"], failed["channel"], failed["attempts"]) == ("alert_not_delivered", "soc", 3)


def test_a_channel_that_has_left_the_settings_is_sent_nothing(site: Site, receiver: Receiver) -> None:
    site(EMIT)
    assert site(WORK, alerts={"webhooks": [{"url": receiver.url, "name": "other"}]}) == []
    assert receiver.posts == []


@pytest.mark.parametrize("name", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_a_backend_that_does_nothing_elsewhere_is_not_used(site: Site, receiver: Receiver, name: str) -> None:
    site(EMIT, tasks_of(f"{PACKAGE}.backends.{name}"))
    assert len(receiver.posts) == 1


def test_it_can_be_switched_off(site: Site, receiver: Receiver) -> None:
    site(EMIT, alerts={"tasks": None})
    assert (len(receiver.posts), site.waiting) == (1, [])


def test_a_queue_that_is_away_loses_no_alert(site: Site, receiver: Receiver) -> None:
    site(EMIT, tasks_of("tests.alerts.task_backends.BrokenBackend"))
    assert len(receiver.posts) == 1
    assert "the tasks did not take an alert" in site.complaints


UNUSABLE = [tasks_of("no.such.Backend"), tasks_of("tests.alerts.task_backends.FileBackend", QUEUES=["others"])]


@pytest.mark.parametrize("tasks", UNUSABLE)
def test_a_backend_that_cannot_be_used_is_said_and_loses_no_alert(site: Site, receiver: Receiver, tasks: str) -> None:
    site(EMIT, tasks)
    assert len(receiver.posts) == 1
    assert "SECGUARD['ALERTS']['tasks']" in site.complaints
