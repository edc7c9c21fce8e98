"""zenlead with a stopwatch at its loop: ``python -m benchmarks.looptimes run`` is ``zenlead run``.

Notes how long the loop takes from one look at its sockets to the next (a turn: for so long nobody is heard),
and how long each callback and task step is. Refuses to change what runs. The rule not to break: who measures
processor time uses the plain command, since the stopwatch costs a microsecond a step.

At SIGUSR1 the longest so far go as JSON into the file $LOOPTIMES, and the count starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import os
import selectors
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

KEPT = 20  # longest turns and steps
FILE = "LOOPTIMES"


class Took(msgspec.Struct, frozen=True, order=True):
    """One turn or step. ``worked_s``: processor time of the thread; the rest it waited for a core."""

    seconds: float
    worked_s: float
    at_s: float  # since the start
    what: str


class Longest:
    """The KEPT longest of one kind."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._kept: list[Took] = []

    def note(self, began: float, worked: float, what: Any) -> None:
        """``began`` and ``worked``: perf_counter and thread_time at its start. It ends now."""
        seconds = time.perf_counter() - began
        if len(self._kept) == KEPT and seconds <= self._kept[0].seconds:
            return
        took = Took(seconds, time.thread_time() - worked, began - self._began, _name(what))
        (heapq.heappush if len(self._kept) < KEPT else heapq.heapreplace)(self._kept, took)

    def take(self) -> list[Took]:
        kept, self._kept = self._kept, []
        return sorted(kept, reverse=True)


class Stopwatch:
    def __init__(self) -> None:
        self._turns, self._steps = Longest(), Longest()
        self._turn: tuple[float, float] | None = None  # when it began, once the loop runs
        self._collecting = 0.0
        self.collections: list[float] = []  # seconds of each full collection

    def install(self) -> None:
        handle: Any = asyncio.events.Handle
        selector: Any = selectors.DefaultSelector
        run, select = handle._run, selector.select

        def timed(this: Any) -> None:
            began, worked = time.perf_counter(), time.thread_time()
            run(this)
            self._steps.note(began, worked, this)

        def looked(this: Any, timeout: float | None = None) -> Any:
            if self._turn is not None:
                self._turns.note(*self._turn, "turn")
            ready = select(this, timeout)
            self._turn = (time.perf_counter(), time.thread_time())
            return ready

        handle._run = timed
        selector.select = looked
        gc.callbacks.append(self._collected)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            if phase == "start":
                self._collecting = time.perf_counter()
            else:
                self.collections.append(time.perf_counter() - self._collecting)

    def tell(self, *_: object) -> None:
        told = {
            "turns": self._turns.take(),
            "steps": self._steps.take(),
            "collections_s": self.collections,
        }
        self.collections = []
        part = Path(os.environ[FILE] + ".part")
        part.write_bytes(msgspec.json.encode(told))
        part.rename(os.environ[FILE])


def _name(handle: Any) -> str:
    """The task or the function that was called."""
    if isinstance(handle, str):
        return handle
    with contextlib.suppress(AttributeError):
        callback = handle._callback
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            return str(owner.get_name())
        return str(getattr(callback, "__qualname__", callback))
    return "?"


def main() -> int:
    from zenlead.cli import main as zenlead  # noqa: PLC0415 - the clock is there first

    stopwatch = Stopwatch()
    stopwatch.install()
    signal.signal(signal.SIGUSR1, stopwatch.tell)
    sys.argv[0] = "zenlead"
    return zenlead()


if __name__ == "__main__":
    sys.exit(main())
