"""An API server that has everything ready as bytes: ``python -m benchmarks.stored``, told by a JSON file.

For clusters that a real one would take an hour to fill. A process of its own, so that what it needs counts
for nobody else. Knows lists, pages, streaming lists, watches, merge patches and creations, and makes pods
fail when it is told to. Refuses to check anything. The rule not to break: each event of a watch is an HTTP
chunk of its own, as API servers send them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from benchmarks import fleet as fleets
from benchmarks.fleet import Fleet, Pods, Specimens
from zenlead.kube.resources import ENDPOINT_SLICES

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOB = 64 * 1024  # bytes of a stored list that are written at a time
REACTION_TIMEOUT_S = 30.0
END_MARK = {"k8s.io/initial-events-end": "true"}

encode = msgspec.json.encode


class Told(msgspec.Struct):
    """What the process is told: which cluster, and where its certificate is."""

    fleet: Fleet
    specimens: Specimens
    port: int
    certificate: str  # path of a PEM file with certificate and key
    streaming: bool = True  # False: as an old server, which refuses streaming lists


class Watcher(msgspec.Struct):
    plural: str
    namespace: str
    writer: asyncio.StreamWriter


def chunk(kind: str, body: bytes) -> bytes:
    line = b'{"type":"%s","object":%s}\n' % (kind.encode(), body)
    return b"%x\r\n%s\r\n" % (len(line), line)


class Cluster:
    """The objects, their watchers, and what was asked."""

    def __init__(self, told: Told) -> None:
        self.fleet, self._specimens, self._streaming = told.fleet, told.specimens, told.streaming
        self._version = fleets.FIRST_VERSION
        self._pods = Pods(told.fleet)
        self._watchers: list[Watcher] = []
        self._changed: dict[str, dict[str, Any]] = {}  # path -> object that somebody wrote
        self._moves: dict[str, asyncio.Future[float]] = {}  # path of a slice -> when it was written next
        self.requests: Counter[str] = Counter()
        made = {
            "pods": (self._pods.make(n, i, 1 + n) for n, i in self._each_pod()),
            "services": self._services(),
            "endpointslices": self._slices(),
            "nodes": (fleets.node(number) for number in range(self.fleet.nodes)),
        }
        # Whole initial lists, as they are sent: by chunks, joined to blobs; and once more as items of pages.
        self._blobs = (
            {plural: list(_blobs(items)) for plural, items in made.items()} if self._streaming else {}
        )
        self._items = {} if self._streaming else {plural: list(items) for plural, items in made.items()}

    def _each_pod(self) -> Iterator[tuple[int, int]]:
        return ((n, i) for n in range(self.fleet.services) for i in range(self.fleet.pods_each))

    def _services(self) -> Iterator[bytes]:
        for number in range(self.fleet.services):
            yield fleets.source(self.fleet, number)
            if self._specimens.leader:
                yield fleets.led(self._specimens.leader, self.fleet, number, 1 + number)

    def _slices(self) -> Iterator[bytes]:
        if self._specimens.slice:
            for number in range(self.fleet.services):
                yield fleets.led(self._specimens.slice, self.fleet, number, 1 + number)

    def next_version(self) -> int:
        self._version += 1
        return self._version

    # --- requests

    async def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/version":
            return 200, encode({"gitVersion": "v1.37.2-stored"})
        if path.startswith("/-/"):
            return 200, encode(await self._control(path, msgspec.json.decode(body or b"{}")))
        self.requests[f"{method} {path.rpartition('/')[0] or path}"] += method != "GET"
        if method == "POST":
            return 201, self._create(path, body)
        if method == "PATCH":
            return self._patch(path, body)
        if method == "GET":
            return 200, self._page(path.rpartition("/")[2], query)
        return 404, b"{}"

    def _page(self, plural: str, query: dict[str, str]) -> bytes:
        items = self._items.get(plural, [])
        start, limit = int(query.get("continue", 0)), int(query.get("limit", len(items) or 1))
        meta: dict[str, Any] = {"resourceVersion": str(self._version)}
        if start + limit < len(items):
            meta["continue"] = str(start + limit)
            if "labelSelector" not in query:  # as the real one, which counts before it selects
                meta["remainingItemCount"] = len(items) - start - limit
        return b'{"metadata":%s,"items":[%s]}' % (encode(meta), b",".join(items[start : start + limit]))

    def _create(self, path: str, body: bytes) -> bytes:
        made = msgspec.json.decode(body)
        meta = made["metadata"]
        meta["uid"] = fleets.uid(7, self.next_version())
        meta |= {"resourceVersion": str(self._version), "creationTimestamp": fleets.CREATED}
        plural = path.rpartition("/")[2]
        if plural in ("services", "endpointslices"):
            self._changed[f"{path}/{meta['name']}"] = made
            self.push(plural, meta["namespace"], "ADDED", encode(made))
        return encode(made)

    def _patch(self, path: str, body: bytes) -> tuple[int, bytes]:
        path = path.removesuffix("/status")
        plural, name = path.split("/")[-2:]
        if (current := self._changed.get(path)) is None:
            specimen = self._specimens.slice if plural == "endpointslices" else self._specimens.leader
            if not specimen or not name.endswith("-leader"):
                return 404, b"{}"
            number = int(name.removeprefix("web-").removesuffix("-leader"))
            current = msgspec.json.decode(fleets.led(specimen, self.fleet, number, 1 + number))
        sent = msgspec.json.decode(body)
        asked = sent.get("metadata", {}).pop("resourceVersion", current["metadata"]["resourceVersion"])
        if asked != current["metadata"]["resourceVersion"]:
            return 409, encode({"kind": "Status", "reason": "Conflict", "code": 409})
        _merge(current, sent)
        current["metadata"]["resourceVersion"] = str(self.next_version())
        self._changed[path] = current
        answer = encode(current)
        self.push(plural, current["metadata"]["namespace"], "MODIFIED", answer)
        if (waiting := self._moves.pop(path, None)) is not None and not waiting.done():
            waiting.set_result(time.perf_counter())
        return 200, answer

    # --- watches

    async def watch(
        self, path: str, query: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the client goes or its time is over."""
        plural = path.rpartition("/")[2]
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        if query.get("sendInitialEvents") == "true":
            for blob in self._blobs[plural]:  # those of all namespaces, whatever was asked for
                writer.write(blob)
                await writer.drain()
            meta = {"resourceVersion": str(self._version), "annotations": END_MARK}
            writer.write(chunk("BOOKMARK", encode({"metadata": meta})))
            await writer.drain()
        watcher = Watcher(plural, namespace, writer)
        self._watchers.append(watcher)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(query.get("timeoutSeconds", 3600))):
                    await reader.read()  # nothing comes but the end
                    return
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            self._watchers.remove(watcher)

    def refuses(self, query: dict[str, str]) -> bool:
        return not self._streaming and "sendInitialEvents" in query

    def push(self, plural: str, namespace: str, kind: str, body: bytes) -> None:
        self._write(plural, namespace, chunk(kind, body))

    def _write(self, plural: str, namespace: str, sent: bytes) -> None:
        for watcher in self._watchers:
            if watcher.plural == plural and watcher.namespace in ("", namespace):
                watcher.writer.write(sent)

    # --- what the harness asks for

    async def _control(self, path: str, wish: dict[str, Any]) -> object:
        match path.removeprefix("/-/"):
            case "written":
                return {"requests": dict(self.requests), "objects": list(self._changed.values())}
            case "failovers":
                return await self._failovers(wish["first"], wish["count"], wish["gap_s"])
            case "noise":
                return await self._noise(wish["events"], wish["per_s"], concerned=wish["concerned"])
            case "watching":
                return len({watcher.plural for watcher in self._watchers})
        return {}

    async def _failovers(self, first: int, count: int, gap_s: float) -> list[float]:
        """One leader after another fails; milliseconds from the event to the write that moves its slice."""
        taken = []
        for number in range(first, first + count):
            namespace = self.fleet.namespace(number)
            path = ENDPOINT_SLICES.path(namespace, f"{fleets.service_name(number)}-leader")
            written: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            self._moves[path] = written
            body = self._pods.make(number, 0, self.next_version(), ready=False)
            sent = time.perf_counter()
            self.push("pods", namespace, "MODIFIED", body)
            async with asyncio.timeout(REACTION_TIMEOUT_S):
                taken.append((await written - sent) * 1e3)
            await asyncio.sleep(gap_s)
        return taken

    async def _noise(self, events: int, per_s: float, *, concerned: bool) -> dict[str, float]:
        """Changes of pods that change nothing: one after the other at a pace, or (0) as fast as it goes.

        ``concerned``: pods of Services that are led; else of a namespace in which nobody is.
        """
        prepared = []
        for number in range(events):
            namespace = self.fleet.namespace(number % self.fleet.services)
            body = self._pods.make(number % self.fleet.services, 1, self.next_version())
            if not concerned:
                body = body.replace(namespace.encode(), b"elsewhere", 1)
                namespace = "elsewhere"
            prepared.append((namespace, chunk("MODIFIED", body)))
        started = time.perf_counter()
        for number, (namespace, sent) in enumerate(prepared):
            if per_s:
                await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))
            self._write("pods", namespace, sent)
            if not per_s:
                for watcher in self._watchers:
                    await watcher.writer.drain()
        return {"seconds": time.perf_counter() - started}


def _blobs(items: Iterator[bytes]) -> Iterator[bytes]:
    parts, size = [], 0
    for item in items:
        parts.append(chunk("ADDED", item))
        size += len(parts[-1])
        if size >= BLOB:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7396."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


class Server:
    """HTTP/1.1 around a Cluster, as far as one client of ours needs it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._once(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _once(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.decode().split("\r\n")
        method, url, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        if "watch" in query and not self._cluster.refuses(query):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            await self._cluster.watch(parts.path, query, reader, writer)
            return
        if "watch" in query:
            status, answer = 422, encode({"kind": "Status", "reason": "Invalid", "code": 422})
        else:
            status, answer = await self._cluster.answer(method, parts.path, query, body)
        writer.write(
            b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(answer), answer)
        )
        await writer.drain()


async def main(told: Told) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(told.certificate)
    server = Server(Cluster(told))
    async with await asyncio.start_server(server.serve, "127.0.0.1", told.port, ssl=tls) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Told)))
