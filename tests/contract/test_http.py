"""What zenlead does not send but kubectl and other clients do: over HTTP, on the sandbox and for real."""

from __future__ import annotations

import json
import ssl
import uuid
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.contract.world import endpoint_slice, pod, service
from zenlead.kube.resources import ENDPOINT_SLICES, LEASES, PODS, SERVICES
from zenlead.sandbox.kinds import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.cluster.controlplane import ControlPlane
    from zenlead.sandbox.box import Sandbox

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Http:
    """Requests as text and numbers. ``namespace`` belongs to the test alone."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | bool) -> None:
        self.namespace = f"c-{uuid.uuid4().hex[:10]}"
        self._session = session
        self._url = url
        self._tls = tls

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        media_type: str = "application/json",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        sent = {"Content-Type": media_type, "Accept": "application/json", **(headers or {})}
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self._url + path, data=data, params=query, headers=sent, ssl=self._tls
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def create(self, path: str, body: object) -> Any:
        status, made = await self.ask("POST", path, body)
        assert status == 201, made
        return made


@pytest.fixture
async def sandbox_http(box: Sandbox) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {box.token}"}) as session:
        http = Http(session, box.url, tls=True)
        await http.create(NAMESPACES.path(), {"metadata": {"name": http.namespace}})
        yield http


@pytest.fixture
async def real_http(controlplane: ControlPlane) -> AsyncIterator[Http]:
    tls = ssl.create_default_context(cadata=controlplane.ca.decode())
    headers = {"Authorization": f"Bearer {controlplane.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        http = Http(session, controlplane.url, tls=tls)
        await http.create(NAMESPACES.path(), {"metadata": {"name": http.namespace}})
        yield http
        await http.ask("DELETE", PODS.path(http.namespace), query={"gracePeriodSeconds": "0"})
        await http.ask("DELETE", NAMESPACES.path(None, http.namespace))


@pytest.fixture(params=["sandbox", pytest.param("real", marks=pytest.mark.cluster)])
def http(request: pytest.FixtureRequest) -> Http:
    chosen: Http = request.getfixturevalue(f"{request.param}_http")
    return chosen


async def test_a_put_replaces_what_it_read(http: Http) -> None:
    path = SERVICES.path(http.namespace)
    made = await http.create(path, service("web"))
    made["spec"]["ports"] = [{"port": 81}]
    status, changed = await http.ask("PUT", f"{path}/web", made)
    assert (status, changed["spec"]["ports"][0]["port"]) == (200, 81)
    status, refused = await http.ask("PUT", f"{path}/web", made)
    assert (status, refused["reason"]) == (409, "Conflict")


async def test_a_lease_is_put_with_its_version_only(http: Http) -> None:
    path = LEASES.path(http.namespace, "lock")
    lease = {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}}
    status, made = await http.ask("PUT", path, lease)
    assert status == 201
    status, refused = await http.ask("PUT", path, lease)
    assert (status, refused["reason"]) == (422, "Invalid")
    made["spec"]["holderIdentity"] = "b"
    assert (await http.ask("PUT", path, made))[0] == 200


async def test_a_name_in_the_body_is_the_name_in_the_path(http: Http) -> None:
    path = SERVICES.path(http.namespace)
    await http.create(path, service("web"))
    assert (await http.ask("PUT", f"{path}/web", service("other")))[0] == 400
    assert (await http.ask("PATCH", f"{path}/web", {"metadata": {"name": "b"}}, media_type=MERGE))[0] == 400
    status, _ = await http.ask("POST", path, {**service("b"), "metadata": {"name": "b", "namespace": "x"}})
    assert status == 400


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_dry_run_leaves_no_trace(http: Http, method: str) -> None:
    path, query = SERVICES.path(http.namespace), {"dryRun": "All"}
    await http.create(path, service("web"))
    before = (await http.ask("GET", path))[1]
    body = {"metadata": {"annotations": {"a": "b"}}}
    match method:
        case "POST":
            status, answer = await http.ask("POST", path, service("other"), query=query)
        case "PATCH":
            status, answer = await http.ask("PATCH", f"{path}/web", body, media_type=MERGE, query=query)
            assert answer["metadata"]["annotations"] == {"a": "b"}
        case _:
            status, answer = await http.ask("DELETE", f"{path}/web", query=query)
    assert status in (200, 201), answer
    after = (await http.ask("GET", path))[1]
    assert after["items"] == before["items"]


async def test_a_dry_run_is_checked_like_a_run(http: Http) -> None:
    query = {"dryRun": "All"}
    status, refused = await http.ask(
        "POST", ENDPOINT_SLICES.path(http.namespace), endpoint_slice("web", "127.0.0.1"), query=query
    )
    assert (status, refused["reason"]) == (422, "Invalid")
    cause = refused["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == ("endpoints[0].addresses[0]", "FieldValueInvalid")
    assert (await http.ask("POST", SERVICES.path(http.namespace), service("a"), query={"dryRun": "x"}))[
        0
    ] == 422


async def test_a_json_patch_is_all_or_nothing(http: Http) -> None:
    path = SERVICES.path(http.namespace)
    await http.create(path, service("web"))
    wanted = [
        {"op": "add", "path": "/metadata/labels", "value": {"a/b": "1"}},
        {"op": "test", "path": "/metadata/labels/a~1b", "value": "2"},
    ]
    status, _ = await http.ask("PATCH", f"{path}/web", wanted, media_type=JSON_PATCH)
    assert status == 422
    assert "labels" not in (await http.ask("GET", f"{path}/web"))[1]["metadata"]
    wanted[1]["value"] = "1"
    wanted.append({"op": "replace", "path": "/spec/ports/0/port", "value": 81})
    wanted.append({"op": "add", "path": "/spec/ports/0/name", "value": "http"})
    wanted.append({"op": "copy", "from": "/metadata/labels/a~1b", "path": "/metadata/labels/c"})
    wanted.append({"op": "remove", "path": "/metadata/labels/a~1b"})
    status, changed = await http.ask("PATCH", f"{path}/web", wanted, media_type=JSON_PATCH)
    assert (status, changed["metadata"]["labels"]) == (200, {"c": "1"})
    assert changed["spec"]["ports"][0].items() >= {"name": "http", "port": 81}.items()


async def test_a_strategic_patch_merges_lists_by_key(http: Http) -> None:
    path = SERVICES.path(http.namespace)
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    await http.create(path, service("web", ports=ports))
    patch = {"spec": {"ports": [{"port": 2, "targetPort": 9}, {"$patch": "delete", "port": 1}]}}
    status, changed = await http.ask("PATCH", f"{path}/web", patch, media_type=STRATEGIC)
    assert (status, changed["spec"]["ports"]) == (
        200,
        [{"name": "b", "port": 2, "protocol": "TCP", "targetPort": 9}],
    )


async def test_a_strategic_patch_merges_containers_and_finalizers(http: Http) -> None:
    path = PODS.path(http.namespace)
    await http.create(path, pod("web-0", node="n1", finalizers=["example.com/a"]))
    patch = {
        "metadata": {
            "finalizers": ["example.com/b"],
            "$deleteFromPrimitiveList/finalizers": ["example.com/a"],
        },
        "spec": {"containers": [{"name": "app", "image": "example/app:2"}]},
    }
    status, changed = await http.ask("PATCH", f"{path}/web-0", patch, media_type=STRATEGIC)
    assert status == 200, changed
    assert changed["metadata"]["finalizers"] == ["example.com/b"]
    assert changed["spec"]["containers"][0]["image"] == "example/app:2"
    assert changed["spec"]["containers"][0]["terminationMessagePolicy"] == "File"
    await http.ask("PATCH", f"{path}/web-0", {"metadata": {"finalizers": None}}, media_type=MERGE)


async def test_an_unknown_patch_format_is_refused(http: Http) -> None:
    path = SERVICES.path(http.namespace)
    await http.create(path, service("web"))
    assert (await http.ask("PATCH", f"{path}/web", {}))[0] == 415


async def _apply(http: Http, manager: str, body: object, **query: str) -> tuple[int, Any]:
    path = SERVICES.path(http.namespace, "web")
    return await http.ask("PATCH", path, body, media_type=APPLY, query={"fieldManager": manager, **query})


def _applied(labels: dict[str, str], *ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": labels},
        "spec": {"selector": {"app": "web"}, "ports": list(ports)},
    }


async def test_an_apply_creates_then_changes_and_takes_back(http: Http) -> None:
    one, two = {"name": "a", "port": 1}, {"name": "b", "port": 2}
    status, _ = await _apply(http, "me", _applied({"x": "1", "y": "1"}, one, two))
    assert status in (200, 201)
    path = SERVICES.path(http.namespace, "web")
    await http.ask("PATCH", path, {"metadata": {"labels": {"other": "1"}}}, media_type=MERGE)
    status, changed = await _apply(http, "me", _applied({"x": "2"}, one))
    assert (status, changed["metadata"]["labels"]) == (200, {"x": "2", "other": "1"})
    assert [port["name"] for port in changed["spec"]["ports"]] == ["a"]


async def test_an_apply_of_what_another_owns_needs_force(http: Http) -> None:
    port = {"port": 1}
    await _apply(http, "me", _applied({"x": "1"}, port))
    status, refused = await _apply(http, "you", _applied({"x": "2"}, port))
    assert (status, refused["reason"]) == (409, "Conflict")
    assert refused["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    status, changed = await _apply(http, "you", _applied({"x": "2"}, port), force="true")
    assert (status, changed["metadata"]["labels"]) == (200, {"x": "2"})


@pytest.mark.parametrize(
    ("plural", "names"),
    [
        (
            "services",
            ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"],
        ),
        (
            "pods",
            [
                "Name",
                "Ready",
                "Status",
                "Restarts",
                "Age",
                "IP",
                "Node",
                "Nominated Node",
                "Readiness Gates",
            ],
        ),
    ],
)
async def test_tables_have_the_same_columns(http: Http, plural: str, names: list[str]) -> None:
    path = f"/api/v1/namespaces/{http.namespace}"
    await http.create(f"{path}/services", service("web"))
    await http.create(f"{path}/pods", pod("web-0", node="n1"))
    status, table = await http.ask("GET", f"{path}/{plural}", headers={"Accept": TABLE})
    assert (status, table["kind"], table["apiVersion"]) == (200, "Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == names
    [row] = table["rows"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    cells = dict(zip(names, row["cells"], strict=True))
    if plural == "pods":
        assert (cells["Ready"], cells["Status"], cells["Node"]) == ("0/1", "Pending", "n1")
    else:
        assert (cells["Type"], cells["Port(s)"], cells["Selector"]) == ("ClusterIP", "80/TCP", "app=web")


async def test_a_pod_is_bound_once(http: Http) -> None:
    path = PODS.path(http.namespace)
    await http.create(path, pod("web-0"))
    binding = {"metadata": {"name": "web-0"}, "target": {"kind": "Node", "name": "n7"}}
    await http.create(f"{path}/web-0/binding", binding)
    bound = (await http.ask("GET", f"{path}/web-0"))[1]
    assert bound["spec"]["nodeName"] == "n7"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    assert (await http.ask("POST", f"{path}/web-0/binding", binding))[0] == 409


async def test_an_evicted_pod_terminates(http: Http) -> None:
    path = PODS.path(http.namespace)
    await http.create(path, pod("web-0", node="n1"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0"}}
    await http.create(f"{path}/web-0/eviction", eviction)
    assert (await http.ask("GET", f"{path}/web-0"))[1]["metadata"]["deletionTimestamp"]


async def test_a_collection_is_deleted_by_selector(http: Http) -> None:
    path = ENDPOINT_SLICES.path(http.namespace)
    for name in ("a", "b"):
        body = endpoint_slice(name, "10.1.0.1")
        body["metadata"]["labels"] = {"name": name}
        await http.create(path, body)
    status, _ = await http.ask("DELETE", path, query={"labelSelector": "name=a"})
    assert status == 200
    left = (await http.ask("GET", path))[1]["items"]
    assert [one["metadata"]["name"] for one in left] == ["b"]


async def test_an_access_review_says_yes_to_the_administrator(http: Http) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}
    made = await http.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert made["status"]["allowed"] is True


async def test_discovery_names_what_is_served(http: Http) -> None:
    status, groups = await http.ask("GET", "/apis")
    assert status == 200
    names = {group["name"] for group in groups["groups"]}
    assert names >= {"discovery.k8s.io", "coordination.k8s.io", "events.k8s.io"}
    core = (await http.ask("GET", "/api/v1"))[1]
    resources = {one["name"]: one for one in core["resources"]}
    assert resources["services"].items() >= {"kind": "Service", "namespaced": True}.items()
    assert set(resources["pods"]["shortNames"]) == {"po"}
    assert resources.keys() >= {"pods/status", "services/status", "pods/eviction", "nodes", "namespaces"}


async def test_without_a_token_nothing_is_read(http: Http) -> None:
    status, refused = await http.ask("GET", SERVICES.path(), headers={"Authorization": "Bearer wrong"})
    assert (status, refused["reason"]) == (401, "Unauthorized")
    assert (await http.ask("GET", "/version"))[0] == 200
