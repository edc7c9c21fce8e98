"""A thread beside the event loop: when that stands still for too long, it says where and ends the process.

Knows one loop and whether it answers. Refuses to know what runs on it. The rule not to break: time in which
the whole process stood still (stopped, frozen, its machine asleep) does not count: the loop is not to blame.

A loop that stands still answers no probe either, but not everybody has probes, and none tells where it hangs.
Code that never lets go of the interpreter's lock stops this thread too; then only a probe helps.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUCK_LOOP_S = 30.0  # a loop that stands still for so long serves nobody, and its Lease is long another's
PERIOD_S = 5.0  # how often the loop is asked; each time costs a thread's wake-up
EXIT_STUCK = 1


def end_process(stuck_s: float) -> None:
    """Print where every thread stands, and exit at once: nothing that needs the loop can be done any more."""
    print(f"zenlead: the event loop has stood still for {stuck_s:g} s, here:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
    os._exit(EXIT_STUCK)


@contextlib.contextmanager
def watchdog(
    give_up: Callable[[float], None] = end_process,
    *,
    limit_s: float = STUCK_LOOP_S,
    period_s: float = PERIOD_S,
) -> Iterator[None]:
    """Inside, the running loop is watched; ``give_up`` gets the seconds it stood still, in another thread."""
    loop = asyncio.get_running_loop()
    ended, answered = threading.Event(), threading.Event()
    answered.set()

    def watch() -> None:
        unanswered_s = 0.0
        while not ended.wait(period_s):
            if answered.is_set():
                unanswered_s = 0.0
                answered.clear()
                with contextlib.suppress(RuntimeError):  # closed: then the end is near, too
                    loop.call_soon_threadsafe(answered.set)
                continue
            unanswered_s += period_s
            if unanswered_s >= limit_s:
                give_up(unanswered_s)
                return

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
