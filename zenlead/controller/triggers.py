"""From a change of one object to the Services that have to be looked at, and how urgently.

Knows which change can matter to whom. Refuses to decide whether it does.
Rule: a Service that a change could concern is always named; urgent is what can move traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from zenlead.controller.caches import Caches, Selectors, is_managed, is_source, leader_name, source_of
from zenlead.kube.lane import Lane
from zenlead.lead import contract
from zenlead.lead.views import Key, SliceView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zenlead.kube.store import Change
    from zenlead.lead.views import NodeView, PodView, ServiceView

Triggers: TypeAlias = dict[Key, Lane]


class Trigger:
    """One method a kind, called once the store has taken the change; keeps ``selectors`` true too."""

    def __init__(self, caches: Caches, selectors: Selectors) -> None:
        self._caches = caches
        self._selectors = selectors

    def service(self, change: Change[ServiceView]) -> Triggers:
        self._selectors.service_changed(change.old, change.new)
        keys: Triggers = {}
        for view in (change.old, change.new):
            if view is None:
                continue
            if is_source(view):
                # What exists and changes may have lost its leader; what is new has no traffic yet, unless it
                # was opted out a moment ago and not all of that is done.
                known = change.old is not None and is_source(change.old)
                lane = Lane.URGENT if known or not self._leaderless(view.key) else Lane.FRESH
                _add(keys, view.key, lane)
                for rival in self._claimants(view.namespace, leader_name(view)):
                    _add(keys, rival, Lane.ROUTINE)
            elif is_managed(view) and (key := source_of(view)) is not None:
                _add(keys, key, Lane.ROUTINE)
            # Whoever wants this name for its leader Service may get it, or lose it, now.
            for claimant in self._claimants(*view.key):
                _add(keys, claimant, Lane.ROUTINE)
        return keys

    def slice(self, change: Change[SliceView]) -> Triggers:
        keys: Triggers = {}
        old, new = change.old, change.new
        moved = old is not None and (new is None or new.endpoints != old.endpoints or new.ports != old.ports)
        for view in (old, new):
            source = view.labels.get(contract.SOURCE_SERVICE) if view is not None else None
            if view is not None and source:
                key = (view.namespace, source)
                # Without a source to serve, what moved is on its way out.
                urgent = moved and self._caches.source(key) is not None
                _add(keys, key, Lane.URGENT if urgent else Lane.ROUTINE)
        return keys

    def freed(self, change: Change[Any]) -> Triggers:
        """Whoever wants the name of a Service or a slice that is gone. For every change that a store takes:
        what we deleted ourselves is no news any more when the watch brings it."""
        gone: ServiceView | SliceView | None = change.old
        if change.new is not None or gone is None:
            return {}
        name = gone.labels.get(contract.SERVICE_NAME, gone.name) if isinstance(gone, SliceView) else gone.name
        whose = source_of(gone)
        return {key: Lane.ROUTINE for key in self._claimants(gone.namespace, name) if key != whose}

    def pod(self, change: Change[PodView]) -> Triggers:
        keys: Triggers = {}
        names = self._selectors.pod_changed(change.old, change.new)
        namespace = change.key[0]
        if names:
            uids = {view.uid for view in (change.old, change.new) if view is not None}
            hurt = {key for uid in uids for key in self._led_by(uid)}
            for name in names:
                key = (namespace, name)
                urgent = key in hurt or self._leaderless(key)
                _add(keys, key, Lane.URGENT if urgent else Lane.ROUTINE)
        return keys

    def node(self, change: Change[NodeView]) -> Triggers:
        name = change.key[1]
        routed = self._caches.slices.by("nodes", name)
        return {
            (view.namespace, source): Lane.ROUTINE
            for view in routed
            if (source := view.labels.get(contract.SOURCE_SERVICE))
        }

    def _claimants(self, namespace: str, name: str) -> Iterator[Key]:
        return (source.key for source in self._caches.services.by("claims", (namespace, name)))

    def _led_by(self, uid: str) -> Iterator[Key]:
        """The Services whose slice routes to the pod ``uid``."""
        for view in self._caches.slices.by("targets", uid):
            if source := view.labels.get(contract.SOURCE_SERVICE):
                yield view.namespace, source

    def _leaderless(self, key: Key) -> bool:
        """Whether the Service has no endpoint, so that any pod that turns up may be the one it waits for."""
        return not any(view.endpoints for view in self._caches.slices.by("managed", key))


def _add(keys: Triggers, key: Key, lane: Lane) -> None:
    keys[key] = min(lane, keys.get(key, lane))
