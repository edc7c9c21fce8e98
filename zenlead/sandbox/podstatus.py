"""What a kubelet writes into a pod's status, as values.

Knows conditions, container states and phases. Refuses to know time sources and requests. The rule: a
condition's lastTransitionTime moves only when its status does.
Source: Kubernetes concepts, "Pod Lifecycle".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.sandbox.views import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zenlead.sandbox.objects import Body


def running(pod: Body, addresses: Sequence[str], host: str, now: float) -> Body:
    """The status of a pod whose containers run and are ready. ``now`` is Unix seconds."""
    started = {"running": {"startedAt": timestamp(now)}}
    status: Body = {
        "phase": "Running",
        "hostIP": host,
        "podIP": addresses[0],
        "podIPs": [{"ip": address} for address in addresses],
        "startTime": pod["status"].get("startTime") or timestamp(now),
        "containerStatuses": _containers(pod, started, ready=True),
        "conditions": pod["status"].get("conditions", []),
    }
    for name in ("Initialized", "ContainersReady", "Ready"):
        status["conditions"] = with_condition(status["conditions"], name, holds=True, now=now)
    return status


def readiness(pod: Body, *, ready: bool, now: float) -> Body:
    """The part of the status that says whether the pod is ready, when its containers go on running."""
    conditions = pod["status"].get("conditions", [])
    for name in ("ContainersReady", "Ready"):
        conditions = with_condition(conditions, name, holds=ready, now=now)
    containers = [{**one, "ready": ready} for one in pod["status"].get("containerStatuses", ())]
    return {"conditions": conditions, "containerStatuses": containers}


def crashed(pod: Body, *, restarts: bool, now: float) -> Body:
    """The status after every container has ended with an error."""
    ended = {"exitCode": 1, "reason": "Error", "finishedAt": timestamp(now), "startedAt": timestamp(now)}
    state = {"waiting": {"reason": "CrashLoopBackOff"}} if restarts else {"terminated": ended}
    status = readiness(pod, ready=False, now=now)
    status["containerStatuses"] = [
        {
            **one,
            "state": state,
            "lastState": {"terminated": ended},
            "restartCount": one["restartCount"] + (1 if restarts else 0),
            "started": False,
        }
        for one in _containers(pod, state, ready=False)
    ]
    if not restarts:
        status["phase"] = "Failed"
    return status


def with_condition(conditions: Sequence[Body], name: str, *, holds: bool, now: float) -> list[Body]:
    """The conditions with one of them set; its time is kept when it says the same as before."""
    wanted = "True" if holds else "False"
    for condition in conditions:
        if condition["type"] == name and condition["status"] == wanted:
            return list(conditions)
    fresh = {"type": name, "status": wanted, "lastProbeTime": None, "lastTransitionTime": timestamp(now)}
    return [*(one for one in conditions if one["type"] != name), fresh]


def _containers(pod: Body, state: Body, *, ready: bool) -> list[Body]:
    """One entry for each container, with the restart counts of before."""
    held: dict[str, Any] = {one["name"]: one for one in pod["status"].get("containerStatuses", ())}
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": held.get(container["name"], {}).get("restartCount", 0),
            "state": state,
            "lastState": held.get(container["name"], {}).get("lastState", {}),
        }
        for container in pod["spec"]["containers"]
    ]
