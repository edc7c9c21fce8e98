"""Slices that another controller left on a leader Service while somebody had put a selector on it.

Knows that they route traffic past the leader, and that our slice informer does not see them. Refuses to touch
what belongs to any other Service, or names no other controller. Rules: only a Service on which a selector was
seen, or which is found by the one survey of a term, is looked at; and it is looked at twice, since the other
controller may be in the middle of a write.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from zenlead.kube.errors import Conflict, NotFound
from zenlead.kube.resources import ENDPOINT_SLICES, SERVICES
from zenlead.lead import contract
from zenlead.lead.ownership import DRAIN_S, draining_s, owned
from zenlead.lead.wire import WireSlice  # noqa: TC001 - msgspec reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.controller.apply import Sender
    from zenlead.kube.resources import Resource
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import Key, ServiceView, SliceView

AGAIN_AFTER_S = 5.0  # a sync of the native controller that was under way is over by then
# What happened while nobody watched: the other controller copies our labels to the slices that it makes.
SURVEYED = f"{contract.SOURCE_SERVICE},{contract.SLICE_MANAGED_BY}!={contract.MANAGER}"
LOOKS = 2
# It copies, for Services without a selector, the Endpoints object that stays behind like the slices do.
MIRRORING = "endpointslicemirroring-controller.k8s.io"
LIMIT = "500"  # a Service of 50,000 endpoints has that many slices


class Lists(Protocol):
    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes: ...


class _Page(msgspec.Struct):
    items: list[WireSlice] | None = None


class Strays:
    """Remembers which Services to look at; each is forgotten after its second look.

    ``namespaces`` are those that are served (empty: all): a survey is one list for each of them.
    """

    def __init__(self, reads: Lists, namespaces: tuple[str, ...] = ()) -> None:
        self._reads = reads
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._unsurveyed: tuple[str | None, ...] = self._scopes
        self._looks: dict[Key, int] = {}  # how many looks are left; removed with the last
        self._drained: set[Key] = set()  # of those: once is enough, or it is of no use

    def __repr__(self) -> str:
        return f"Strays({len(self._looks)} Services to look at, {len(self._unsurveyed)} lists to come)"

    @property
    def due(self) -> bool:
        """Whether this term's survey has yet to be made."""
        return bool(self._unsurveyed)

    async def survey(self) -> list[Key]:
        """The Services that strays were left on before this term began; nothing after a term's first call.

        As the API server remembers it, which costs it little and may be a moment old. Raises ApiError; then
        the next call tries again.
        """
        scopes, self._unsurveyed = self._unsurveyed, ()
        found: dict[Key, int] = {}
        try:
            for scope in scopes:
                for stray in await self._list(scope, SURVEYED, version="0"):
                    found[stray.namespace, stray.labels[contract.SOURCE_SERVICE]] = LOOKS
        except BaseException:
            self._unsurveyed = scopes
            raise
        self._looks |= found
        return list(found)

    def new_term(self) -> None:
        """Another replica saw to it meanwhile, or nobody did."""
        self._unsurveyed = self._scopes
        self._looks.clear()
        self._drained.clear()

    def notice(self, seen: Snapshot) -> None:
        """Look at the Service if its leader Service has a selector."""
        if seen.at_name is not None and seen.at_name.selector:
            self._looks[seen.namespace, seen.name] = LOOKS

    async def remove(self, seen: Snapshot, sender: Sender, now: float) -> float | None:
        """Delete what is there now, if the Service is to be looked at. Returns after how many seconds to look
        again; ``now`` in Unix seconds. Raises ApiError."""
        key, leader_service = (seen.namespace, seen.name), seen.at_name
        if key not in self._looks or leader_service is None or seen.source is None:
            return None
        if leader_service.selector or not owned(leader_service, seen.source):  # if not ours, they are its own
            return draining_s(leader_service, now) or None
        for stray in await self._list(seen.namespace, f"{contract.SERVICE_NAME}={leader_service.name}"):
            # The native controller copies a Service's labels to its slices, so only this one tells.
            if stray.labels.get(contract.SLICE_MANAGED_BY) in (None, contract.MANAGER):
                continue
            if stray.labels[contract.SLICE_MANAGED_BY] == MIRRORING and key not in self._drained:
                self._drained.add(key)
                await self._drain(leader_service, sender, now)
                return DRAIN_S
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": stray.uid}}
            try:
                await sender.delete(ENDPOINT_SLICES, seen.namespace, stray.name, msgspec.json.encode(options))
            except (Conflict, NotFound):
                continue  # gone, or another by now
        self._looks[key] -= 1
        if self._looks[key]:
            return AGAIN_AFTER_S
        self.forget(key)
        return None

    async def _drain(self, service: ServiceView, sender: Sender, now: float) -> None:
        """Empty what slices are mirrored from, which is not ours to write: whose selector matches nobody, for
        that the other controllers see to it. The diff takes the selector off again."""
        selector = {contract.NOBODY_UNTIL: str(int(now + DRAIN_S))}
        body = {"metadata": {"resourceVersion": service.resource_version}, "spec": {"selector": selector}}
        with contextlib.suppress(Conflict, NotFound):  # then the next look finds what it finds
            await sender.patch(SERVICES, service.namespace, service.name, msgspec.json.encode(body))

    def forget(self, key: Key) -> None:
        """The Service need not be looked at any more."""
        self._looks.pop(key, None)
        self._drained.discard(key)

    async def _list(self, scope: str | None, selector: str, *, version: str = "") -> list[SliceView]:
        query = {"labelSelector": selector, "limit": LIMIT} | (
            {"resourceVersion": version} if version else {}
        )
        page = msgspec.json.decode(await self._reads.list(ENDPOINT_SLICES, scope, query), type=_Page)
        return [wire.view() for wire in page.items or ()]
