"""The rendered rights are enough for a whole life, and none is there that this life does not use.

Both are read off the API server's audit log. It enforces the permissions of owner references, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.cluster.scene import ROLES, eventually
from tests.deploy.helm import CHART
from tests.deploy.site import LEASE, NAME
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.client import Object
    from tests.deploy.conftest import Audited
    from tests.deploy.site import Site

pytestmark = pytest.mark.timeout(180)
CLUSTER_ROLES = Resource(ROLES.group, "v1", "clusterroles", "ClusterRole", namespaced=False)
# Open to everybody who has a token, by roles of the API server's own.
FOR_ALL = {"/version"}


class Right(NamedTuple):
    """One cell of a role. An empty namespace: of the cluster."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""


def granted(role: Object) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        namespace = role["metadata"].get("namespace", "")
                        yield Right(namespace, group, resource, verb, name)


def asked(event: Object) -> Right:
    """What a request needed."""
    ref = event["objectRef"]
    resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
    return Right(
        ref.get("namespace", ""), ref.get("apiGroup", ""), resource, event["verb"], ref.get("name", "")
    )


def allows(right: Right, need: Right) -> bool:
    return (
        right[1:4] == need[1:4] and right.namespace in {"", need.namespace} and right.name in {"", need.name}
    )


async def contend(site: Site, leader: str, other: str, done: Callable[[], bool]) -> tuple[str, str]:
    """Somebody edits our objects all the time, so that some of our writes come too late, and what is there
    now has to be read. Returns who leads and who does not."""

    async def edit(resource: Resource) -> None:
        for count in itertools.count():
            said = {"metadata": {"annotations": {"example.com/edit": str(count)}}}
            await site.team.client.patch(resource, site.team.name, "web-leader", said)

    async with asyncio.timeout(60.0), asyncio.TaskGroup() as tasks:
        editors = [tasks.create_task(edit(resource)) for resource in (SERVICES, ENDPOINT_SLICES)]
        while not done():
            await site.fails(leader, other)
            leader, other = other, leader
        for editor in editors:
            editor.cancel()
    return leader, other


async def live(site: Site, audited: Audited, read: Callable[[], bool]) -> None:
    """Everything that zenlead is for, once. ``read``: whether it has had to look what a write found."""
    team, loop = site.team, asyncio.get_running_loop()
    await site.leads("web-0")  # created
    await site.fails("web-0", "web-1")
    await team.annotate("web", {"zen-lead.io/leader-service-name": "web-first"})

    async def renamed() -> bool:
        services = (await team.client.list(SERVICES, team.name))["items"]
        return {s["metadata"]["name"] for s in services} == {"web", "web-first"}

    await eventually(renamed, "the leader Service has its new name")
    since = loop.time()
    await team.annotate("web", {"zen-lead.io/leader-service-name": None})
    await site.leads("web-1", since=since)
    await site.recorder.quiet(0.5)
    # Somebody edits and deletes what is ours.
    since = loop.time()
    await team.client.delete(ENDPOINT_SLICES, team.name, "web-leader")
    await site.leads("web-1", since=since)
    former = (await team.client.get(SERVICES, team.name, "web-leader"))["metadata"]["uid"]
    await team.client.delete(SERVICES, team.name, "web-leader")

    async def made_anew() -> str:
        found = await team.client.find(SERVICES, team.name, "web-leader")
        told = found["metadata"] if found else {"uid": former}
        leader: str = told.get("annotations", {}).get("zen-lead.io/current-leader", "")
        return leader if told["uid"] != former else ""

    leader = await eventually(made_anew, "the leader Service is made anew")
    await site.recorder.quiet(0.5)
    leader, other = await contend(site, leader, "web-0" if leader == "web-1" else "web-1", read)
    # The API server goes away, and what was missed is asked for.
    await site.restart_apiserver(audited)
    # The Lease is handed over.
    holder = await site.holder()
    await team.client.delete(PODS, site.home.name, holder)
    await site.rolled_out()

    async def handed_over() -> bool:
        return await site.holder() not in {"", holder}

    await eventually(handed_over, "another holds the Lease")
    await site.fails(leader, other)
    await team.annotate("web", {"zen-lead.io/enabled": None})

    async def gone() -> bool:
        found = await team.client.find(SERVICES, team.name, "web-leader")
        return found is None and not await team.slices_of("web-leader")

    await eventually(gone, "both objects are gone")
    assert site.recorder.events("LeaderChanged")


@pytest.mark.parametrize("served", ["everything", "one namespace"])
async def test_no_right_is_missing_and_none_is_unused(site: Site, audited: Audited, served: str) -> None:
    """Where one namespace is served, also each new leader is read once more before traffic moves."""
    one = f"--set=watchNamespaces={{{site.team.name}}},controller.enableLeaderPodCache=false"
    await site.install(*([one] if served == "one namespace" else []))
    client, account = site.home.client, f"system:serviceaccount:{site.home.name}:{NAME}"
    roles = [await client.get(ROLES, site.home.name, f"{NAME}-lease")]
    if served == "everything":
        roles.append(await client.get(CLUSTER_ROLES, None, NAME))
    else:
        roles.append(await client.get(ROLES, site.team.name, NAME))
        assert await client.find(CLUSTER_ROLES, None, NAME) is None
    rights = {right for role in roles for right in granted(role)}

    def needs() -> set[Right]:
        return {asked(event) for event in audited.asked_by(account) if "objectRef" in event}

    def read() -> bool:
        return {"services", "endpointslices"} <= {need.resource for need in needs() if need.verb == "get"}

    await live(site, audited, read)
    assert audited.refused(account) == []

    def unused() -> set[Right]:
        return {right for right in rights if not any(allows(right, need) for need in needs())}

    async def all_used() -> bool:
        return not unused()

    # Who was away asks within some seconds; what stays unused is named below.
    with contextlib.suppress(AssertionError):
        await eventually(all_used, "every right is used")
    assert unused() == set()
    others = {e["requestURI"].partition("?")[0] for e in audited.asked_by(account) if "objectRef" not in e}
    assert others <= FOR_ALL
    assert LEASE in {right.name for right in rights}, "only this one Lease"


async def test_pods_can_be_patched_by_nobody_of_ours(site: Site, audited: Audited) -> None:
    await site.run("install", NAME, str(CHART), "--set=replicaCount=0")
    account = f"--as=system:serviceaccount:{site.home.name}:{NAME}"
    for verb, resource in (
        ("patch", "pods"),
        ("update", "pods"),
        ("delete", "pods"),
        ("patch", "pods/status"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as answer:
            audited.plane.kubectl("auth", "can-i", verb, resource, account, "-n", site.team.name)
        assert answer.value.stdout.strip() == "no"
    assert "yes" in audited.plane.kubectl("auth", "can-i", "list", "pods", account, "-n", site.team.name)
