"""What the controller knows of the cluster: the stores, and the snapshot of one Service that they give.

Knows which objects belong to a Service. Refuses to decide or to write.
Rule: a snapshot is taken without a wait in between, so that it shows one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable  # noqa: TC003 - part of the index functions' type
from typing import TYPE_CHECKING, cast

import msgspec

from zenlead.controller.selectors import NamespaceIndex
from zenlead.kube.store import Store
from zenlead.lead import contract
from zenlead.lead.desired import Snapshot
from zenlead.lead.routed import read_routed
from zenlead.lead.select import selected
from zenlead.lead.views import ServiceView

if TYPE_CHECKING:
    from collections.abc import Collection

    from zenlead.kube.lru import AsyncLRU
    from zenlead.lead.views import Key, NodeView, PodView, SliceView


def is_source(view: ServiceView) -> bool:
    """Opted in, and not itself a leader Service."""
    return contract.opted_in(view.annotations) and not is_managed(view)


def is_managed(view: ServiceView) -> bool:
    """Labelled as ours (which is not yet owned by us: decide looks at the owner)."""
    return view.labels.get(contract.MANAGED_BY) == contract.MANAGER


def leader_name(source: ServiceView) -> str:
    return contract.parse_policy(source.name, source.annotations).leader_name


def _sources(view: ServiceView) -> Iterable[str]:
    return (view.namespace,) if is_source(view) else ()


def _claims(view: ServiceView) -> Iterable[Key]:
    return ((view.namespace, leader_name(view)),) if is_source(view) else ()


def source_of(view: ServiceView | SliceView) -> Key | None:
    """The Service that an object of ours is for: as its label says; without, whose owner it has."""
    name = view.labels.get(contract.SOURCE_SERVICE)
    if not name and isinstance(view, ServiceView) and is_managed(view) and view.owner is not None:
        name = view.owner.name
    return (view.namespace, name) if name else None


def _for_source(view: ServiceView | SliceView) -> Iterable[Key]:
    key = source_of(view)
    return (key,) if key is not None else ()


def _owner(view: SliceView) -> Iterable[Key]:
    return ((view.namespace, view.owner.name),) if view.owner is not None else ()


def _targets(view: SliceView) -> Iterable[str]:
    return [endpoint.target_uid for endpoint in view.endpoints if endpoint.target_uid]


def _nodes(view: SliceView) -> Iterable[str]:
    return [endpoint.node for endpoint in view.endpoints if endpoint.node]


class PodsUnknown(Exception):
    """The pods of a namespace have not been read yet, so nothing can be said of its Services."""


class Caches:
    """The four stores. ``selectors`` holds a NamespaceIndex per namespace and is loaded by ``load_index``.

    ``knows_pods`` says of a namespace whether its pods are all here; whoever fills the store sets it.
    """

    def __init__(self, index_limit: int) -> None:
        self.index_limit = index_limit
        self.services: Store[ServiceView] = Store(
            {"sources": _sources, "claims": _claims, "managed": _for_source}
        )
        self.slices: Store[SliceView] = Store(
            {"managed": _for_source, "owner": _owner, "targets": _targets, "nodes": _nodes}
        )
        self.pods: Store[PodView] = Store({"namespace": lambda view: (view.namespace,)})
        self.nodes: Store[NodeView] = Store()
        self.knows_pods: Callable[[str], bool] = lambda _namespace: True
        self._building = asyncio.Lock()

    def __repr__(self) -> str:
        return (
            f"Caches({len(self.services)} services, {len(self.slices)} slices, {len(self.pods)} pods, "
            f"{len(self.nodes)} nodes)"
        )

    def keys(self) -> set[Key]:
        """Every Service that may need something: all sources, and whatever of ours names a source."""
        keys = self.services.keys_in("sources")
        for store in (self.services, self.slices):
            keys.update(cast("Collection[Key]", store.values_of("managed")))
        return keys

    def untouched(self) -> bool:
        """Whether nobody has done our work here before: no slice is owned by a leader Service."""
        return all(view.owner is None for view in self.slices)

    async def load_index(self, namespace: str) -> NamespaceIndex:
        """The loader behind the cache of selector indexes. At the start all namespaces want theirs at once;
        one is made in each turn of the loop."""
        async with self._building:
            await asyncio.sleep(0)
            return self.build_index(namespace)

    def build_index(self, namespace: str) -> NamespaceIndex:
        """An index of the namespace as it is now."""
        index = NamespaceIndex(self.index_limit)
        index.build(self.services.by("sources", namespace), self.pods.by("namespace", namespace))
        return index

    def source(self, key: Key) -> ServiceView | None:
        view = self.services.get(key)
        return view if view is not None and is_source(view) else None

    def snapshot(self, key: Key, index: NamespaceIndex | None) -> Snapshot:
        """Everything around the Service ``key`` now. Without an index its pods are found the slow way.

        Raises PodsUnknown for one that is opted in.
        """
        namespace, name = key
        source = self.services.get(key)
        managed = tuple(self.services.by("managed", key))
        slices = tuple(self.slices.by("managed", key))
        if source is None or not is_source(source):
            return Snapshot(namespace, name, source, services=managed, slices=slices)
        if not self.knows_pods(namespace):
            raise PodsUnknown(f"the pods of namespace {namespace} have not been read yet")
        pods = self._pods(source, index)
        policy = contract.parse_policy(name, source.annotations)
        wanted = policy.leader_name
        # Those whose label was edited away too: the owner says whose they are.
        slices += tuple(s for s in self.slices.by("owner", (namespace, wanted)) if s not in slices)
        rivals = (s for s in self.services.by("claims", (namespace, wanted)) if s.key != key)
        nodes = dict.fromkeys(pod.node for pod in pods if pod.node)
        zones = ((node, self.nodes.get(("", node))) for node in nodes)
        seen = Snapshot(
            namespace,
            name,
            source,
            pods=pods,
            at_name=self.services.get((namespace, wanted)),
            services=managed,
            slices=slices,
            rivals=tuple(rivals),
            zones=tuple((node, view.zone) for node, view in zones if view is not None),
        )
        # By name and whether it is selected or not: the decision compares the UID.
        routed = read_routed(seen, policy).name
        return msgspec.structs.replace(
            seen, routed_pod=self.pods.get((namespace, routed)) if routed else None
        )

    def _pods(self, source: ServiceView, index: NamespaceIndex | None) -> tuple[PodView, ...]:
        members = index.members(source.name) if index is not None else None
        if members is None:
            everyone = self.pods.by("namespace", source.namespace)
            return tuple(pod for pod in everyone if selected(source.selector, pod.labels))
        found = (self.pods.get((source.namespace, name)) for name in members)
        return tuple(pod for pod in found if pod is not None)


class Selectors:
    """The cache of selector indexes, kept up to date by the changes of Services and pods.

    It is filled by whoever needs it first: a worker, or a pod that changes where Services opted in.
    """

    def __init__(self, caches: Caches, cache: AsyncLRU[str, NamespaceIndex]) -> None:
        self._caches = caches
        self._cache = cache
        self.hits: dict[str, int] = {}  # by namespace with opted-in Services; drained by forget
        self.misses: dict[str, int] = {}  # likewise

    def peek(self, namespace: str) -> NamespaceIndex | None:
        """The index if it is loaded. Look it up anew after every wait: a dropped one is kept no longer."""
        return self._cache.peek(namespace)

    async def load(self, namespace: str) -> bool:
        """See to it that the index is loaded. False: that took too long, and lookups go the slow way."""
        counts = self.misses if self._cache.peek(namespace) is None else self.hits
        counts[namespace] = counts.get(namespace, 0) + 1
        try:
            await self._cache.get(namespace)
        except TimeoutError:
            return False
        return True

    def sweep(self, idle_s: float) -> None:
        """Drop the indexes that no worker has asked for in ``idle_s`` seconds, and the counts of namespaces
        that have no opted-in Service any more."""
        self._cache.sweep(idle_s)
        for namespace in list(self.hits | self.misses):
            if namespace not in self._caches.services.values_of("sources"):
                self.forget(namespace)

    def renew(self, namespace: str) -> None:
        """The index may lack what is known now."""
        self._cache.invalidate(namespace)

    def forget(self, namespace: str) -> None:
        self.hits.pop(namespace, None)
        self.misses.pop(namespace, None)
        self._cache.pop(namespace)

    def service_changed(self, old: ServiceView | None, new: ServiceView | None) -> None:
        view = new if new is not None else old
        index = self._cache.peek(view.namespace) if view is not None else None
        if view is None or index is None:
            return
        if new is not None and is_source(new):
            index.put_service(new.name, new.selector, self._caches.pods.by("namespace", new.namespace))
        else:
            index.drop_service(view.name)

    def pod_changed(self, old: PodView | None, new: PodView | None) -> list[str]:
        """Names of the Services that select the pod before or after; the store has the change already."""
        view = new if new is not None else old
        if view is None or view.namespace not in self._caches.services.values_of("sources"):
            return []  # nobody to serve: known without an index
        index = self._cache.peek(view.namespace)
        if index is None:
            self.misses[view.namespace] = self.misses.get(view.namespace, 0) + 1
            index = self._caches.build_index(view.namespace)
        self._cache.put(view.namespace, index)  # it is in use
        return index.move_pod(old, new)

    def keep(self, old: PodView | None, new: PodView | None) -> None:
        """A pod changed and nobody asks for whom: keep the index true if there is one."""
        view = new if new is not None else old
        index = self._cache.peek(view.namespace) if view is not None else None
        if index is not None:
            index.move_pod(old, new)
