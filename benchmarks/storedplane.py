"""A stored API server with the cluster that is asked for, and zenlead's own objects in it.

Knows how to start it, and how to learn what zenlead makes: from one Service, on a small one of its kind.
Refuses to measure.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import yaml

from benchmarks import fleet as fleets
from benchmarks.client import Client, Refused
from benchmarks.contestants import Zenlead
from benchmarks.fleet import Fleet, Specimens
from benchmarks.stored import Told
from tests.cluster.pki import Authority
from tests.cluster.process import free_port, spawn, stop, tail
from tests.cluster.zenlead_process import ROOT

if TYPE_CHECKING:
    import subprocess

START_TIMEOUT_S = 120.0  # a hundred thousand objects are made within a few seconds
LEARN_TIMEOUT_S = 30.0
STILL_S = 0.5  # nothing is written any more


class StoredPlane:
    """As much of a control plane as zenlead needs to be started. Use it as an async context manager.

    ``client`` sends requests to it; ``folder`` and ``logs`` are for whoever starts something.
    """

    def __init__(self, fleet: Fleet, specimens: Specimens | None = None, *, streaming: bool = True) -> None:
        self.fleet = fleet
        self._specimens = specimens or Specimens()
        self._streaming = streaming
        self._authority = Authority("stored")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.client = Client(self.url, ca=self._authority.certificate, token="stored")

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="zenlead-stored-"))
        self.logs = self.folder
        pair = self._authority.serving(("localhost",), ("127.0.0.1",))
        certificate = self.folder / "server.pem"
        certificate.write_bytes(pair.certificate + pair.key)
        told = Told(self.fleet, self._specimens, self._port, str(certificate), self._streaming)
        (self.folder / "told.json").write_bytes(msgspec.json.encode(told))
        command = [sys.executable, "-m", "benchmarks.stored", str(self.folder / "told.json")]
        self._process = spawn(command, log=self.folder / "stored.log", cwd=ROOT)
        await self.client.__aenter__()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._answers()
        except BaseException:
            print(tail(self.folder / "stored.log"), file=sys.stderr)
            await self.__aexit__()
            raise
        return self

    async def _answers(self) -> None:
        while True:
            with contextlib.suppress(OSError, Refused):
                await self.client.send("GET", "/version")
                return
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("the stored API server ended while starting")
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        await self.client.__aexit__()
        if self._process is not None:
            stop(self._process, timeout_s=0.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig(self, path: Path) -> Path:
        ca = base64.b64encode(self._authority.certificate).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "s", "cluster": {"server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": "s", "user": {"token": "stored"}}],
            "contexts": [{"name": "s", "context": {"cluster": "s", "user": "s"}}],
            "current-context": "s",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    async def ask(self, what: str, **wish: object) -> Any:
        """One of the requests that ``stored.Cluster`` takes from us."""
        answer = await self.client.send("POST", f"/-/{what}", msgspec.json.encode(wish))
        return msgspec.json.decode(answer)

    async def writes(self) -> dict[str, int]:
        """Write requests so far, Events left out."""
        requests: dict[str, int] = (await self.ask("written"))["requests"]
        return {name: count for name, count in requests.items() if count and "events" not in name}


async def learn(plane: StoredPlane) -> Specimens:
    """What zenlead makes of a Service: on ``plane``, which has one and nothing of zenlead's yet."""
    zenlead = Zenlead(plane)
    try:
        await zenlead.ready()
        async with asyncio.timeout(LEARN_TIMEOUT_S):
            before: dict[str, int] = {}
            while len(before) < 3 or before != await plane.writes():  # Service, slice, and what follows
                before = await plane.writes()
                await asyncio.sleep(STILL_S)
        made = {body["kind"]: body for body in (await plane.ask("written"))["objects"]}
    finally:
        zenlead.close()
    return fleets.as_specimens(made["Service"], made["EndpointSlice"])


async def specimens(pods_each: int) -> Specimens:
    async with StoredPlane(Fleet(1, pods_each, 1)) as plane:
        return await learn(plane)
