"""Of which namespaces the pods are watched, and by which watches: what to start and what to stop.

Knows namespaces, what each watch covers and how far it has come. Refuses to know pods, tasks and the network.
Rules: a namespace whose Services need its pods is covered by a watch at every moment; a watch stops only when
another one knows all that is known of what it covers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

# A watch of one namespace costs a stream here and one on the API server; one of all namespaces costs us a
# decoded event for every pod of the cluster that changes. Ten streams are fewer than kubelets open each.
NARROW_LIMIT = 10
# The way back begins at half as many: a namespace that comes and goes must not turn all over each time.
HYSTERESIS = 2
# While a wide watch is being filled, namespaces that turn up meanwhile are watched singly; a thousand of them
# at once are rather served a few seconds later, by the next wide one.
NARROW_AT_MOST = 10 * NARROW_LIMIT
# A Service that is deleted and made anew, as some tools do to change it, must not cost a list of the pods.
LINGER_S = 30.0


class Wanted:
    """The namespaces with opted-in Services, and for LINGER_S seconds those that had some until then."""

    def __init__(self) -> None:
        self._left_at: dict[str, float | None] = {}  # None: has Services

    def __repr__(self) -> str:
        return f"Wanted({len(self._left_at)} namespaces)"

    def __contains__(self, namespace: str) -> bool:
        """Whether the namespace is known to have Services."""
        return self._left_at.get(namespace, 0.0) is None

    def look(self, served: AbstractSet[str], now: float) -> list[str]:
        """``served`` is what has Services at loop time ``now``; returns what is wanted no longer."""
        for namespace, left_at in self._left_at.items():
            if left_at is None and namespace not in served:
                self._left_at[namespace] = now
        gone = [ns for ns, at in self._left_at.items() if ns not in served and _is_over(at, now)]
        for namespace in gone:
            del self._left_at[namespace]
        self._left_at |= dict.fromkeys(served)
        return gone

    @property
    def namespaces(self) -> AbstractSet[str]:
        """A live set."""
        return self._left_at.keys()

    def next_at(self) -> float | None:
        """When the next one that lingers has to go."""
        return min((at + LINGER_S for at in self._left_at.values() if at is not None), default=None)


def _is_over(left_at: float | None, now: float) -> bool:
    return left_at is not None and now >= left_at + LINGER_S


class Watch(msgspec.Struct, frozen=True):
    """A watch that runs. ``level``: the covered namespaces of which it knows all that is known."""

    number: int  # the higher, the later it began
    namespace: str | None  # None: a wide one, of all namespaces
    covers: AbstractSet[str]
    level: AbstractSet[str]
    listed: bool  # its first list has come


class Plan(msgspec.Struct, frozen=True):
    start: list[str | None] = []  # of which namespace; a wide one (None) covers all that is wanted now
    stop: list[int] = []
    settled: bool = True  # nothing is on its way from one watch to another


def plan(wanted: AbstractSet[str], watches: Sequence[Watch], limit: int | None = NARROW_LIMIT) -> Plan:
    """What to do next; asked again whenever something has moved. ``limit`` None: never watch widely."""
    narrow = {watch.namespace: watch for watch in watches if watch.namespace is not None}
    wide = [watch for watch in watches if watch.namespace is None]
    start: list[str | None] = []
    newest: Watch | None = None
    if limit is None or len(wanted) <= (limit // HYSTERESIS if wide else limit):
        start += sorted(wanted - narrow.keys())
    else:
        newest = max(wide, key=lambda watch: watch.number, default=None)
        uncovered = wanted - newest.covers if newest is not None else wanted
        if newest is None or (newest.listed and len(uncovered) > limit):
            start.append(None)
        else:
            start += sorted(uncovered - narrow.keys())[: max(0, NARROW_AT_MOST - len(narrow))]

    def heir(namespace: str) -> Watch | None:
        """Who shall have the namespace in the end."""
        return newest if newest is not None and namespace in newest.covers else narrow.get(namespace)

    def is_over(watch: Watch) -> bool:
        heirs = ((namespace, heir(namespace)) for namespace in watch.covers & wanted)
        return all(it is not None and it is not watch and namespace in it.level for namespace, it in heirs)

    def is_heir(watch: Watch) -> bool:
        return any(heir(namespace) is watch for namespace in watch.covers & wanted)

    stop = [watch.number for watch in watches if is_over(watch)]
    filled = all(watch.listed and is_heir(watch) for watch in watches)
    return Plan(start, stop, settled=filled and not start and not stop)
