"""What others leave on our objects, and objects that do not go when they are told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.scene import NAMESPACES, eventually
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
FINALIZER = "tests.example/held"


def now() -> float:
    return asyncio.get_running_loop().time()


async def alone(namespace: Namespace) -> bool:
    """Whether nothing but our slice routes, and nothing will."""
    service = await namespace.client.get(SERVICES, namespace.name, SLICE)
    names = [s["metadata"]["name"] for s in await namespace.slices_of(SLICE)]
    endpoints = await namespace.client.find(ENDPOINTS, namespace.name, SLICE)
    return (
        not service["spec"].get("selector")
        and names == [SLICE]
        and not (endpoints and endpoints.get("subsets"))
    )


async def test_slices_that_a_selector_left_behind_are_removed(web: Namespace, recorder: Recorder) -> None:
    """While our leader Service had a selector, the cluster's own controller made it a slice of all pods."""
    body = {"spec": {"selector": {"app": "web"}}}
    await web.client.patch(SERVICES, web.name, SLICE, body)

    await recorder.wait(
        lambda r: r.resource == ENDPOINT_SLICES.plural and r.name.startswith(f"{SLICE}-"), "a foreign slice"
    )
    await eventually(lambda: alone(web), "only our slice is left", timeout_s=30.0)
    await recorder.quiet(6.0, timeout_s=30.0)
    assert await alone(web), "nor does it come back"
    assert {s["metadata"]["name"] for s in await web.slices_of("web")} != set(), "those of others stay"


async def test_slices_that_were_left_while_nobody_watched_are_removed(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead
) -> None:
    await pods.service("web")
    first = await zenlead_process()
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    first.terminate()
    await first.wait()
    await pods.client.patch(SERVICES, pods.name, SLICE, {"spec": {"selector": {"app": "web"}}})
    await recorder.wait(
        lambda r: r.resource == ENDPOINT_SLICES.plural and r.name.startswith(f"{SLICE}-"), "a foreign slice"
    )
    await recorder.quiet(0.6)
    await pods.client.patch(SERVICES, pods.name, SLICE, {"spec": {"selector": None}})
    await recorder.quiet(0.6)

    async def mirrored() -> bool:
        return len(await pods.slices_of(SLICE)) == 3

    await eventually(mirrored, "a slice by selector, one by the Endpoints that it left, and ours")
    others = await pods.slices_of("web")
    await zenlead_process()

    await eventually(lambda: alone(pods), "only our slice is left", timeout_s=30.0)
    await recorder.quiet(6.0, timeout_s=30.0)
    assert await alone(pods), "nor does it come back"
    assert await pods.slices_of("web") == others


async def hold(namespace: Namespace, resource: Resource, name: str) -> None:
    """Deletes an object that a finalizer keeps."""
    body = {"metadata": {"finalizers": [FINALIZER]}}
    await namespace.client.patch(resource, namespace.name, name, body)
    await namespace.client.delete(resource, namespace.name, name)


async def release(namespace: Namespace, resource: Resource, name: str) -> float:
    started = now()
    await namespace.client.patch(resource, namespace.name, name, {"metadata": {"finalizers": None}})
    return started


async def test_a_slice_that_a_finalizer_holds_still_follows_the_leader(
    web: Namespace, recorder: Recorder
) -> None:
    """Proxies read it for as long as it is there."""
    await hold(web, ENDPOINT_SLICES, SLICE)
    await recorder.quiet(1.0)
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    await recorder.quiet(1.0)
    assert len(recorder.slice(SLICE, since=started)) <= 2, "no flood"
    released = await release(web, ENDPOINT_SLICES, SLICE)
    anew = await recorder.wait(
        lambda r: r.type == "ADDED" and r.name == SLICE and r.at >= released and r.leaders == ("web-1",),
        "a slice anew",
    )
    assert anew.at - released < 5.0


async def test_a_leader_service_that_a_finalizer_holds(web: Namespace, recorder: Recorder) -> None:
    await hold(web, SERVICES, SLICE)
    started = now()
    await web.pod_status("web-0", ready=False)
    await recorder.wait_leader(SLICE, "web-1", since=started)
    await recorder.quiet(1.0)
    written = len(recorder.log)
    await asyncio.sleep(2.0)
    assert len(recorder.log) == written
    released = await release(web, SERVICES, SLICE)
    await recorder.wait(
        lambda r: r.type == "ADDED" and (r.resource, r.name) == ("services", SLICE) and r.at >= released,
        "a leader Service anew",
        timeout_s=5.0,
    )
    await recorder.wait_leader(SLICE, "web-1", since=released)


async def test_after_opting_out_a_held_slice_leads_nowhere(web: Namespace, recorder: Recorder) -> None:
    body = {"metadata": {"finalizers": [FINALIZER]}}
    await web.client.patch(ENDPOINT_SLICES, web.name, SLICE, body)
    started = now()
    await web.annotate("web", {"zen-lead.io/enabled": None})
    await recorder.wait_leader(SLICE, None, since=started)
    await recorder.quiet(1.0)
    written = len(recorder.log)
    await asyncio.sleep(2.0)
    assert len(recorder.log) == written, "nothing is tried again and again"
    await release(web, ENDPOINT_SLICES, SLICE)

    async def gone() -> bool:
        return await web.client.find(ENDPOINT_SLICES, web.name, SLICE) is None

    await eventually(gone, "the slice is gone")


async def test_nothing_is_forced_into_a_namespace_that_ends(
    pods: Namespace, recorder: Recorder, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    """A pod that does not go keeps the namespace, and in it all else: nothing new can be made there."""
    await pods.service("web")
    config = proxy.kubeconfig(tmp_path / "ending.kubeconfig", pods.name)
    process = await zenlead_process(kubeconfig=config)
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    await pods.client.patch(PODS, pods.name, "web-0", {"metadata": {"finalizers": [FINALIZER]}})
    try:
        await pods.client.delete(NAMESPACES, None, pods.name)

        async def ending() -> bool:
            found = await pods.client.get(NAMESPACES, None, pods.name)
            return bool(found["status"]["phase"] == "Terminating")

        await eventually(ending, "the namespace ends")
        await recorder.quiet(1.0)
        started = now()
        await pods.client.delete(SERVICES, pods.name, SLICE)  # the garbage collector removes the slice
        await recorder.quiet(3.0)
        asked = [a for a in proxy.asked if a.at > started and a.is_write and "/leases/" not in a.path]
        creates = [a for a in asked if a.method == "POST" and (a.of(SERVICES) or a.of(ENDPOINT_SLICES))]
        assert 1 <= len(creates) <= 2, asked
        assert [a for a in asked if a.of(EVENTS)] == []
        errors = {n: v for n, v in (await process.metrics()).items() if "reconciliation_errors_total{" in n}
        assert errors == {}
    finally:
        body = {"metadata": {"finalizers": None}}
        await pods.client.patch(PODS, pods.name, "web-0", body)
