"""A task backend with a queue and no worker, for the tests."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.tasks.backends.base import BaseTaskBackend


class Queue(BaseTaskBackend):
    """Keeps what is enqueued, as JSON, until `work()` runs it."""

    queued: ClassVar[list[tuple[Any, str]]] = []
    fails = False

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> None:
        """Keep a task."""
        if type(self).fails:
            raise ConnectionError("the queue is away")
        self.queued.append((task, json.dumps([args, kwargs])))

    @classmethod
    def work(cls) -> None:
        """Run what was kept."""
        while cls.queued:
            task, arguments = cls.queued.pop(0)
            args, kwargs = json.loads(arguments)
            task.func(*args, **kwargs)
