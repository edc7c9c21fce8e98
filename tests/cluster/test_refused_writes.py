"""What an API server will never take: told to the user once, tried in no hurry, and in nobody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zenlead.kube.resources import SERVICES

if TYPE_CHECKING:
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SLICE = "web-leader"
ANNOTATIONS_LIMIT = 256 * 1024  # bytes that the API server takes for one object
SECONDS_5 = 5.0  # a failover takes a small part of this; the machine may be busy


def now() -> float:
    return asyncio.get_running_loop().time()


async def refused_writes(process: ZenleadProcess) -> float:
    """Passes that failed since the start."""
    samples = await process.metrics()
    return sum(v for n, v in samples.items() if "reconciliation_errors_total{" in n)


async def test_annotations_that_are_too_large_are_left_out_and_the_rest_is_served(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    large = {"leader.zen-lead.io/a": "x" * 130_000, "leader.zen-lead.io/b": "x" * 130_000}
    await pods.service("web", annotations=large)
    await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    assert "a" not in (await pods.client.get(SERVICES, pods.name, SLICE))["metadata"]["annotations"]
    (event,) = recorder.events("InvalidAnnotation", regarding="web")
    assert "leader.zen-lead.io/" in event["note"]
    await pods.annotate("web", {"leader.zen-lead.io/b": "y"})

    def has_both() -> bool:
        last = recorder.revisions(SERVICES, SLICE)[-1].body["metadata"]["annotations"]
        return (len(last.get("a", "")), last.get("b")) == (130_000, "y")

    await recorder.wait(lambda _: has_both(), "both annotations")


async def test_a_leader_service_that_cannot_be_written_does_not_hold_up_a_failover(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    process = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    # Somebody fills the leader Service to the brim, so that one longer pod name is too much.
    stands = (await pods.client.get(SERVICES, pods.name, SLICE))["metadata"]["annotations"]
    used = sum(len(key) + len(value) for key, value in stands.items())
    await pods.annotate(SLICE, {"theirs": "x" * (ANNOTATIONS_LIMIT - used - len("theirs") - 1)})
    await pods.pod("web-with-a-longer-name", annotations={"zen-lead.io/priority": "9"})
    started = now()
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-with-a-longer-name", since=started, timeout_s=SECONDS_5)
    await recorder.wait(lambda _: bool(recorder.events("WriteRefused")), "the warning")
    before = await refused_writes(process)
    await asyncio.sleep(4.0)
    assert await refused_writes(process) - before <= 12, "each try is later than the one before"
    (event,) = recorder.events("WriteRefused", regarding="web")
    assert event["type"] == "Warning"
    assert "patch services/web-leader" in event["note"]
    assert "Too long" in event["note"]
    again = now()
    await pods.pod_status("web-with-a-longer-name", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=again, timeout_s=SECONDS_5)
    await pods.annotate(SLICE, {"theirs": None})

    def told() -> bool:
        last = recorder.revisions(SERVICES, SLICE)[-1].body["metadata"]["annotations"]
        return last.get("zen-lead.io/leader-pod-name") == "web-1"

    await recorder.wait(lambda _: told(), "the leader Service is as it should be")
    assert len(recorder.events("WriteRefused")) == 1
