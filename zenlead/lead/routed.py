"""Who leads at this moment, as the observed objects say.

Knows how a leader is written into a slice and a leader Service, by us and by the Go zen-lead. Refuses to
judge the leader. Rule: there is no memory beside the objects, so a restart changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from zenlead.lead import contract
from zenlead.lead.desired import Routed
from zenlead.lead.ownership import owned, owned_slices
from zenlead.lead.select import best

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zenlead.lead.contract import Policy
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import PodView, ServiceView, SliceView

S = TypeVar("S", "ServiceView", "SliceView")


def read_routed(snapshot: Snapshot, policy: Policy) -> Routed:
    """Who leads now: the endpoint of the slice, else what the leader Service says.

    Of several names the Service had, the highest epoch is the last word. The slice is written first, so its
    higher epoch wins; at the same epoch the two must agree, and a slice that names another pod was edited by
    a stranger.
    """
    source = snapshot.source
    slices = _last_word_first(owned_slices(snapshot, policy.leader_name), policy)
    services = _last_word_first(
        (s for s in snapshot.services if source is not None and owned(s, source)), policy
    )
    by_slice = next((_by_slice(s, epoch, snapshot.pods) for epoch, s in slices if s.endpoints), None)
    service_epoch, said = (services[0][0], services[0][1].annotations) if services else (0, {})
    by_service = Routed(
        said.get(contract.LEADER_POD_UID, ""), said.get(contract.LEADER_POD_NAME, ""), service_epoch
    )
    epoch = max(slices[0][0] if slices else 0, service_epoch)
    if by_slice is None and slices:
        return Routed(epoch=epoch)
    if by_slice is None or (by_service.uid and by_service.epoch and by_slice.epoch <= by_service.epoch):
        return Routed(by_service.uid, by_service.name, epoch)
    return Routed(by_slice.uid, by_slice.name, epoch)


def _last_word_first(observed: Iterable[S], policy: Policy) -> list[tuple[int, S]]:
    """With their epochs; of equal ones that of the name that is wanted comes first."""
    found = [(epoch_of(one.annotations), one) for one in observed]
    if len(found) > 1:
        found.sort(key=lambda pair: (pair[0], pair[1].name == policy.leader_name), reverse=True)
    return found


def _by_slice(observed: SliceView, epoch: int, pods: tuple[PodView, ...]) -> Routed:
    endpoint = observed.endpoints[0]
    if endpoint.target_uid:
        return Routed(endpoint.target_uid, endpoint.target_name, epoch)
    # A slice without a target's UID (an older writer's): the pod that has the address. On the host's network
    # several may have it; then the one that is named, or one as good as another that is always the same.
    there = [pod for pod in pods if set(pod.ips) & set(endpoint.addresses)]
    pod = next((pod for pod in there if pod.name == endpoint.target_name), best(there))
    uid, name = (pod.uid, pod.name) if pod else ("", endpoint.target_name)
    return Routed(uid, name, epoch)


def epoch_of(annotations: dict[str, str]) -> int:
    """The leader epoch in annotations; 0 when there is none, or what stands there is no count."""
    value = annotations.get(contract.EPOCH, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
