"""Keeps a fault that goes on from filling the log: of what is said again and again, some lines and a number.

Knows when a line says the same as one before. Refuses to know what it means. The rule not to break: what is
said at info, a change of leader above all, is never left out; but the plans of a dry run, which every pass
makes anew, are said once in a while.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    Event = MutableMapping[str, Any]

SAME_LINE_S = 10.0  # the same line again at the earliest; long enough to read, short enough to see it go on
EVENT_LINES = 50  # different lines of one name within EVENT_S: more is a storm, and metrics count it
EVENT_S = 10.0
SAME_LINES = 1000  # lines that are remembered

_BOUNDED_LEVELS = frozenset({"warning", "error", "critical"})
_MADE_ANEW = frozenset({"write.planned"})
_WORDS = ("error", "message", "reason")  # what a server or a library says; in it, numbers make no difference
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class _Window(msgspec.Struct):
    """Since when, how many were written, how many left out."""

    began: float
    written: int = 0
    left_out: int = 0


class Repeats:
    """A processor of structlog. A line that comes after others were left out says so: ``repeated`` (the same
    line, so many times) and ``left_out`` (so many others of its name). ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()  # libraries speak from threads of their own
        self._same: dict[int, _Window] = {}  # by line, the one that was written longest ago first
        self._events: dict[str, _Window] = {}  # by name, of which there are few

    def __repr__(self) -> str:
        return f"<Repeats lines={len(self._same)} events={len(self._events)}>"

    def __call__(self, _: object, __: str, event: Event) -> Event:
        fault = event["level"] in _BOUNDED_LEVELS
        if fault or event["event"] in _MADE_ANEW:
            with self._lock:
                now = self._monotonic()
                self._once_in_a_while(event, now)
                if fault:
                    self._no_storm(event, now)
        return event

    def _once_in_a_while(self, event: Event, now: float) -> None:
        line = hash(tuple(sorted((key, _meaning(key, value)) for key, value in event.items())))
        same = self._same.get(line)
        if same is not None and now - same.began < SAME_LINE_S:
            same.left_out += 1
            raise structlog.DropEvent
        if same is not None and same.left_out:
            event["repeated"] = same.left_out
        self._same.pop(line, None)
        self._same[line] = _Window(now)
        if len(self._same) > SAME_LINES:
            del self._same[next(iter(self._same))]

    def _no_storm(self, event: Event, now: float) -> None:
        name = event["event"]
        window = self._events.get(name)
        if window is None or now - window.began >= EVENT_S:
            left_out = window.left_out if window is not None else 0
            window = self._events[name] = _Window(now)
            if left_out:
                event["left_out"] = left_out
        if window.written >= EVENT_LINES:
            window.left_out += 1
            raise structlog.DropEvent
        window.written += 1


def _meaning(key: str, value: object) -> str:
    """What of a field makes a line another line."""
    if isinstance(value, int | float):
        return ""
    text = value if isinstance(value, str) else repr(value)
    return _NUMBERS.sub("#", text) if key in _WORDS else text
