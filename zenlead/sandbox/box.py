"""One sandbox as a whole: the store, its Api in memory, and its HTTP port.

Knows how the rooms are put together and the kubeconfig that lets others in. Refuses to know pods that run
(kubelet.py). The rule: whoever enters the context owns the port and the file, and leaves neither behind.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from typing import TYPE_CHECKING, Self

import msgspec

from zenlead.sandbox.apiserver import ApiServer, Knobs
from zenlead.sandbox.http import HttpServer
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from zenlead.sandbox.objects import Objects

TOKEN_BYTES = 24  # of randomness in a token that nobody chose


class Sandbox:
    """``async with Sandbox(...) as box``: serves until the end of the block.

    ``kubeconfig``: where to write one (mode 0600), if anywhere. ``now``: wall time in Unix seconds.
    ``seed`` makes UIDs and generated names the same in every run. Raises OSError when the port is taken.
    """

    def __init__(
        self,
        *,
        knobs: Knobs | None = None,
        kubeconfig: Path | None = None,
        port: int = 0,
        token: str | None = None,
        now: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        dice = random.Random(seed)  # noqa: S311 - names and UIDs, nothing that has to be secret
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.server = ApiServer(now, dice, knobs)
        self.api = MemoryApi(self.server)
        self.kubeconfig = kubeconfig
        self._http = HttpServer(self.server, self.token, now)
        self._port = port

    def __repr__(self) -> str:
        return f"Sandbox({self._http!r})"

    @property
    def objects(self) -> Objects:
        """The store."""
        return self.server.objects

    @property
    def url(self) -> str:
        """The server's address; requests need the token."""
        return self._http.url

    @property
    def url_with_token(self) -> str:
        """The server's address for clients that cannot send a token."""
        return self._http.url_with_token

    async def __aenter__(self) -> Self:
        await self._http.start(self._port)
        if self.kubeconfig is not None:
            write_kubeconfig(self.kubeconfig, self._http.url_with_token, self.token)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.kubeconfig is not None:
            self.kubeconfig.unlink(missing_ok=True)
        await self._http.stop()


def write_kubeconfig(path: Path, server: str, token: str) -> None:
    """A kubeconfig that reaches the sandbox, readable by its owner only. Raises OSError."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": {"server": server}}],
        "users": [{"name": "sandbox", "user": {"token": token}}],
        "contexts": [
            {"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox", "namespace": "default"}}
        ],
        "current-context": "sandbox",
    }
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.yaml.encode(config))
