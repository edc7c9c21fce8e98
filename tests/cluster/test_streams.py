"""Through a bad network: streams cut, stalled and expired, odd lines, slow and failing writes.

The leader moves all the same, the last state wins, and the server is not flooded.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster.faultproxy import Answer, Bytewise, Delay, refusal, status_of
from tests.cluster.history import ENABLED
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from zenlead.kube.resources import Resource

SLICE = "web-leader"
FOLLOWED = (SERVICES, ENDPOINT_SLICES, PODS)
NOTE = "リーダー🚀" * 40
# How long a watch that carries nothing can hide a change: the server is asked to end each watch after the
# cache's ttl (with a sixth of jitter), and one that has not ended 5 s later is dead.
TTL_S = 3
STALL_S = TTL_S * 7 / 6 + 5


def now() -> float:
    return asyncio.get_running_loop().time()


def watch_of_pods(asked: Asked) -> bool:
    return asked.is_watch and asked.of(PODS)


async def fails_over(where: Namespace, recorder: Recorder, *, within_s: float = 5.0) -> None:
    """The leader falls, and the next one is routed to in one write."""
    leader = recorder.leaders(SLICE)[-1]
    following = f"web-{int(leader[-1]) + 1}"
    started = now()
    await where.pod_status(leader, ready=False)
    await recorder.wait_leader(SLICE, following, since=started, timeout_s=within_s)
    recorder.never_empty_between(SLICE, started, now())


async def test_a_stream_in_chunks_of_one_byte(
    namespace: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    proxy.on(lambda asked: asked.is_watch, Bytewise())
    for index in range(2):
        await namespace.pod(f"web-{index}", annotations={"note": NOTE})
    await namespace.service("web", annotations={"note": NOTE})
    await zenlead_process(kubeconfig=proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name))
    await recorder.wait_leader(SLICE, "web-0")
    streams = {resource: proxy.watches(resource) for resource in FOLLOWED}
    await namespace.annotate("web-0", {"note": NOTE[::-1]}, resource=PODS)
    await fails_over(namespace, recorder)
    assert {resource: proxy.watches(resource) for resource in FOLLOWED} == streams, "no watch was opened anew"


async def test_a_bookmark_moves_the_version_and_nothing_else(
    proxied: Namespace, recorder: Recorder, proxy: FaultProxy
) -> None:
    (stream,) = proxy.watches(PODS)
    listed = await proxied.client.list(PODS, proxied.name)
    version = listed["metadata"]["resourceVersion"]
    hollow = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "creationTimestamp": None},
        "spec": {"containers": None},
        "status": {},
    }
    await stream.inject(json.dumps({"type": "BOOKMARK", "object": hollow}).encode() + b"\n")
    await fails_over(proxied, recorder)
    assert not stream.closed
    started = now()
    await stream.cut(properly=True)
    await fails_over(proxied, recorder)
    assert proxy.full_lists(PODS, since=started) == []
    resumed = [a for a in proxy.asked if watch_of_pods(a) and a.at >= started]
    assert int(resumed[0].query["resourceVersion"]) >= int(version)


@pytest.mark.parametrize("resource", FOLLOWED, ids=lambda r: r.plural)
async def test_a_version_that_expires_in_the_stream(
    proxied: Namespace, recorder: Recorder, proxy: FaultProxy, resource: Resource
) -> None:
    started = now()
    (stream,) = proxy.watches(resource)
    gone = status_of(410, "Expired", "too old resource version: 1 (2)")
    await stream.inject(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
    await asyncio.sleep(0.5)
    await fails_over(proxied, recorder)
    assert 1 <= len(proxy.full_lists(resource, since=started)) <= 2


@pytest.mark.parametrize(
    "answer",
    [
        refusal(410, "Expired", "too old resource version"),
        refusal(504, "Timeout", "Too large resource version: 9, current: 8", "ResourceVersionTooLarge"),
    ],
    ids=["gone", "from the future"],
)
async def test_a_version_that_is_refused_on_connect(
    proxied: Namespace, recorder: Recorder, proxy: FaultProxy, answer: Answer
) -> None:
    """For as long as that version is asked for; one full list helps."""
    (stream,) = proxy.watches(PODS)
    stream.held = True  # so that the version stays behind
    stale = int((await proxied.client.list(PODS, proxied.name))["metadata"]["resourceVersion"])
    rule = proxy.on(
        lambda a: watch_of_pods(a) and not a.is_full and int(a.query["resourceVersion"]) <= stale, answer
    )
    await proxied.annotate("web-2", {"note": "the version moves on"}, resource=PODS)
    started = now()
    await stream.cut()
    await fails_over(proxied, recorder)
    await fails_over(proxied, recorder)
    assert 1 <= len(rule.struck) <= 2
    assert 1 <= len(proxy.full_lists(PODS, since=started)) <= 2


async def test_half_a_line_and_then_the_end(
    proxied: Namespace, recorder: Recorder, proxy: FaultProxy
) -> None:
    half = b'{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0","na'
    for properly in (True, False):
        started = now()
        (stream,) = proxy.watches(PODS)
        await stream.cut(half, properly=properly)
        await fails_over(proxied, recorder)
        assert proxy.full_lists(PODS, since=started) == [], "what was known is resumed, not asked for anew"


async def test_a_connection_that_silently_carries_nothing(
    pods: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    await pods.service("web")
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", pods.name)
    await zenlead_process(f"--leader-pod-cache-ttl-seconds={TTL_S}", kubeconfig=config)
    await recorder.wait_leader(SLICE, "web-0")
    await pods.service("other", selector={"app": "web"})
    await recorder.wait_leader("other-leader", "web-0")
    await recorder.quiet(0.6)
    for kind in (PODS, SERVICES):
        for stream in proxy.watches(kind):
            stream.held = True
    stalled = now()
    await asyncio.sleep(1.0)
    await pods.pod_status("web-0", ready=False)
    await pods.annotate("other", {ENABLED: None})
    moved = await recorder.wait_leader(SLICE, "web-1", timeout_s=STALL_S + 2.0)
    assert 1.0 <= moved.at - stalled <= STALL_S + 1.0
    gone = await recorder.wait(
        lambda r: r.type == "DELETED" and r.name == "other-leader" and r.resource == SERVICES.plural,
        "other-leader is gone",
        STALL_S + 2.0,
    )
    assert 1.0 <= gone.at - stalled <= STALL_S + 1.0
    assert proxy.full_lists(PODS, since=stalled) == []


async def test_the_last_state_wins_however_slow_the_write(
    proxied: Namespace, recorder: Recorder, proxy: FaultProxy
) -> None:
    slow = proxy.on(lambda a: a.method == "PATCH" and a.of(ENDPOINT_SLICES), Delay(0.5), times=1)
    started = now()
    for ready in (False, True, False):
        await proxied.pod_status("web-0", ready=ready)
        await asyncio.sleep(0.1)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    # And once more, ending ready: the leader it had in the end is as good as any, but it has to be fit.
    await recorder.quiet(0.8)
    assert slow.left == 0
    assert recorder.leaders(SLICE)[-1] == "web-1"
    proxy.on(lambda a: a.method == "PATCH" and a.of(ENDPOINT_SLICES), Delay(0.5), times=1)
    again = now()
    await proxied.pod_status("web-1", ready=False)
    await asyncio.sleep(0.1)
    await proxied.pod_status("web-2", ready=False)
    await proxied.pod_status("web-0", ready=True)
    await recorder.wait_leader(SLICE, "web-0", since=again, timeout_s=3.0)
    await recorder.quiet(0.8)
    assert recorder.leaders(SLICE)[-1] == "web-0"


async def test_a_server_that_fails_all_writes_is_not_flooded(
    namespace: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    count, fault_s, qps, burst = 40, 10.0, 20, 20
    for index in range(count):
        await namespace.pod(f"web-{index}", labels={"app": f"s{index}"})
        await namespace.service(f"s{index}", enabled=False)
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    await zenlead_process(f"--qps={qps}", f"--burst={burst}", kubeconfig=config)

    def is_work(asked: Asked) -> bool:
        return asked.is_write and (asked.of(SERVICES) or asked.of(ENDPOINT_SLICES))

    broken = proxy.on(is_work, refusal(500, "InternalError"))
    for index in range(count):
        await namespace.annotate(f"s{index}", {"zen-lead.io/enabled": "true"})
    started = now()
    await asyncio.sleep(fault_s)
    took = now() - started
    broken.lift()
    healed = now()
    # The writes of the first second came while the Services were opted in, before the count began.
    assert len(broken.struck) <= burst + qps * (took + 2.0)
    assert len(broken.struck) >= count
    for index in range(count):
        await recorder.wait_leader(f"s{index}-leader", f"web-{index}", timeout_s=45.0)
    assert now() - healed <= 45.0
