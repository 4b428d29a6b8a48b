"""Backends of Django's tasks: one keeps what it is given in a file, for another process; one takes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import django
from django.utils import timezone

if django.VERSION >= (6, 0):
    from django.tasks import TaskResult, TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend
else:
    from django_tasks import TaskResult, TaskResultStatus
    from django_tasks.backends.base import BaseTaskBackend


class FileBackend(BaseTaskBackend):
    """A line of JSON for each task, in the file that TASKS_FILE names."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        line = json.dumps({"task": task.module_path, "args": args, "kwargs": kwargs})
        with Path(os.environ["TASKS_FILE"]).open("a") as file:
            file.write(line + "\n")
        return TaskResult(
            task=task,
            id="1",
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )


class BrokenBackend(BaseTaskBackend):
    """Its queue is away."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        raise ConnectionError("no queue")
