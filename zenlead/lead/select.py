"""Which pods may lead, and which of them should.

Knows the fitness rules and the rankings. Refuses to know who leads now (decide.py weighs that).
Rule: fitness never depends on the ranking, and ranking never revives a pod that is not fit.
"""

from __future__ import annotations

import hashlib
import re
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.lead import contract
from zenlead.lead.addresses import address
from zenlead.lead.contract import Policy, Problem, Reason
from zenlead.lead.golang import parse_bool
from zenlead.lead.ports import Unresolved, resolve
from zenlead.lead.rollout import ordinal
from zenlead.lead.views import FINISHED_PHASES, PodView, ServiceView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


PRIORITY = re.compile(r"-?[0-9]{1,9}")


class Need(msgspec.Struct, frozen=True):
    """What a leader must offer: the selector, the families of the leader Service, and the ports."""

    source: ServiceView
    families: tuple[str, ...]


def selected(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether an equality selector matches; an empty one matches nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def unfit(pod: PodView, need: Need) -> Reason | None:
    """Why the pod cannot lead, or None. What cannot come back is named first."""
    if pod.phase in FINISHED_PHASES:
        return Reason.FINISHED
    if pod.deleted_at is not None:
        return Reason.TERMINATING
    if not selected(need.source.selector, pod.labels) or not is_candidate(pod):
        return Reason.DESELECTED
    if any(address(pod, family) is None for family in need.families):
        return Reason.NO_IP
    if pod.phase != "Running" or pod.ready_since is None:
        return Reason.NOT_READY
    if isinstance(resolve(need.source.ports, pod), Unresolved):
        return Reason.PORT_UNRESOLVED
    return None


def is_candidate(pod: PodView) -> bool:
    """Whether the pod's owner lets it lead; a value that is no boolean counts as true, the default."""
    if pod.candidate is None:
        return True
    try:
        return parse_bool(pod.candidate)
    except ValueError:
        return True


def priority(pod: PodView) -> int:
    """The pod's rank before any strategy, higher first; 0 when none is given or it is no number."""
    return int(pod.priority) if pod.priority is not None and PRIORITY.fullmatch(pod.priority) else 0


def pod_problems(pod: PodView) -> list[Problem]:
    """What the pod's owner wrote that does not parse."""
    found = []
    if pod.priority is not None and not PRIORITY.fullmatch(pod.priority):
        found.append(Problem(contract.PRIORITY, pod.priority, "an integer", pod.name))
    if pod.candidate is not None:
        try:
            parse_bool(pod.candidate)
        except ValueError as error:
            found.append(Problem(contract.CANDIDATE, pod.candidate, str(error), pod.name))
    return found


def ripe_at(pod: PodView, policy: Policy) -> float:
    """When (Unix seconds) a pod has been Ready long enough to become leader; infinity if it is not Ready."""
    return ready_for(pod, policy.min_ready_s)


def ready_for(pod: PodView, seconds: float) -> float:
    """When (Unix seconds) a pod has been Ready for so long. Where nothing is to be waited for, long ago: a
    node whose clock is ahead says that its pods turn Ready in the future."""
    if pod.ready_since is None:
        return float("inf")
    return pod.ready_since + seconds if seconds else float("-inf")


def _ordinal(pod: PodView) -> int:
    """Pods without an ordinal come last."""
    found = ordinal(pod)
    return sys.maxsize if found is None else found


def _draw(pod: PodView, service_uid: str) -> bytes:
    """The same lot for the same pod of the same Service, whoever draws it."""
    return hashlib.blake2b(f"{service_uid}/{pod.uid}".encode(), digest_size=8).digest()


# A pod's rank, lower first; the second argument is the UID of the Service.
STRATEGIES: dict[str, Callable[[PodView, str], tuple[Any, ...]]] = {
    "oldest": lambda pod, _: (pod.created,),
    "newest": lambda pod, _: (-pod.created,),
    "ordinal": lambda pod, _: (_ordinal(pod),),
    "least-restarts": lambda pod, _: (pod.restarts, pod.created),
    "random": lambda pod, service_uid: (_draw(pod, service_uid),),
}


def best(
    pods: Iterable[PodView],
    strategy: str = "oldest",
    service_uid: str = "",
    replaced_in: Mapping[str, int] = MappingProxyType({}),
) -> PodView | None:
    """The pod that ranks first: by priority, then by how late a rollout replaces it (``replaced_in``, by UID;
    those not in it are safe), then by strategy, then by name."""
    rank = STRATEGIES[strategy]
    return min(
        pods,
        key=lambda pod: (
            -priority(pod),
            replaced_in.get(pod.uid, 0),
            *rank(pod, service_uid),
            pod.name,
        ),
        default=None,
    )
