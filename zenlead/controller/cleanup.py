"""What zenlead has made, taken away: for those who leave, when nobody is to write any more.

Knows which objects are ours, by the rule of lead/ownership.py, and in which order they go. Refuses to know
who asked. The rule not to break: nothing is deleted beside a replica that works, so all is done with the
Lease in hand.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from zenlead.kube.errors import Conflict, NotFound
from zenlead.kube.lease import Elector, NoElection
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, PODS, SERVICES, Resource
from zenlead.lead import contract
from zenlead.lead.ownership import labelled, owned
from zenlead.lead.wire import WireMeta, WireService, WireSlice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from zenlead.controller.parameters import Parameters
    from zenlead.kube.api import Api
    from zenlead.kube.lease import LeaseApi
    from zenlead.lead.views import Key, ServiceView

T = TypeVar("T")

PAGE = "500"  # objects of one answer, as kubectl asks for
PODS_PERIOD_S = 1.0  # between two looks at pods that end
PODS_PATIENCE_S = 120.0  # for pods that end: longer than any sensible grace period
LEASE_MARGIN_S = 5.0  # beyond the time after which a Lease that nobody renews is free


class CleanupError(Exception):
    """Nothing was deleted, or not all of it; the message says why and what to do."""


class Leftover(msgspec.Struct, frozen=True):
    """One object of ours."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.namespace}/{self.name}"


class _ListMeta(msgspec.Struct):
    more: str | None = msgspec.field(default=None, name="continue")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None


class _WireAny(msgspec.Struct):
    metadata: WireMeta


async def leftovers(api: Api, namespaces: tuple[str, ...]) -> list[Leftover]:
    """Everything of ours in these namespaces (none: in all), each owner after what it owns. Raises ApiError.

    What belongs to a source that is gone is left to the garbage collector, which is about to take it.
    """
    found: list[Leftover] = []
    for namespace in namespaces or (None,):
        services: dict[Key, ServiceView] = {}
        async for service in _all(api, SERVICES, WireService, namespace):
            services[service.view().key] = service.view()
        leaders = {s.uid: s for s in services.values() if _is_leader(s, services)}
        ours = {"labelSelector": f"{contract.SLICE_MANAGED_BY}={contract.MANAGER}"}
        async for each in _all(api, ENDPOINT_SLICES, WireSlice, namespace, ours):
            slice_ = each.view()
            if labelled(slice_) and slice_.owner is not None and slice_.owner.uid in leaders:
                found.append(Leftover(ENDPOINT_SLICES, slice_.namespace, slice_.name, slice_.uid))
        found += [Leftover(SERVICES, s.namespace, s.name, s.uid) for s in leaders.values()]
    return found


def _is_leader(service: ServiceView, services: dict[Key, ServiceView]) -> bool:
    source = services.get((service.namespace, service.owner.name)) if service.owner else None
    return source is not None and owned(service, source)


async def _all(
    api: Api, resource: Resource, wire: type[T], namespace: str | None, selector: dict[str, str] | None = None
) -> AsyncIterator[T]:
    decoder = msgspec.json.Decoder(_Page[wire])  # type: ignore[valid-type]  # a type known at run time only
    query = {"limit": PAGE} | (selector or {})
    while True:
        page = decoder.decode(await api.list(resource, namespace, query))
        for item in page.items or ():
            yield item
        if not page.metadata.more:
            return
        query["continue"] = page.metadata.more


async def pods_gone(api: Api, namespace: str, selector: str) -> None:
    """Return when no pod has these labels any more. CleanupError when some stay; ApiError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PODS_PATIENCE_S
    while [pod async for pod in _all(api, PODS, _WireAny, namespace, {"labelSelector": selector})]:
        if loop.time() > deadline:
            raise CleanupError(f"pods of {selector} stayed for {PODS_PATIENCE_S:g} s; nothing was deleted")
        await asyncio.sleep(PODS_PERIOD_S)


async def clean(
    api: Api,
    election_api: LeaseApi,
    parameters: Parameters,
    *,
    now: Callable[[], float],
    say: Callable[[str], None],
) -> None:
    """Delete all of ours and then the Lease, holding it meanwhile; ``say`` hears of each object.

    CleanupError when somebody else holds the Lease and renews it, or takes it; ApiError.
    """
    elector = _elector(election_api, parameters, now)
    async with asyncio.TaskGroup() as group:
        competing = group.create_task(elector.run())
        try:
            await _lead(elector, parameters)
            for leftover in await leftovers(api, parameters.namespaces):
                if not elector.is_leader:
                    raise CleanupError(f"the Lease was lost to {elector.holder}; run it again")
                if await _delete(api, leftover):
                    say(str(leftover))
        finally:
            await elector.release()
            competing.cancel()
    if parameters.elect:
        lease = Leftover(LEASES, parameters.lease_namespace, parameters.lease_name, "")
        if await _delete(api, lease):
            say(str(lease))


def _elector(api: LeaseApi, parameters: Parameters, now: Callable[[], float]) -> Elector | NoElection:
    if parameters.elect:
        return Elector(api, parameters.election(), lambda _: None, now=now)
    return NoElection(parameters.identity, lambda _: None)


async def _lead(elector: Elector | NoElection, parameters: Parameters) -> None:
    patience_s = parameters.lease_duration_s + parameters.retry_period_s + LEASE_MARGIN_S
    try:
        async with asyncio.timeout(patience_s):
            await elector.wait_leading()
    except TimeoutError:
        why = elector.problem or f"{elector.holder or 'nobody'} holds it"
        lease = f"{parameters.lease_namespace}/{parameters.lease_name}"
        raise CleanupError(f"the Lease {lease} cannot be had: {why}; stop zenlead first") from None


async def _delete(api: Api, leftover: Leftover) -> bool:
    """Whether it was there and went; one that was made anew since it was seen stays."""
    options: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if leftover.uid:
        options["preconditions"] = {"uid": leftover.uid}
    try:
        await api.delete(leftover.resource, leftover.namespace, leftover.name, msgspec.json.encode(options))
    except (NotFound, Conflict):
        return False
    return True
