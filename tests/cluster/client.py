"""A plain client for tests: one HTTP request a call, objects as dicts, errors with what the server said.

Knows URLs and JSON. Refuses to retry, cache or interpret. It shares no code with zenlead's own client (but
the paths of resources), so that a fault there cannot hide itself here.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from zenlead.kube.resources import Resource

Object = dict[str, Any]

REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
MERGE_PATCH = "application/merge-patch+json"


class StatusError(Exception):
    """The server refused; ``status`` is the HTTP status, ``body`` its Status object (or text)."""

    def __init__(self, method: str, path: str, status: int, body: object) -> None:
        reason = body.get("message", body) if isinstance(body, dict) else body
        super().__init__(f"{method} {path}: {status} {reason}")
        self.status = status
        self.body = body


class KubeClient:
    """Talks to one API server as one user. Use it as an async context manager."""

    def __init__(self, url: str, *, ca: bytes | None = None, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._ca = ca
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"KubeClient({self._url}, {'open' if self._session else 'closed'})"

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cadata=self._ca.decode()) if self._ca else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The decoded answer; StatusError when it is no success."""
        data = None if body is None else json.dumps(body)
        headers = {} if data is None else {"Content-Type": content_type}
        async with self._open().request(
            method, self._url + path, data=data, params=query, headers=headers
        ) as response:
            text = await response.text()
        answer = json.loads(text) if response.content_type == "application/json" else text
        if response.status >= 300:
            raise StatusError(method, path, response.status, answer)
        return answer

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        answer: Object = await self.request("GET", resource.path(namespace, name, subresource))
        return answer

    async def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None when there is none."""
        try:
            return await self.get(resource, namespace, name)
        except StatusError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> Object:
        """The whole list object; ``items`` and ``metadata.resourceVersion`` are what one wants of it."""
        answer: Object = await self.request("GET", resource.path(namespace), query=query)
        return answer

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """Creates; apiVersion and kind are filled in."""
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        answer: Object = await self.request("POST", resource.path(namespace), whole)
        return answer

    async def replace(self, resource: Resource, body: Object) -> Object:
        meta = body["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"])
        answer: Object = await self.request("PUT", path, body)
        return answer

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Object, *, subresource: str = ""
    ) -> Object:
        """A JSON merge patch."""
        path = resource.path(namespace, name, subresource)
        answer: Object = await self.request("PATCH", path, body, content_type=MERGE_PATCH)
        return answer

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_s: int | None = None,
        propagation: str = "Background",
    ) -> Object:
        options: Object = {"propagationPolicy": propagation}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        answer: Object = await self.request("DELETE", resource.path(namespace, name), options)
        return answer

    async def delete_all(self, resource: Resource, namespace: str, *, grace_s: int = 0) -> None:
        """Deletes every object of a kind in a namespace."""
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": grace_s}
        await self.request("DELETE", resource.path(namespace), options)

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str]
    ) -> AsyncGenerator[Object, None]:
        """The events of one watch, until the server ends it. StatusError when it refuses to begin."""
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        # The largest object that etcd takes is 1.5 MiB; JSON may double it.
        async with self._open().get(
            self._url + path, params={"watch": "1", **query}, timeout=timeout, read_bufsize=4 << 20
        ) as response:
            if response.status != 200:
                raise StatusError("WATCH", path, response.status, await response.text())
            async for line in response.content:
                yield json.loads(line)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with` block")
        return self._session
