"""Log in as the user of a kubeconfig context: token, token file, certificate, password, exec plugin, OIDC.

Knows what kubernetes_asyncio makes of a user entry. Refuses to know when to log in again (credentials.py) and
how plugins are spoken to (execplugin.py). The rule: each call reads everything anew.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import pathlib
import time
from typing import TYPE_CHECKING, Any

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import kube_config
from kubernetes_asyncio.config.config_exception import ConfigException

from zenlead.kube.access import Access, ConfigError, Tls, check_server
from zenlead.kube.credentials import BEARER, check_authorization, proxy_for
from zenlead.kube.execplugin import run_plugin
from zenlead.kube.kubeconfig import choose_context, read_file
from zenlead.kube.status import MESSAGE_LIMIT, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# An identity provider that does not answer must not stop the start of the process for longer than this.
LOGIN_TIMEOUT_S = 8.0
TOKEN_FILE_PERIOD_S = 60.0  # how old a value read from a tokenFile may be; as in-cluster tokens


async def log_in(files: Sequence[pathlib.Path], context: str | None) -> Access:
    """Access by a context of the kubeconfig ``files`` (the current one when ``context`` is None).

    Reads the files each time, so what has been edited or rotated since counts. ConfigError in one line.
    """
    chosen = choose_context(files, context)
    origin = f"kubeconfig {', '.join(map(str, files))}, context {chosen.name}"
    cluster, user = dict(chosen.cluster), dict(chosen.user)
    ca = _inline(cluster, "certificate-authority", origin)
    certificate = _inline(user, "client-certificate", origin)
    key = _inline(user, "client-key", origin)
    plugin = user.pop("exec", None)
    if user.get("tokenFile"):
        user.pop("token", None)  # the file is the newer one of the two
    configuration = await _load_upstream(cluster, user, origin)
    if user.get("tokenFile"):
        configuration.refresh_api_key_hook = _token_file_reader(pathlib.Path(user["tokenFile"]))
    expires_at = None
    if isinstance(plugin, dict) and BEARER not in configuration.api_key:
        granted = await run_plugin(plugin, chosen, origin)
        expires_at = granted.expires_at
        if granted.token:
            configuration.api_key[BEARER] = f"Bearer {granted.token}"
        if granted.certificate:
            certificate, key = granted.certificate, granted.key
    check_authorization(configuration.api_key.get(BEARER, ""))
    host = check_server(str(cluster["server"]))
    return Access(
        origin=origin,
        host=host,
        namespace=chosen.namespace or "default",
        configuration=configuration,
        tls=Tls(
            ca=ca or read_file(configuration.ssl_ca_cert, origin),
            certificate=certificate or read_file(configuration.cert_file, origin),
            key=key or read_file(configuration.key_file, origin),
            verify=configuration.verify_ssl,
            server_name=str(configuration.tls_server_name or ""),
        ),
        proxy=proxy_for(host, configuration.proxy),
        expires_at=expires_at,
        loaded_at=time.time(),
    )


async def _load_upstream(cluster: dict[str, Any], user: dict[str, Any], origin: str) -> Configuration:
    """What kubernetes_asyncio makes of the two entries, without the parts that log_in does itself."""
    configuration = Configuration()
    config = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
    }
    try:
        async with asyncio.timeout(LOGIN_TIMEOUT_S):
            await kube_config.load_kube_config_from_dict(config, client_configuration=configuration)
    except TimeoutError:
        raise ConfigError(f"{origin}: the login gave no answer within {LOGIN_TIMEOUT_S:g} s") from None
    except ConfigException as error:
        raise ConfigError(f"{origin}: {one_line(str(error), MESSAGE_LIMIT)}") from None
    except OSError as error:  # a file, or the way to an identity provider
        what = f"cannot read {error.filename}" if error.filename else "the login failed"
        raise ConfigError(f"{origin}: {what}: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # the loader lets whatever a malformed entry causes through
        raise ConfigError(
            f"{origin}: the user or cluster entry is malformed ({type(error).__name__})"
        ) from None
    return configuration


def _inline(entry: dict[str, Any], key: str, origin: str) -> bytes:
    """The decoded ``<key>-data`` of an entry, which replaces ``<key>`` when there is one."""
    data = entry.pop(f"{key}-data", None)
    if not data:
        return b""
    entry.pop(key, None)
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError, TypeError):
        raise ConfigError(f"{origin}: {key}-data is not base64") from None


def _token_file_reader(path: pathlib.Path) -> Callable[[Configuration], None]:
    """A refresh hook that reads the token again when the value is a minute old."""
    read_at = time.monotonic()

    def refresh(configuration: Configuration) -> None:
        nonlocal read_at
        if time.monotonic() < read_at + TOKEN_FILE_PERIOD_S:
            return
        read_at = time.monotonic()
        token = path.read_text().strip()
        if token:
            configuration.api_key[BEARER] = f"Bearer {token}"

    return refresh
