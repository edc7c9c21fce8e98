"""Which pods a running rollout is about to replace, and in which order.

Knows how StatefulSets and Deployments mark revisions and whom they end first. Refuses to know who leads.
Rule: one revision per workload means no rollout, and then this module has no say. Two workloads behind one
Service (blue and green) are no rollout of each other.
Source: the StatefulSet controller replaces from the highest ordinal down. The ReplicaSet controller ends
first what became ready last; since 1.22 it compares that time's order of magnitude, then the UID.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from zenlead.lead.views import PodView

STATEFUL_REVISION = "controller-revision-hash"
REPLICA_REVISION = "pod-template-hash"
ORDINAL = re.compile(r"-([0-9]{1,9})$")
NANOSECONDS = 1e9  # the unit in which the ReplicaSet controller takes its logarithm


def replaced_in(pods: Iterable[PodView], now: float) -> dict[str, int]:
    """For each pod that a rollout has still to replace, by UID: 1 for the one that goes last, 2 for the one
    before it, and so on. Pods that are safe are not in it. ``pods`` are all that the Service selects."""
    workloads: defaultdict[str, list[PodView]] = defaultdict(list)
    for pod in pods:
        if revision(pod):
            workloads[_workload(pod)].append(pod)
    found: dict[str, int] = {}
    for members in workloads.values():
        newest = revision(max(members, key=lambda pod: (pod.created, pod.name)))
        old = [pod for pod in members if revision(pod) != newest]
        found |= {pod.uid: place for place, pod in enumerate(_last_first(old, now), start=1)}
    return found


def revision(pod: PodView) -> str:
    """The revision of the pod's template; empty when no controller wrote one."""
    return pod.labels.get(STATEFUL_REVISION) or pod.labels.get(REPLICA_REVISION, "")


def ordinal(pod: PodView) -> int | None:
    """The StatefulSet ordinal at the end of the name."""
    digits = ORDINAL.search(pod.name)
    return int(digits[1]) if digits else None


def _workload(pod: PodView) -> str:
    """What the names of all pods of one StatefulSet or Deployment have in common."""
    template = pod.labels.get(REPLICA_REVISION)
    if template and f"-{template}-" in pod.name:
        return pod.name.rpartition(f"-{template}-")[0]
    return ORDINAL.sub("", pod.name)


def _last_first(old: Sequence[PodView], now: float) -> list[PodView]:
    if all(STATEFUL_REVISION in pod.labels and ordinal(pod) is not None for pod in old):
        return sorted(old, key=lambda pod: ordinal(pod) or 0)
    by_time = _places(old, lambda pod: (_ready_for_s(pod, now), -pod.restarts, -pod.created))
    by_magnitude = _places(old, lambda pod: (_magnitude(_ready_for_s(pod, now)), pod.uid))
    # Which of the two orders holds depends on the cluster's release: a pod is as safe as in the worse one.
    return sorted(
        old, key=lambda pod: (min(by_time[pod.uid], by_magnitude[pod.uid]), by_time[pod.uid]), reverse=True
    )


def _places(
    pods: Sequence[PodView], ends_first: Callable[[PodView], tuple[float | str, ...]]
) -> dict[str, int]:
    return {pod.uid: place for place, pod in enumerate(sorted(pods, key=ends_first))}


def _ready_for_s(pod: PodView, now: float) -> float:
    return -1.0 if pod.ready_since is None else max(0.0, now - pod.ready_since)


def _magnitude(ready_for_s: float) -> int:
    return int(math.log2(ready_for_s * NANOSECONDS)) if ready_for_s > 0 else -1
