"""What is ours: by label AND by the UID of the owner.

Knows the two signs that every object of ours carries. Refuses to know what is done with it.
Rule: only what these functions name is ever believed, changed or deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.lead import contract

if TYPE_CHECKING:
    from zenlead.lead.desired import Snapshot
    from zenlead.lead.views import ServiceView, SliceView

DRAIN_S = 3.0  # controllers that watch Services act within a fraction of it


def owned(service: ServiceView | None, source: ServiceView) -> bool:
    """Whether a Service is the leader Service of ``source``: by our label and by the UID of its controller.

    What an earlier life of ``source`` left behind has another UID: the garbage collector's, not ours.
    """
    return (
        service is not None
        and service.labels.get(contract.MANAGED_BY) == contract.MANAGER
        and service.owner is not None
        and (service.owner.kind, service.owner.uid) == ("Service", source.uid)
    )


def orphaned(service: ServiceView, source: ServiceView) -> bool:
    """Whether a Service is what an earlier life of ``source`` left behind: our label, and an owner of that
    name with another UID. Two Services never have one name at a time, so that owner is gone."""
    return (
        service.labels.get(contract.MANAGED_BY) == contract.MANAGER
        and service.owner is not None
        and (service.owner.kind, service.owner.name) == ("Service", source.name)
        and service.owner.uid != source.uid
    )


def draining_s(service: ServiceView, now: float) -> float:
    """For how many seconds more a leader Service keeps the selector that matches nobody, which makes other
    controllers empty what they made for an earlier selector; 0 for any other selector, or none."""
    until = service.selector.get(contract.NOBODY_UNTIL, "") if len(service.selector) == 1 else ""
    left_s = int(until) - now if until.isascii() and until.isdigit() and len(until) < 12 else 0.0
    return left_s if 0.0 < left_s <= DRAIN_S + 1.0 else 0.0


def labelled(observed: SliceView) -> bool:
    """Whether a slice has a managed-by label of ours; one of the two may have been edited away."""
    return contract.MANAGER in (
        observed.labels.get(contract.SLICE_MANAGED_BY),
        observed.labels.get(contract.MANAGED_BY),
    )


def owned_slices(snapshot: Snapshot, leader_name: str) -> list[SliceView]:
    """Slices of ours. One whose owner is an earlier life of the served leader Service (deleted and made anew)
    is taken over, so that the garbage collector does not interrupt the routing."""
    uids = {s.uid for s in snapshot.services if snapshot.source is not None and owned(s, snapshot.source)}
    return [
        s
        for s in snapshot.slices
        if labelled(s)
        and s.owner is not None
        and s.owner.kind == "Service"
        and (s.owner.uid in uids or (leader_name and s.owner.name == leader_name))
    ]
