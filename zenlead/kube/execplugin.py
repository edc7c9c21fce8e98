"""Exec credential plugins: run one, read what it grants.

Knows the protocol of client.authentication.k8s.io. Refuses to know when a plugin runs (credentials.py). The
rule: what a plugin prints on its standard output never gets into an error text.
Source: "Authenticating", section "client-go credential plugins".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
from typing import Any

import msgspec

from zenlead.kube import importdiet  # noqa: F401  # first, for its effect on the imports below

# isort: split
from kubernetes_asyncio.config.config_exception import ConfigException
from kubernetes_asyncio.config.dateutil import parse_rfc3339
from kubernetes_asyncio.config.exec_provider import ExecProvider
from kubernetes_asyncio.config.kube_config import ConfigNode

from zenlead.kube.access import ConfigError
from zenlead.kube.kubeconfig import ChosenContext, read_file
from zenlead.kube.status import one_line

# Cloud helpers take 1 to 3 s; a start that cannot log in should still say so within ten seconds.
EXEC_TIMEOUT_S = 8.0
STDERR_LIMIT = 200  # characters of a plugin's complaint that are shown
EXEC_EXTENSION = "client.authentication.k8s.io/exec"  # the cluster's settings for plugins are under this name
CLUSTER_KEYS = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")


class Granted(msgspec.Struct, frozen=True):
    """What a plugin gave: a bearer token, or a client certificate with its key (PEM), or both."""

    token: str
    certificate: bytes
    key: bytes
    expires_at: float | None  # Unix seconds; None: until refused

    def __repr__(self) -> str:
        return f"Granted(token={bool(self.token)}, certificate={bool(self.certificate)})"


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct):
    status: _Status


async def run_plugin(plugin: dict[str, Any], chosen: ChosenContext, origin: str) -> Granted:
    """Run the ``exec`` entry once, without a terminal; ConfigError says how it failed.

    ``origin`` names the kubeconfig in error texts.
    """
    try:
        provider = ExecProvider(ConfigNode("exec", plugin))
        environment = {key: str(value) for key, value in provider.env.items()}
        command, *arguments = map(str, provider.args)
    except (ConfigException, TypeError, AttributeError) as error:
        raise ConfigError(f"{origin}: malformed exec entry ({type(error).__name__})") from None
    environment["KUBERNETES_EXEC_INFO"] = _exec_info(plugin, chosen)
    if os.sep in command:
        command = os.path.join(chosen.base, command)
    name = f"{origin}: credential plugin {command}"
    output = await _run([command, *arguments], environment, name, str(plugin.get("installHint") or ""))
    return granted_by(output, name)


def granted_by(output: bytes, name: str) -> Granted:
    """What a plugin's standard output grants. ConfigError, which quotes none of it, when that is nothing."""
    try:
        status = msgspec.json.decode(output, type=_ExecCredential).status
    except (ValueError, RecursionError):
        raise ConfigError(f"{name} did not print an ExecCredential") from None
    granted = Granted(
        token=status.token or "",
        certificate=(status.client_certificate_data or "").encode(),
        key=(status.client_key_data or "").encode(),
        expires_at=_expiry(status.expiration_timestamp, name),
    )
    if not granted.token and not (granted.certificate and granted.key):
        raise ConfigError(f"{name} gave neither a token nor a certificate with its key")
    return granted


async def _run(command: list[str], environment: dict[str, str], name: str, hint: str) -> bytes:
    """The standard output of ``command``, killed when it takes too long or the caller is cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or "malformed command"
        raise ConfigError(f"{name} cannot be run: {why}. {one_line(hint, STDERR_LIMIT)}".rstrip()) from None
    try:
        async with asyncio.timeout(EXEC_TIMEOUT_S):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise ConfigError(f"{name} gave no answer within {EXEC_TIMEOUT_S:g} s") from None
    finally:
        if process.returncode is None:
            # The whole group: a child that holds the pipes open would keep wait() from returning.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        said = one_line(complaint.decode("utf-8", "replace"), STDERR_LIMIT)
        raise ConfigError(f"{name} ended with status {process.returncode}: {said or 'no explanation'}")
    return output


def _exec_info(plugin: dict[str, Any], chosen: ChosenContext) -> str:
    """The ExecCredential that the plugin gets in its environment, with the cluster when it asks for that."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        cluster = {key: chosen.cluster[key] for key in CLUSTER_KEYS if key in chosen.cluster}
        authority = chosen.cluster.get("certificate-authority-data")
        if not authority and chosen.cluster.get("certificate-authority"):
            content = read_file(str(chosen.cluster["certificate-authority"]), f"context {chosen.name}")
            authority = base64.b64encode(content).decode()
        if authority:
            cluster["certificate-authority-data"] = authority
        for extension in chosen.cluster.get("extensions") or ():
            if extension.get("name") == EXEC_EXTENSION:
                cluster["config"] = extension.get("extension")
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(info).decode()


def _expiry(timestamp: str | None, name: str) -> float | None:
    if not timestamp:
        return None
    try:
        return parse_rfc3339(timestamp).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(f"{name}: its expirationTimestamp is no time") from None
