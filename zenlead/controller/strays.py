"""Slices that another controller left on a leader Service while somebody had put a selector on it.

Knows that they route traffic past the leader, and that our slice informer does not see them. Refuses to touch
what belongs to any other Service, or names no other controller. Rule: only a Service on which a selector was
seen is looked at, and it is looked at twice: its own controller may be in the middle of a write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from zenlead.kube.errors import Conflict, NotFound
from zenlead.kube.resources import ENDPOINT_SLICES
from zenlead.lead import contract
from zenlead.lead.wire import WireSlice  # noqa: TC001 - msgspec reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.controller.apply import Sender
    from zenlead.kube.resources import Resource
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import Key

AGAIN_AFTER_S = 5.0  # a sync of the native controller that was under way is over by then
LIMIT = "500"  # a Service of 50,000 endpoints has that many slices


class Lists(Protocol):
    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes: ...


class _Page(msgspec.Struct):
    items: list[WireSlice] | None = None


class Strays:
    """Remembers which Services to look at; each is forgotten after its second look."""

    def __init__(self, reads: Lists) -> None:
        self._reads = reads
        self._looks: dict[Key, int] = {}  # how many looks are left; removed with the last

    def __repr__(self) -> str:
        return f"Strays({len(self._looks)} Services to look at)"

    def notice(self, seen: Snapshot) -> None:
        """Look at the Service if its leader Service has a selector."""
        if seen.at_name is not None and seen.at_name.selector:
            self._looks[seen.namespace, seen.name] = 2

    async def remove(self, seen: Snapshot, sender: Sender) -> float | None:
        """Delete what is there now, if the Service is to be looked at. Returns after how many seconds to look
        again. Raises ApiError."""
        key = (seen.namespace, seen.name)
        if key not in self._looks or seen.at_name is None or seen.at_name.selector:
            return None
        query = {"labelSelector": f"{contract.SERVICE_NAME}={seen.at_name.name}", "limit": LIMIT}
        page = msgspec.json.decode(await self._reads.list(ENDPOINT_SLICES, seen.namespace, query), type=_Page)
        for stray in (wire.view() for wire in page.items or ()):
            # The native controller copies a Service's labels to its slices, so only this one tells.
            if stray.labels.get(contract.SLICE_MANAGED_BY) in (None, contract.MANAGER):
                continue
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": stray.uid}}
            try:
                await sender.delete(ENDPOINT_SLICES, seen.namespace, stray.name, msgspec.json.encode(options))
            except (Conflict, NotFound):
                continue  # gone, or another by now
        self._looks[key] -= 1
        if self._looks[key]:
            return AGAIN_AFTER_S
        del self._looks[key]
        return None

    def forget(self, key: Key) -> None:
        """The Service is not ours to look at any more."""
        self._looks.pop(key, None)
