"""One namespace on one implementation of Api, and the few words that contract tests need."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from zenlead.kube.errors import AlreadyExists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.kube.api import Api
    from zenlead.kube.resources import Resource

Body = dict[str, Any]
Event = tuple[str, Body]

DEADLINE_S = 20.0  # no answer here takes longer, not even on a busy machine


class World:
    """``api`` is what is under test; ``namespace`` belongs to the test alone."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def get(self, resource: Resource, name: str) -> Body:
        body: Body = json.loads(await self.api.get(resource, self.namespace, name))
        return body

    async def create(self, resource: Resource, body: Body) -> Body:
        made: Body = json.loads(await self.api.create(resource, self.namespace, json.dumps(body).encode()))
        return made

    async def patch(self, resource: Resource, name: str, body: Body, *, subresource: str = "") -> Body:
        text = json.dumps(body).encode()
        changed: Body = json.loads(
            await self.api.patch(resource, self.namespace, name, text, subresource=subresource)
        )
        return changed

    async def delete(self, resource: Resource, name: str, **options: Any) -> Body:
        gone: Body = json.loads(
            await self.api.delete(resource, self.namespace, name, json.dumps(options).encode())
        )
        return gone

    async def list(self, resource: Resource, query: Mapping[str, str] | None = None) -> Body:
        page: Body = json.loads(await self.api.list(resource, self.namespace, query or {}))
        return page

    async def version(self, resource: Resource) -> str:
        """The resourceVersion of now."""
        return str((await self.list(resource))["metadata"]["resourceVersion"])

    async def watch(self, resource: Resource, query: Mapping[str, str], count: int) -> list[Event]:
        """The first ``count`` events of a watch (fewer if it ends before)."""
        events: list[Event] = []
        rest = b""
        async with (
            asyncio.timeout(DEADLINE_S),
            aclosing(self.api.watch(resource, self.namespace, query, deadline_s=DEADLINE_S)) as chunks,
        ):
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                decoded = [json.loads(line) for line in lines if line]
                events += [(event["type"], event["object"]) for event in decoded]
                if len(events) >= count:
                    break
        return events[:count]


async def open_namespace(api: Api, name: str) -> None:
    """Create the namespace."""
    from zenlead.sandbox.kinds import NAMESPACES

    body = json.dumps({"metadata": {"name": name}}).encode()
    try:
        await api.create(NAMESPACES, "", body)
    except AlreadyExists as error:
        raise AssertionError(f"namespace {name} is not fresh") from error


def service(name: str, **spec: Any) -> Body:
    """A Service with one port, unless said otherwise."""
    defaults: Body = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return {"metadata": {"name": name}, "spec": {**defaults, **spec}}


def endpoint_slice(name: str, *addresses: str, family: str = "IPv4", ports: list[Body] | None = None) -> Body:
    """A slice with one endpoint for each address."""
    return {
        "metadata": {"name": name},
        "addressType": family,
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": "http", "port": 80}] if ports is None else ports,
    }


def pod(name: str, *, node: str = "", **meta: Any) -> Body:
    """A pod of one container, on a node if one is named."""
    spec: Body = {"containers": [{"name": "app", "image": "example/app:1"}], "tolerations": []}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, **meta}, "spec": spec}
