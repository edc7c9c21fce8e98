"""Writes whose end nobody knows: a request can arrive long after whoever sent it gave it up.

Knows which version of which object such a write would still find. Refuses to send anything. The rule: what is
decided last holds, so an object that is to stay as it is gets another version before the old write arrives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from zenlead.lead.desired import Absent
from zenlead.lead.writes import Patch, Target, fence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.lead.desired import Desired, Snapshot
    from zenlead.lead.views import Key, ServiceView, SliceView
    from zenlead.lead.writes import Delete, Write

LATE_S = 60.0  # after this an API server has given up a request itself (its --request-timeout)


class Doubt(msgspec.Struct, frozen=True):
    """A write that would still change the object at that version, and the loop time when it was given up."""

    version: str
    since: float


class Doubts:
    """``note`` a write without an answer; ``fences`` keep such ones from overruling later decisions."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: dict[tuple[Target, Key], Doubt] = {}  # the oldest first

    def __repr__(self) -> str:
        return f"Doubts({len(self._open)} writes whose end is not known)"

    def note(self, write: Patch | Delete, seen: Snapshot) -> None:
        """Nobody knows what became of it."""
        for target, observed in _objects(seen):
            if (target, observed.name) == (write.target, write.name):
                self._open.pop((target, observed.key), None)
                self._open[target, observed.key] = Doubt(observed.resource_version, self._loop.time())

    def fences(self, seen: Snapshot, desired: Desired, pending: list[Write]) -> list[Patch]:
        """For the objects that a write in doubt may still change, and that none of ``pending`` changes."""
        if not self._open or isinstance(desired, Absent):
            return []
        self._forget_old_ones()
        changed = {(write.target, write.name) for write in pending}
        found = []
        for target, observed in _objects(seen):
            doubt = self._open.get((target, observed.key))
            if doubt is None or (target, observed.name) in changed:
                continue
            if doubt.version == observed.resource_version:
                found.append(fence(target, observed))
            else:  # its precondition fails already
                del self._open[target, observed.key]
        return found

    def _forget_old_ones(self) -> None:
        expired = self._loop.time() - LATE_S
        while self._open and self._open[oldest := next(iter(self._open))].since <= expired:
            del self._open[oldest]


def _objects(seen: Snapshot) -> Iterator[tuple[Target, ServiceView | SliceView]]:
    for service in seen.services:
        yield Target.SERVICES, service
    for found in seen.slices:
        yield Target.SLICES, found
