"""Who leads at this moment, as the observed objects say.

Knows how a leader is written into a slice and a leader Service, by us and by the Go zen-lead. Refuses to
judge the leader. Rule: there is no memory beside the objects, so a restart changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.lead import contract
from zenlead.lead.desired import Routed
from zenlead.lead.ownership import owned, owned_slices
from zenlead.lead.select import best

if TYPE_CHECKING:
    from zenlead.lead.contract import Policy
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import PodView, ServiceView, SliceView


def read_routed(snapshot: Snapshot, policy: Policy) -> Routed:
    """Who leads now: the endpoint of the slice, else what the leader Service says.

    Of several names the Service had, the highest epoch is the last word. The slice is written first, so its
    higher epoch wins; at the same epoch the two must agree, and a slice that names another pod was edited by
    a stranger.
    """
    slices = owned_slices(snapshot, policy.leader_name)
    source = snapshot.source
    services = [s for s in snapshot.services if source is not None and owned(s, source)]

    def last_word(observed: SliceView | ServiceView) -> tuple[int, bool]:
        return epoch_of(observed.annotations), observed.name == policy.leader_name

    slices.sort(key=last_word, reverse=True)
    services.sort(key=last_word, reverse=True)
    by_slice = next((_by_slice(s, snapshot.pods) for s in slices if s.endpoints), None)
    said = services[0].annotations if services else {}
    by_service = Routed(
        said.get(contract.LEADER_POD_UID, ""), said.get(contract.LEADER_POD_NAME, ""), epoch_of(said)
    )
    epochs = [epoch_of(s.annotations) for s in slices] + [epoch_of(s.annotations) for s in services]
    epoch = max(epochs, default=0)
    if by_slice is None and slices:
        return Routed(epoch=epoch)
    if by_slice is None or (by_service.uid and by_service.epoch and by_slice.epoch <= by_service.epoch):
        return Routed(by_service.uid, by_service.name, epoch)
    return Routed(by_slice.uid, by_slice.name, epoch)


def _by_slice(observed: SliceView, pods: tuple[PodView, ...]) -> Routed:
    endpoint = observed.endpoints[0]
    if endpoint.target_uid:
        return Routed(endpoint.target_uid, endpoint.target_name, epoch_of(observed.annotations))
    # A slice without a target's UID (an older writer's): the pod that has the address. On the host's network
    # several may have it; then the one that is named, or one as good as another that is always the same.
    there = [pod for pod in pods if set(pod.ips) & set(endpoint.addresses)]
    pod = next((pod for pod in there if pod.name == endpoint.target_name), best(there))
    uid, name = (pod.uid, pod.name) if pod else ("", endpoint.target_name)
    return Routed(uid, name, epoch_of(observed.annotations))


def epoch_of(annotations: dict[str, str]) -> int:
    """The leader epoch in annotations; 0 when there is none, or what stands there is no count."""
    value = annotations.get(contract.EPOCH, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
