"""A StatefulSet and a Deployment that roll out a new revision, pod by pod, as their controllers do.

Knows in which order pods are made, become ready and end. Refuses to know leaders: after each change it tells
its observer, who may look at ``pods`` and ``now``.
Source: the rolling update of StatefulSets (OrderedReady) and of Deployments (maxSurge, maxUnavailable), and
the order in which a ReplicaSet scales down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from zenlead.lead.views import PodView

if TYPE_CHECKING:
    import random

OLD, NEW = "6f9d8c7b5", "7c8e9f6d4"
START = 1_750_000_000.0
STEP_S = 3.0
GRACE_S = 30.0


class Rollout:
    """``labels`` gives a pod's labels from its revision. ``now`` moves with every change."""

    def __init__(self, draw: random.Random, observe: Callable[[], None]) -> None:
        self.draw = draw
        self.observe = observe
        self.now = START
        self.pods: dict[str, PodView] = {}  # by UID
        self.ended: list[str] = []  # UIDs, in the order in which they were told to stop

    def add(self, name: str, revision_label: str, revision: str, *, created: float) -> PodView:
        uid = f"{self.draw.getrandbits(64):016x}"
        made = PodView(
            namespace="t1",
            name=name,
            uid=uid,
            labels={"app": "web", revision_label: revision},
            created=created,
            phase="Pending",
            node="n1",
        )
        self.pods[uid] = made
        return made

    def change(self, pod: PodView, **fields: object) -> None:
        self.pods[pod.uid] = msgspec.structs.replace(self.pods[pod.uid], **fields)
        self.step()

    def step(self) -> None:
        self.now += STEP_S
        self.observe()

    def become_ready(self, pod: PodView, since: float | None = None) -> None:
        number = len(self.pods) + self.draw.randrange(200)
        since = self.now if since is None else since
        self.change(pod, phase="Running", ips=(f"10.1.0.{number}",), ready_since=since)

    def end(self, pod: PodView) -> None:
        """The pod is told to stop; it stays ready until ``remove``."""
        self.ended.append(pod.uid)
        self.change(pod, deleted_at=self.now + GRACE_S)

    def remove(self, pod: PodView) -> None:
        del self.pods[pod.uid]
        self.step()

    def alive(self, revision_label: str, revision: str) -> list[PodView]:
        return [
            pod
            for pod in self.pods.values()
            if pod.labels[revision_label] == revision and pod.deleted_at is None
        ]


STATEFUL = "controller-revision-hash"


def stateful_set(rollout: Rollout, ages: list[float]) -> Callable[[], None]:
    """Makes the old pods with these ages (seconds, by ordinal); returns what rolls them out."""
    for number, age in enumerate(ages):
        pod = rollout.add(f"web-{number}", STATEFUL, OLD, created=START - age - 5.0)
        rollout.become_ready(pod, START - age)

    def run() -> None:
        for number in reversed(range(len(ages))):
            pod = next(p for p in rollout.pods.values() if p.name == f"web-{number}")
            rollout.end(pod)
            rollout.remove(pod)
            fresh = rollout.add(pod.name, STATEFUL, NEW, created=rollout.now)
            rollout.step()
            rollout.become_ready(fresh)

    return run


REPLICA = "pod-template-hash"
EndsFirst: TypeAlias = Callable[[PodView, float], tuple[float | str, ...]]


def ends_first_by_time(pod: PodView, now: float) -> tuple[float | str, ...]:
    return (math.inf if pod.ready_since is None else now - pod.ready_since, pod.created)


def ends_first_by_magnitude(pod: PodView, now: float) -> tuple[float | str, ...]:
    ready_ns = max(1.0, (now - (pod.ready_since or now)) * 1e9)
    return (int(math.log2(ready_ns)), pod.uid)


def deployment(
    rollout: Rollout,
    ages: list[float],
    ends_first: EndsFirst,
) -> Callable[[], None]:
    """Likewise, with the default maxSurge and maxUnavailable of 25 %."""
    size = len(ages)
    surge, unavailable = math.ceil(size / 4), size // 4
    name = iter(range(10_000))

    def add(revision: str, created: float) -> PodView:
        return rollout.add(f"web-{revision}-{next(name):05d}", REPLICA, revision, created=created)

    for age in ages:
        rollout.become_ready(add(OLD, START - age - 5.0), START - age)

    def sync() -> bool:
        """One step of the Deployment controller; False when there is nothing to do for it."""
        old, new = rollout.alive(REPLICA, OLD), rollout.alive(REPLICA, NEW)
        available = [pod for pod in [*old, *new] if pod.ready_since is not None]
        room = min(size + surge - len(old) - len(new), size - len(new))
        for _ in range(room):
            add(NEW, rollout.now)
            rollout.step()
        if room > 0:
            return True
        surplus = min(len(available) - (size - unavailable), len(old))
        for pod in sorted(old, key=lambda pod: ends_first(pod, rollout.now))[: max(0, surplus)]:
            rollout.end(pod)
        return surplus > 0

    def elsewhere() -> bool:
        """Something that kubelets do: a new pod becomes ready, or one that was told to stop is gone."""
        waiting = [pod for pod in rollout.alive(REPLICA, NEW) if pod.ready_since is None]
        ending = [pod for pod in rollout.pods.values() if pod.deleted_at is not None]
        if not waiting and not ending:
            return False
        if waiting and (not ending or rollout.draw.random() < 0.5):
            rollout.become_ready(rollout.draw.choice(waiting))
        else:
            rollout.remove(rollout.draw.choice(ending))
        return True

    def run() -> None:
        while sync() or elsewhere():
            pass
        assert {pod.labels[REPLICA] for pod in rollout.pods.values()} == {NEW}
        assert len(rollout.pods) == size

    return run
