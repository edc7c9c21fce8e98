"""Who we are to the API server, kept fresh: the Authorization value, and a new login when it is refused.

Knows when credentials age. Refuses to know requests, and how a kubeconfig's user logs in (userlogin.py). The
rule: however many requests fail at once, one renewal runs, and never more often than MIN_RENEW_INTERVAL_S.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from typing import TYPE_CHECKING

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import incluster_config
from kubernetes_asyncio.config.config_exception import ConfigException

from zenlead.kube.access import Access, ConfigError, Tls, check_server
from zenlead.kube.proxies import choose_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from zenlead.kube.proxies import Proxy

SERVICE_ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
BEARER = "BearerToken"  # what kubernetes_asyncio calls the Authorization header
# A refused token is not fetched again sooner than this: a plugin run costs seconds, and a server that refuses
# everybody must not become a fork bomb here.
MIN_RENEW_INTERVAL_S = 10.0
# Renew this long before the end, or in the last fifth of a short life: no token may end under way.
EXPIRY_SKEW_S = 300.0
EXPIRY_SKEW_SHARE = 0.2


class Credentials:
    """The current Access, and the one task at a time that loads the next.

    Requests wait for that task only when the current credentials are over or refused. ``close`` ends it.
    """

    def __init__(
        self,
        access: Access,
        load: Callable[[], Awaitable[Access]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.access = access
        self.problem = ""  # why the last renewal failed; empty when it did not
        self._load = load
        self._now = now
        self._authorization = ""  # the last good value
        self._renewal: asyncio.Task[None] | None = None
        self._renewed_at = float("-inf")  # loop time

    async def authorization(self) -> str:
        """The value of the Authorization header; empty for anonymous requests and client certificates."""
        expires_at = self.access.expires_at
        if expires_at is not None:
            await self._renew_in_time(expires_at)
        try:
            value = await self.access.configuration.get_api_key_with_prefix(BEARER)
            self._authorization = check_authorization(value or "")
        except (OSError, ConfigException, ConfigError):
            # The token's file is being replaced right now: the value that was good a minute ago will do.
            return self._authorization
        return self._authorization

    async def renew(self, refused: str, access: Access) -> bool:
        """The server refused ``refused``, sent with ``access``: load again; True when that changed anything.

        True at once when somebody else renewed since; False at once when the last renewal is too recent.
        """
        if self.access is access:
            self._start_renewal()
            await self._renewal_over()
        return self.access.tls != access.tls or await self.authorization() != refused

    async def _renew_in_time(self, expires_at: float) -> None:
        now = self._now()
        skew = min(EXPIRY_SKEW_S, EXPIRY_SKEW_SHARE * (expires_at - self.access.loaded_at))
        if now < expires_at - skew:
            return
        self._start_renewal()
        if now >= expires_at:
            await self._renewal_over()

    def _start_renewal(self) -> None:
        loop = asyncio.get_running_loop()
        if self._renewal is not None or loop.time() < self._renewed_at + MIN_RENEW_INTERVAL_S:
            return
        self._renewed_at = loop.time()
        # The task belongs to this object and not to the request that happened to start it: a request that is
        # cut at its deadline must not kill the login that all others wait for. close() ends it.
        self._renewal = asyncio.create_task(self._run_renewal(), name="credentials")

    async def _run_renewal(self) -> None:
        try:
            access = await self._load()
            access.tls.context()  # certificates that cannot be used must not replace good ones
            self.access = access
            self.problem = ""
        except ConfigError as error:
            self.problem = str(error)
        except Exception as error:  # whoever waits goes on with the old credentials, which may still be good
            self.problem = f"{type(error).__name__} while logging in"
        finally:
            self._renewal = None

    async def _renewal_over(self) -> None:
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def close(self) -> None:
        """End a renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def __repr__(self) -> str:
        state = "renewing" if self._renewal else self.problem or "fresh"
        return f"Credentials({self.access!r}, {state})"


def check_authorization(value: str) -> str:
    """``value`` without white space around it; ConfigError when no header can carry it."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigError("the token contains characters that no HTTP header can carry")
    return value


def in_cluster() -> bool:
    """Whether this process runs in a pod with a service account."""
    files = (SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt")
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and all(path.is_file() for path in files)


async def load_in_cluster() -> Access:
    """Access by the pod's service account; the token is read again every minute by the upstream hook."""
    configuration = Configuration()
    try:
        incluster_config.load_incluster_config(  # type: ignore[no-untyped-call]  # upstream has no types here
            client_configuration=configuration,
            token_filename=str(SERVICE_ACCOUNT / "token"),
            cert_filename=str(SERVICE_ACCOUNT / "ca.crt"),
        )
        ca = (SERVICE_ACCOUNT / "ca.crt").read_bytes()
    except (ConfigException, OSError) as error:
        raise ConfigError(f"the pod's service account in {SERVICE_ACCOUNT} cannot be used: {error}") from None
    check_authorization(configuration.api_key[BEARER])
    namespace = SERVICE_ACCOUNT / "namespace"
    host = check_server(configuration.host or "")
    return Access(
        origin="the pod's service account",
        host=host,
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        configuration=configuration,
        tls=Tls(ca=ca),
        proxy=proxy_for(host, None),
        loaded_at=time.time(),
    )


def proxy_for(host: str, explicit: str | None) -> Proxy | None:
    """As ``choose_proxy`` with this process's environment; ConfigError when the value cannot be used."""
    try:
        return choose_proxy(host, explicit, os.environ)
    except ValueError as error:
        raise ConfigError(str(error)) from None
