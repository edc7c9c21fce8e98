"""The stored API server: its objects are what they look like, and it answers as far as zenlead asks."""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
from typing import Any

import msgspec

from benchmarks import fleet as fleets
from benchmarks.fleet import Fleet, Pods, Specimens
from benchmarks.looptimes import Stopwatch
from benchmarks.scale import fleet_of
from benchmarks.stored import Cluster, Told, chunk
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES
from zenlead.lead.wire import WireNode, WirePod, WireService, decode

SMALL = Fleet(services=30, pods_each=4, namespaces=3)


def made_for_first() -> Specimens:
    leader = {"kind": "Service", "metadata": {"name": "web-00000-leader", "uid": "the leader's"}}
    target = {"kind": "Pod", "name": fleets.pod_name(0, 0), "uid": fleets.pod_uid(0, 0)}
    meta = {"name": "web-00000-leader", "namespace": "ns-0000", "uid": "the slice's", "resourceVersion": "12"}
    made = {
        "kind": "EndpointSlice",
        "metadata": {**meta, "ownerReferences": [{"uid": "the leader's"}]},
        "endpoints": [{"addresses": [fleets.address(0, 0)], "nodeName": "node-00000", "targetRef": target}],
    }
    return fleets.as_specimens(leader, made)


def cluster(*, streaming: bool = True) -> Cluster:
    return Cluster(Told(SMALL, made_for_first(), 0, "", streaming))


def test_fleets() -> None:
    assert fleet_of("10000x10") == Fleet(10_000, 10, 100)
    assert fleet_of("50x3") == Fleet(50, 3, 1)
    assert fleet_of("5000x2x7").namespaces == 7


def test_every_object_is_its_own() -> None:
    pods = Pods(SMALL)
    views = [decode(WirePod, pods.make(n, i, 5)) for n in range(30) for i in range(4)]
    for field in ("name", "uid", "ips"):
        assert len({getattr(view, field) for view in views}) == 120
    assert {view.namespace for view in views} == {"ns-0000", "ns-0001", "ns-0002"}
    assert all(view.ready_since for view in views)
    assert decode(WirePod, pods.make(1, 2, 5, ready=False)).ready_since is None
    service = decode(WireService, fleets.source(SMALL, 7))
    assert service.key == ("ns-0001", "web-00007")
    assert service.selector == {"app": "web-00007"}
    assert decode(WireNode, fleets.node(1)).zone == "zone-1"


def test_what_was_made_for_the_first_becomes_what_another_one_has() -> None:
    made = json.loads(fleets.led(made_for_first().slice, SMALL, 7, 99))
    endpoint = made["endpoints"][0]
    assert made["metadata"] == {
        "name": "web-00007-leader",
        "namespace": "ns-0001",
        "uid": fleets.uid(fleets.SLICE, 7),
        "resourceVersion": "99",
        "ownerReferences": [{"uid": fleets.uid(fleets.LEADER, 7)}],
    }
    assert endpoint["addresses"] == [fleets.address(7, 0)]
    assert endpoint["targetRef"]["uid"] == fleets.pod_uid(7, 0)


async def test_patches_are_merged_and_only_at_the_version_they_name() -> None:
    room = cluster()
    path = ENDPOINT_SLICES.path("ns-0001", "web-00007-leader")
    patch = {"metadata": {"resourceVersion": "8", "annotations": {"a": "1"}}, "endpoints": []}
    status, body = await room.answer("PATCH", path, {}, msgspec.json.encode(patch))
    made = json.loads(body)
    assert (status, made["endpoints"], made["metadata"]["annotations"]) == (200, [], {"a": "1"})
    assert int(made["metadata"]["resourceVersion"]) > fleets.FIRST_VERSION
    assert (await room.answer("PATCH", path, {}, msgspec.json.encode(patch)))[0] == 409
    assert (await room.answer("PATCH", SERVICES.path("ns-0001", "x"), {}, b"{}"))[0] == 404
    assert sum(room.requests.values()) == 3


async def test_pages_of_a_server_without_streaming_lists() -> None:
    room = cluster(streaming=False)
    assert room.refuses({"sendInitialEvents": "true"})
    names: list[str] = []
    query = {"limit": "50"}
    while True:
        page = json.loads((await room.answer("GET", PODS.path(), query, b""))[1])
        names += [item["metadata"]["name"] for item in page["items"]]
        if "continue" not in page["metadata"]:
            break
        query["continue"] = page["metadata"]["continue"]
    assert len(names) == len(set(names)) == 120


def test_each_event_is_a_chunk() -> None:
    size, line, _ = chunk("ADDED", b"{}").split(b"\r\n")
    assert int(size, 16) == len(line)
    assert json.loads(line) == {"type": "ADDED", "object": {}}


async def test_the_stopwatch_names_the_longest_step(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("LOOPTIMES", str(tmp_path / "told.json"))
    monkeypatch.setattr(gc, "callbacks", [])
    monkeypatch.setattr(asyncio.events.Handle, "_run", asyncio.events.Handle._run)  # put back afterwards
    monkeypatch.setattr(selectors.DefaultSelector, "select", selectors.DefaultSelector.select)
    stopwatch = Stopwatch()
    stopwatch.install()

    async def slow() -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.02
        while loop.time() < until:
            pass

    await asyncio.create_task(slow(), name="the slow one")
    await asyncio.sleep(0.001)
    stopwatch.tell()
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["steps"][0]["what"] == "the slow one"
    assert told["steps"][0]["seconds"] >= 0.02
    assert told["turns"][0]["seconds"] >= 0.02
