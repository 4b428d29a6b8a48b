"""The bounded queue and its one thread: begun with the first event that matters, ended when there is nothing to do.

The thread asks the store of the counters and the channels, and never the database.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from django.db import connections

from secguard.alert_options import AlertOptions
from secguard.alerts.channels import Channel, channels_of
from secguard.alerts.counters import Counters
from secguard.alerts.desk import Desk, Notice
from secguard.alerts.messages import Message
from secguard.alerts.outbox import Outbox, report_unsent
from secguard.events import Event, EventType
from secguard.failures import report_failure

#: Events that wait to be looked at, at most. What is beyond is counted, and said in the next message.
MAX_QUEUED = 1_000
#: Seconds without anything to do after which the thread ends; and for which the end of the process waits for it.
IDLE_SECONDS, EXIT_SECONDS = 30.0, 5.0
#: What is looked at in one go: in between, what is due is sent.
_BATCH = 100
_MAX_KNOWN = 1_000
#: After what should never happen, so that it does not happen as fast as a processor can.
_PAUSE_SECONDS = 1.0


class Worker:
    """Takes events from any thread, and sends what is worth an alert from its own.

    ``hand_over``: gives a message to somebody else, who sends it; False if nobody does. ``clock``: seconds, monotonic.
    """

    def __init__(
        self,
        options: AlertOptions,
        *,
        channels: list[Channel] | None = None,
        counters: Counters | None = None,
        hand_over: Callable[[Message], bool] = lambda message: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._desk = Desk(options, counters or Counters(options), clock)
        self.outbox = Outbox(channels_of(options) if channels is None else channels, clock)
        self._hand_over = hand_over
        self._clock = clock
        self._queue: deque[Notice] = deque()
        # Reentrant: a signal's handler may log an event in the midst of another.
        self._ready = threading.Condition(threading.RLock())
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._closing: float | None = None
        self._is_waiting = False
        self._is_empty = threading.Event()
        self._is_empty.set()
        self._wanted: dict[tuple[str, str, str], bool] = {}

    # -- any thread ------------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Note an event, if it may matter: no more happens here."""
        kind = (event.type, event.category, event.severity)
        wanted = self._wanted.get(kind)
        if wanted is None:
            wanted = self._wants(kind, event)
        if not wanted:
            return
        with self._ready:
            if len(self._queue) >= MAX_QUEUED:
                self._lost += 1
                return
            self._queue.append(Notice(time.time(), event))
            if self._is_empty.is_set():
                self._is_empty.clear()
            if self._thread is not None:
                if self._is_waiting:
                    self._ready.notify()
                return
        self._start()

    def _wants(self, kind: tuple[str, str, str], event: Event) -> bool:
        # Of a failed alert there is no alert: it would fail, too.
        wanted = event.type != EventType.ALERT_NOT_DELIVERED and any(
            trigger.wants(event) for trigger in self._options.triggers
        )
        if len(self._wanted) < _MAX_KNOWN:
            self._wanted[kind] = wanted
        return wanted

    def _start(self) -> bool:
        """Begin the thread, unless it runs. Where none can begin, what is queued waits for the next, or for the end."""
        with self._ready:
            if self._thread is not None:
                return True
            thread = self._thread = threading.Thread(target=self._run, name="secguard-alerts", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._thread = None
            report_failure("no thread could be begun for alerts: they wait")
            return False
        return True

    def close(self, seconds: float | None = None) -> None:
        """Send what waits, within so many seconds, and say what was not sent: the process ends."""
        seconds = EXIT_SECONDS if seconds is None else seconds
        with self._ready:
            if self._is_empty.is_set():
                return
            self._closing = self._clock() + seconds
            self.outbox.is_closing = True
            self._ready.notify()
        if self._start():
            if not self._is_empty.wait(seconds + 0.5):
                report_unsent(len(self.outbox), self._desk.waiting, len(self._queue))
        else:
            self._finish()
            self._rest()

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until there is nothing to do, at most so long. For tests, and for commands that end soon."""
        return self._is_empty.wait(seconds)

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            connections.close_all()  # those of receivers of event_logged, which may have been told here

    def _serve(self) -> None:
        while self._wait():
            try:
                if self._closing is not None:
                    self._finish()
                else:
                    self._work()
            except Exception:
                report_failure("alerts were not looked at")
                with self._ready:
                    self._ready.wait(_PAUSE_SECONDS)
            with self._ready:
                if not self._queue and self._next_look() is None:
                    self._rest()

    def _rest(self) -> None:
        """There is nothing to do."""
        self._closing, self.outbox.is_closing = None, False
        self._is_empty.set()

    def _wait(self) -> bool:
        """Until there is something to do. → False: there was not, and the thread ends."""
        with self._ready:
            while not self._queue and self._closing is None:
                due = self._next_look()
                left = IDLE_SECONDS if due is None else due - self._clock()
                if left <= 0:
                    return True
                self._is_waiting = True
                was_told = self._ready.wait(min(left, IDLE_SECONDS))
                self._is_waiting = False
                if not was_told and due is None and not self._queue:
                    self._thread = None
                    return False
            return True

    def _next_look(self) -> float | None:
        times = [when for when in (self._desk.next_look, self.outbox.next_due) if when is not None]
        return min(times, default=None)

    def _work(self) -> None:
        self._look(_BATCH)
        message = self._desk.message()
        if message is not None:
            self._send(message)
        self.outbox.work()

    def _look(self, most: int) -> None:
        with self._ready:
            notices = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
            self._desk.lost, self._lost = self._desk.lost + self._lost, 0
        if notices:
            self._desk.take(notices)

    def _send(self, message: Message) -> None:
        if not self._hand_over(message):
            self.outbox.add(message)

    def _finish(self) -> None:
        deadline = self._closing if self._closing is not None else self._clock() + EXIT_SECONDS
        self._look(MAX_QUEUED)
        message = self._desk.message(at_once=True)
        if message is not None:
            self._send(message)
        elif self._desk.next_look is not None:  # the messages of this hour are spent, however many workers end
            report_unsent(0, self._desk.waiting, self._desk.lost)
            self._desk.drop()
        self.outbox.close(deadline)
