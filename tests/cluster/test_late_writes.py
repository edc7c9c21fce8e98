"""A write that reaches the API server when its sender has given it up, and has decided otherwise since."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.faultproxy import Asked, Late, Rule
from tests.cluster.scene import eventually
from zenlead.kube.lanes import ATTEMPT_TIMEOUT_S
from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

LEADER = "web-leader"
LATE_S = 3.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def lives_through(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead, proxy: FaultProxy, tmp_path: Path
) -> None:
    """web-0 leads, by a controller whose requests can be held up."""
    for pod in ("web-0", "web-1"):
        await namespace.pod(pod)
    await namespace.service("web")
    await zenlead_process(kubeconfig=proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name))
    await recorder.wait_leader(LEADER, "web-0")
    await recorder.quiet(0.6)


async def under_way(late: Rule) -> None:
    async def struck() -> bool:
        return bool(late.struck)

    await eventually(struck, "the write is under way")


async def test_a_deletion_that_arrives_late_does_not_take_what_is_in_use_again(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Opted out, and in again before the deletion was done."""
    await lives_through(namespace, recorder, zenlead_process, proxy, tmp_path)

    def is_deletion(asked: Asked) -> bool:
        return asked.method == "DELETE" and asked.path.endswith(f"/endpointslices/{LEADER}")

    late = proxy.on(is_deletion, Late(LATE_S), times=1)
    await namespace.annotate("web", {"zen-lead.io/enabled": None})
    await under_way(late)
    await namespace.annotate("web", {"zen-lead.io/enabled": "true"})
    await asyncio.sleep(LATE_S + 1.0)
    assert "DELETED" not in {r.type for r in recorder.slice(LEADER)}
    assert recorder.leaders(LEADER) == ["web-0"]
    await namespace.pod_status("web-0", ready=False)
    await recorder.wait_leader(LEADER, "web-1")


async def test_a_move_that_arrives_late_does_not_undo_that_the_leader_stayed(
    namespace: Namespace, recorder: Recorder, zenlead_process: StartZenlead, proxy: FaultProxy, tmp_path: Path
) -> None:
    """The leader is well again, and the one that it would have moved to is not any more."""
    await lives_through(namespace, recorder, zenlead_process, proxy, tmp_path)

    def is_move(asked: Asked) -> bool:
        return asked.method == "PATCH" and asked.path.endswith(f"/endpointslices/{LEADER}")

    late = proxy.on(is_move, Late(ATTEMPT_TIMEOUT_S + LATE_S), times=1)
    await namespace.pod_status("web-0", ready=False)
    await under_way(late)
    started = now()
    await namespace.pod_status("web-0", ready=True)
    await namespace.pod_status("web-1", ready=False)
    await asyncio.sleep(started + ATTEMPT_TIMEOUT_S + LATE_S + 1.0 - now())
    assert recorder.leaders(LEADER) == ["web-0"]
    assert recorder.events("LeaderChanged") == []
    service = await namespace.client.get(SERVICES, namespace.name, LEADER)
    assert service["metadata"]["annotations"]["zen-lead.io/current-leader"] == "web-0"
