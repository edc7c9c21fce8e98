"""The door to the API server: what can be asked of it, and ``connect`` to get somebody who asks.

Knows the three protocols that everybody else programs against. Refuses to know objects: bodies are bytes, and
decoding is the consumer's. The rule: errors are those of kube/errors.py and nothing else.
Source: Kubernetes API concepts.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Protocol

from zenlead.kube import importdiet
from zenlead.kube.access import ConfigError
from zenlead.kube.credentials import Credentials, in_cluster, load_in_cluster
from zenlead.kube.transport import CONNECTIONS, REQUEST_TIMEOUT_S, HttpApi, request_lane

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from zenlead.kube.access import Access
    from zenlead.kube.resources import Resource

__all__ = ["Api", "ConfigError", "HttpApi", "Reader", "Writer", "connect", "request_lane"]


class Reader(Protocol):
    """Asks without changing anything."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object's body. ApiError, NotFound among them."""
        ...

    async def list(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> bytes:
        """One page's body; ``query`` holds limit, continue, resourceVersion, … ApiError, Gone among them."""
        ...

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, deadline_s: float
    ) -> AsyncGenerator[bytes, None]:
        """An empty chunk when the stream begins, then chunks as they arrive, cut anywhere; ends when the
        server ends it.

        ApiError by status before the first chunk; Unreachable when the stream is cut, or (saying "idle") when
        ``deadline_s`` seconds have passed since it began. Close it: use ``contextlib.aclosing``.
        """
        ...


class Writer(Protocol):
    """Changes one object. Nobody knows whether a request that ended Unreachable was applied."""

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """The object as created. AlreadyExists, Invalid, Forbidden, …"""
        ...

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, *, subresource: str = ""
    ) -> bytes:
        """The object after a JSON merge patch. Its metadata.resourceVersion is a precondition: Conflict."""
        ...

    async def delete(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        """The last state or a Status. ``body`` is DeleteOptions; its preconditions may raise Conflict."""
        ...


class Api(Reader, Writer, Protocol):
    """Both."""


async def connect(
    *,
    kubeconfig: str | None,
    context: str | None,
    request_timeout_s: float = REQUEST_TIMEOUT_S,
    connections: int = CONNECTIONS,
) -> HttpApi:
    """A client for the API server that is meant; no request is sent yet, though a login may be.

    The first of these counts: ``kubeconfig``, the files of KUBECONFIG, the pod's service account (not when a
    ``context`` is asked for), ~/.kube/config. ``connections`` bounds the requests at a time, watches apart.
    ConfigError says in one line what was sought and what to do.
    """
    load = _find_source(kubeconfig, context)
    access = await load()
    return HttpApi(Credentials(access, load), request_timeout_s=request_timeout_s, connections=connections)


def _find_source(kubeconfig: str | None, context: str | None) -> Callable[[], Awaitable[Access]]:
    """The loader of credentials that the precedence in ``connect`` picks."""
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if not named and not context and in_cluster():
        return load_in_cluster
    # Imported here because a pod needs neither YAML nor what logs people in: 5 MB.
    from zenlead.kube.kubeconfig import DEFAULT_PATH, default_file, named_files  # noqa: PLC0415

    with importdiet.with_a_home():
        from zenlead.kube.userlogin import log_in  # noqa: PLC0415

    files = named_files(kubeconfig, os.environ.get("KUBECONFIG", ""))
    if not files:
        default = default_file()
        if default is None:
            raise ConfigError(
                f"no way to an API server: no --kubeconfig, no KUBECONFIG, no {DEFAULT_PATH}, "
                "and no service account of a pod; name a kubeconfig"
            )
        files = [default]
    return functools.partial(log_in, files, context)
