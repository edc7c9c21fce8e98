"""Looks over the controller's shoulder: where traffic goes, as the slices say, change by change.

Knows what the API server has shown of our slices. Refuses to know what was decided, so it can contradict.
Rule: it only looks. What it tells are facts, while this replica leads and for Services that are opted in.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from zenlead.controller.facts import InvariantBroken, RoutingSeen
from zenlead.kube.intake import pieces
from zenlead.lead import contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zenlead.controller.caches import Caches
    from zenlead.kube.store import Change
    from zenlead.lead.views import Key, SliceView

Group: TypeAlias = tuple[str, str]  # leader Service, address family: what may have one ready endpoint


class Auditor:
    """``hear`` each change of a slice, once the store has it; ``survey`` when this replica begins to lead."""

    def __init__(self, caches: Caches, notify: Callable[[RoutingSeen | InvariantBroken], None]) -> None:
        self._caches = caches
        self._notify = notify
        # What is broken now, so that it is told once; a Service goes with its slices and with each term.
        self._broken: dict[Key, set[Group]] = {}

    def __repr__(self) -> str:
        return f"Auditor({len(self._broken)} Services with too many ready endpoints)"

    def hear(self, changes: Sequence[Change[SliceView]]) -> None:
        """Slices changed, all at the same moment."""
        moved: dict[Key, None] = {}
        for change in changes:
            old, new = change.old, change.new
            if old is not None and new is not None and _ways(old) == _ways(new):
                continue
            for view in (old, new):
                source = view.labels.get(contract.SOURCE_SERVICE) if view is not None else None
                if view is not None and source:
                    moved[view.namespace, source] = None
        for key in moved:
            self._look(key)

    def survey(self) -> Iterator[None]:
        """Look at every Service, knowing nothing of before; some of them with each step."""
        self._broken.clear()
        for piece in pieces(self._caches.keys()):
            for key in piece:
                self._look(key)
            yield

    def _look(self, key: Key) -> None:
        slices = self._caches.slices.by("managed", key)
        if self._caches.source(key) is None:
            self._broken.pop(key, None)  # on its way out
            return
        ready = Counter[Group]()
        for view in slices:
            ready[_group(view)] += _ready(view)
        self._notify(RoutingSeen(*key, ready.total()))
        broken = {group for group, count in ready.items() if count > 1}
        for leader_service, family in sorted(broken - self._broken.get(key, set())):
            pods = [
                endpoint.target_name or ",".join(endpoint.addresses)
                for view in slices
                if _group(view) == (leader_service, family)
                for endpoint in view.endpoints
                if endpoint.ready is not False
            ]
            self._notify(InvariantBroken(*key, leader_service, family, tuple(sorted(pods))))
        if broken:
            self._broken[key] = broken
        else:
            self._broken.pop(key, None)


def _group(view: SliceView) -> Group:
    return view.labels.get(contract.SERVICE_NAME, ""), view.address_type


def _ready(view: SliceView) -> int:
    """Endpoints that get traffic. Nothing said means ready, as the API of EndpointSlices has it."""
    return sum(endpoint.ready is not False for endpoint in view.endpoints)


def _ways(view: SliceView) -> tuple[object, ...]:
    return _group(view), view.labels.get(contract.SOURCE_SERVICE), view.endpoints
