"""What is told of the demo while it runs, to whoever watches: lines for a log, or a picture for a terminal.

Knows the order in which things happened and when to end. Refuses to know who takes part (demo.py does). The
rule: what cannot be told any more, since nobody reads, ends the demo and breaks nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

from zenlead.controller.facts import Reconciled
from zenlead.kube.facts import ElectionChanged, LeaseFailed, ObjectRejected, TaskRestarted
from zenlead.sandbox import demo_lines
from zenlead.sandbox.demo_referee import Breach, Referee
from zenlead.sandbox.demo_screen import Picture
from zenlead.sandbox.demo_world import Sight, differences

if TYPE_CHECKING:
    from zenlead.controller.facts import ControllerFact
    from zenlead.kube.facts import KubeFact
    from zenlead.sandbox.demo_failovers import Failover
    from zenlead.sandbox.objects import Objects, Occurrence

SETTLE_S = 0.5  # after the last failover: what it costs may come to light a little later
BREACHES_TOLD = 3  # of each promise: 50 requests a second can break one
NOTES_KEPT = 100  # more than any terminal has lines for
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DIED_OF = 128  # exit codes above this name the signal, as shells report it


class Play:
    """``ended`` is set when it is time to go. ``rounds``: after so many failovers, or never (None)."""

    def __init__(
        self, objects: Objects, rounds: int | None, act: str, kubeconfig: str, *, drawn: bool
    ) -> None:
        self.ended = asyncio.Event()
        self.referee = Referee(self._on_failover, self._on_breach)
        self.sight = Sight(objects)
        self._rounds = rounds
        self._act = act
        self._kubeconfig = kubeconfig
        self._drawn = drawn  # on a terminal; else lines are printed
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._notes: deque[tuple[float, str]] = deque(maxlen=NOTES_KEPT)
        self._signal: int = 0
        self._last_error = ""

    def __repr__(self) -> str:
        return f"Play({self.sight!r}, {self.referee!r}, ended={self.ended.is_set()})"

    def exit_code(self) -> int:
        """0, 1 when a promise was broken, 128 and more for the signal that ended it."""
        if self._signal:
            return DIED_OF + self._signal
        return 1 if self.referee.breaches else 0

    def heed_signals(self) -> None:
        """End in good order on Ctrl-C and its like; a second one does not wait for that."""
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._interrupt, number)

    def follow(self, occurrence: Occurrence) -> None:
        """Something happened in the store of the sandbox."""
        before = self.sight.world
        if not self.sight.follow(occurrence):
            return
        world = self.sight.world
        for text in differences(before, world):
            self._tell(text)
        self.referee.see(self._loop.time(), world)

    def hurt(self, fault: str) -> None:
        """The demo is about to make the leader fail."""
        self._tell(f"{self.sight.world.leader} is made to fail: {fault}")
        self.referee.injected(self._loop.time(), fault)

    def stuck(self, text: str) -> None:
        """The demo cannot go on by itself."""
        self.referee.stuck(self._loop.time(), text)
        if self._rounds is not None:
            self.ended.set()

    def hear(self, fact: KubeFact | ControllerFact) -> None:
        """What the controller reports of itself, as far as it is of interest here."""
        match fact:
            case ElectionChanged(is_leader=True):
                self._tell("the controller holds its Lease")
            case ElectionChanged(reason=reason):
                self._tell(f"the controller has no Lease: {reason}")
            case Reconciled(result="error", error=error):
                self._tell_once(f"the controller met an error: {error}")
            case LeaseFailed(error=error) | ObjectRejected(error=error):
                self._tell_once(f"the controller met an error: {error}")
            case TaskRestarted(task=task, error=error):
                self._tell_once(f"the controller started {task} again: {error}")
            case _:
                pass

    def picture(self, sent: int) -> Picture:
        """Everything to be seen now."""
        notes = list(reversed(self._notes))
        now, world = self._loop.time(), self.sight.world
        return Picture(now, self._started, world, self.referee, notes, self._kubeconfig, self._act, sent)

    def begin(self) -> None:
        """The first lines."""
        if not self._drawn:
            self.say(
                "zenlead demo: three pods, a Service and the controller on an API server in this process"
            )
            self.say(f"join in with: {demo_lines.join_line(self._kubeconfig)}")

    def end(self, sent: int) -> None:
        """The last lines. Call it when the screen is given back."""
        self._drawn = False
        self.say("")
        for line in demo_lines.summary(self.referee, sent, self._loop.time() - self._started, self._started):
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line, unless there is a picture instead."""
        if self._drawn or self._signal == signal.SIGPIPE:
            return
        try:
            print(line, flush=True)
        except OSError:
            # Nobody reads any more. What Python would still write at its exit goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._signal = signal.SIGPIPE
            self.ended.set()

    def _interrupt(self, number: int) -> None:
        self._signal = self._signal or number
        self.ended.set()
        self._loop.remove_signal_handler(number)

    def _tell(self, text: str) -> None:
        now = self._loop.time()
        self._notes.append((now, text))
        self.say(demo_lines.at(now - self._started, text))

    def _tell_once(self, error: str) -> None:
        """Errors that repeat themselves are one piece of news."""
        if error != self._last_error:
            self._last_error = error
            self._tell(error)

    def _on_failover(self, failover: Failover) -> None:
        now = self._loop.time()
        self.say(demo_lines.at(now - self._started, demo_lines.failover_line(failover)))
        if self._rounds is not None and failover.number >= self._rounds:
            self._loop.call_later(SETTLE_S, self.ended.set)

    def _on_breach(self, breach: Breach) -> None:
        times = self.referee.breaches[breach.promise]
        if times <= BREACHES_TOLD:
            self._tell(demo_lines.breach_line(breach))
