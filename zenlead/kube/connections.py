"""Connections to one API server with one set of credentials: how they are opened, kept warm and given up.

Knows sockets and pools. Refuses to know requests and who asks. The rule: watches have a pool of their own, so
that a write never waits for a stream to end.
"""

from __future__ import annotations

import asyncio.sslproto
import socket
from typing import TYPE_CHECKING, Any

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
import aiohttp

import zenlead

if TYPE_CHECKING:
    from zenlead.kube.access import Access

# Go servers, kube-apiserver among them, drop idle connections after 90 s; a new TLS connection costs a
# failover ten times what a warm one does, so ours must live until shortly before that.
KEEPALIVE_TIMEOUT_S = 75.0
# A peer that vanished without a word is noticed after 5 + 3 * 3 s when nothing is sent, after 10 s when
# something is; the kernel's defaults are two hours and a quarter of an hour.
TCP_KEEPALIVE_IDLE_S = 5
TCP_KEEPALIVE_INTERVAL_S = 3
TCP_KEEPALIVE_PROBES = 3
TCP_USER_TIMEOUT_MS = 10_000

# asyncio keeps a buffer of this size for each TLS connection, and by default 256 KiB; a TLS record has 16 KiB
# at most, so that a large answer takes a few more reads with this and the dozen connections 2 MB less.
asyncio.sslproto.SSLProtocol.max_size = 64 * 1024

HEADERS = {
    "Accept": "application/json",
    # Inflating a list costs more than decoding its JSON; networks inside a cluster are fast.
    "Accept-Encoding": "identity",
    "User-Agent": f"zenlead/{zenlead.__version__}",
}


class Link:
    """Two pools of connections by one Access. ``options`` go with every request.

    A link whose credentials are replaced is retired: requests under way finish, then it closes.
    """

    def __init__(self, access: Access, connections: int) -> None:
        self.access = access
        self.options: dict[str, Any] = {"allow_redirects": False}
        if access.proxy is not None:
            self.options["proxy"] = access.proxy.url
            if access.proxy.authorization:
                self.options["proxy_headers"] = {"Proxy-Authorization": access.proxy.authorization}
        if access.tls.server_name:
            self.options["server_hostname"] = access.tls.server_name
        tls = access.tls.context() if access.host.startswith("https:") else True
        self.requests = _session(limit=connections, tls=tls)
        self.watches = _session(limit=0, tls=tls)
        self._in_use = 0
        self._retired = False

    def fits(self, access: Access) -> bool:
        """Whether ``access`` can use these connections: it differs at most in its token."""
        mine = self.access
        return (mine.host, mine.tls, mine.proxy) == (access.host, access.tls, access.proxy)

    async def __aenter__(self) -> Link:
        self._in_use += 1
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._in_use -= 1
        if self._retired and not self._in_use:
            await self.close()

    async def retire(self) -> None:
        """Close as soon as nobody uses it."""
        self._retired = True
        if not self._in_use:
            await self.close()

    async def close(self) -> None:
        """Close now; requests under way fail."""
        await self.requests.close()
        await self.watches.close()

    def __repr__(self) -> str:
        state = "closed" if self.requests.closed else "retired" if self._retired else "open"
        return f"Link({self.access.host}, {state}, {self._in_use} in use)"


def _session(*, limit: int, tls: Any) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        ssl=tls, limit=limit, keepalive_timeout=KEEPALIVE_TIMEOUT_S, socket_factory=_open_socket
    )
    # trust_env would look into ~/.netrc and the proxy variables in a thread, twice per request.
    return aiohttp.ClientSession(
        connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), headers=HEADERS
    )


def _open_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    opened = socket.socket(family=family, type=kind, proto=protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", TCP_KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", TCP_KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", TCP_KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", TCP_USER_TIMEOUT_MS),
    ):
        if hasattr(socket, option):  # Linux has all of them, other systems some
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return opened
