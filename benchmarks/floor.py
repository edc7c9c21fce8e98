"""The floor: the least that any Python process has to do from a pod event to a moved slice.

One watch, a table from pods to slices, and one PATCH on a warm connection. No retries, no caches to speak of,
no checks, no telemetry: nobody should run this. ``python -m benchmarks.floor``, told by its environment.
"""

from __future__ import annotations

import asyncio
import os
import ssl

import aiohttp
import msgspec

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
WATCHING = "watching"  # what it says once it does
WARM = 32  # connections; a storm must not begin with as many TLS handshakes
WARM_EVERY_S = 30.0  # the server closes what was idle for 90 s, and a request may meet that


async def main() -> None:
    url, namespace = os.environ["FLOOR_URL"], os.environ["FLOOR_NAMESPACE"]
    headers = {"Authorization": f"Bearer {os.environ['FLOOR_TOKEN']}", "Accept-Encoding": "identity"}
    tls = ssl.create_default_context(cadata=os.environ["FLOOR_CA"])
    connector = aiohttp.TCPConnector(ssl=tls, limit=WARM + 1, keepalive_timeout=300)
    decoder = msgspec.json.Decoder(Event)
    slices = f"{url}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/"
    fit: dict[str, dict[str, str]] = {}  # service -> pod -> address, of ready pods
    leaders: dict[str, str] = {}  # service -> pod

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def move(service: str) -> None:
            pod, address = next(iter(fit[service].items()))
            leaders[service] = pod
            target = {"kind": "Pod", "namespace": namespace, "name": pod}
            endpoint = {"addresses": [address], "conditions": {"ready": True}, "targetRef": target}
            body = msgspec.json.encode({"endpoints": [endpoint]})
            async with session.patch(f"{slices}{service}-leader", data=body, headers=MERGE_PATCH) as answer:
                await answer.read()

        async def warm() -> None:
            async with session.get(f"{url}/livez") as answer:
                await answer.read()

        def take(event: Event) -> bool:
            pod = event.object
            service, name = pod.metadata.labels.get("app", ""), pod.metadata.name
            ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
            if ready:
                fit.setdefault(service, {})[name] = pod.status.podIP
                leaders.setdefault(service, name)
                return False
            fit.get(service, {}).pop(name, None)
            return leaders.get(service) == name and bool(fit.get(service))

        async def stay_warm() -> None:
            while True:
                await asyncio.sleep(WARM_EVERY_S)
                await asyncio.gather(*(warm() for _ in range(WARM)))

        await asyncio.gather(*(warm() for _ in range(WARM)))
        pods = f"{url}/api/v1/namespaces/{namespace}/pods?watch=1"
        async with (
            asyncio.TaskGroup() as group,
            session.get(pods, timeout=aiohttp.ClientTimeout(total=None)) as watch,
        ):
            group.create_task(stay_warm())
            print(WATCHING, flush=True)
            parts = b""
            async for chunk in watch.content.iter_any():
                *lines, parts = (parts + chunk).split(b"\n")
                for event in map(decoder.decode, lines):
                    if take(event):
                        group.create_task(move(event.object.metadata.labels["app"]))


class Meta(msgspec.Struct):
    name: str
    labels: dict[str, str] = {}


class Condition(msgspec.Struct):
    type: str
    status: str


class Status(msgspec.Struct):
    podIP: str = ""
    conditions: list[Condition] = []


class Pod(msgspec.Struct):
    metadata: Meta
    status: Status


class Event(msgspec.Struct):
    object: Pod


if __name__ == "__main__":
    asyncio.run(main())
