"""What connecting loads: no generated model, and no name lost for others."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from tests.unit.kube.fakeserver import write_kubeconfig

ROOT = pathlib.Path(__file__).parents[3]

MEASURE = """
import asyncio, json, pathlib, sys
from zenlead.kube import credentials
from zenlead.kube.api import connect
if len(sys.argv) > 2:
    credentials.SERVICE_ACCOUNT = pathlib.Path(sys.argv[2])
async def main():
    await (await connect(kubeconfig=sys.argv[1] or None, context=None)).close()
asyncio.run(main())
print(json.dumps(sorted(sys.modules)))
"""

OTHERS = """
import ssl, sys
original = ssl.SSLContext.load_default_certs
from zenlead.kube import api
assert ssl.SSLContext.load_default_certs is original
assert "set_default_verify_paths" not in vars(ssl.SSLContext), "the base class has it again"
import kubernetes_asyncio
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client import V1Pod, rest
from kubernetes_asyncio.client.models import V1Service
assert V1Pod is client.V1Pod is kubernetes_asyncio.client.models.V1Pod
assert client.CoreV1Api.__module__ == "kubernetes_asyncio.client.api.core_v1_api"
assert config.load_kube_config and config.ConfigException and watch.Watch and rest.RESTClientObject
assert kubernetes_asyncio.__version__ and kubernetes_asyncio.dynamic.DynamicClient
assert not hasattr(client, "__wrapped__")
few = [name for name in sys.modules if name.startswith("kubernetes_asyncio.client.models.")]
assert not hasattr(client, "NoSuchThing")
namespace = {}
exec("from kubernetes_asyncio.client import *", namespace)
assert namespace["V1Pod"] is V1Pod
import urllib3
assert urllib3.exceptions.HTTPError and urllib3.util.make_headers and urllib3.__version__
assert urllib3.PoolManager is urllib3.poolmanager.PoolManager
import aiohttp.connector
for context in (aiohttp.connector._SSL_CONTEXT_VERIFIED, aiohttp.connector._SSL_CONTEXT_UNVERIFIED):
    assert context.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0}
assert aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode == ssl.CERT_REQUIRED
print(len(few))
"""

HOMELESS = """
import asyncio, os, pwd, sys
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
os.environ.pop("HOME", None)
from zenlead.kube.api import connect
async def main():
    await (await connect(kubeconfig=sys.argv[1], context=None)).close()
asyncio.run(main())
assert "HOME" not in os.environ
print("ok")
"""

FULL_FIRST = """
import kubernetes_asyncio, urllib3
pool = urllib3.PoolManager
whole = kubernetes_asyncio.client.V1Pod
from zenlead.kube import api
assert kubernetes_asyncio.client.V1Pod is whole and urllib3.PoolManager is pool
print("ok")
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in {"KUBECONFIG", "KUBERNETES_SERVICE_HOST"}}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def models(modules: list[str]) -> list[str]:
    return [name for name in modules if name.startswith("kubernetes_asyncio.client.models.")]


def test_connecting_by_kubeconfig_loads_no_model(tmp_path: pathlib.Path, pki_ca: str) -> None:
    (tmp_path / "ca.crt").write_text(pki_ca)
    path = write_kubeconfig(
        tmp_path / "c", "https://127.0.0.1:9", user={"token": "x"}, **{"certificate-authority": "ca.crt"}
    )
    modules: list[str] = json.loads(run(MEASURE, path))
    assert models(modules) == []
    assert "kubernetes_asyncio.config.kube_config" in modules


def test_connecting_in_a_pod_loads_neither_models_nor_yaml(tmp_path: pathlib.Path, pki_ca: str) -> None:
    (tmp_path / "ca.crt").write_text(pki_ca)
    (tmp_path / "token").write_text("x")
    service: dict[str, Any] = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "9"}
    modules: list[str] = json.loads(run(MEASURE, "", str(tmp_path), **service))
    assert models(modules) == []
    for name in (
        "yaml",
        "dateutil",
        "kubernetes_asyncio.client.api_client",
        "kubernetes_asyncio.client.rest",
    ):
        assert name not in modules


def test_others_find_every_name() -> None:
    assert int(run(OTHERS)) < 20


def test_whoever_came_first_keeps_the_whole_package() -> None:
    assert run(FULL_FIRST).strip() == "ok"


def test_a_kubeconfig_works_for_a_user_without_a_home(tmp_path: pathlib.Path) -> None:
    path = write_kubeconfig(tmp_path / "c", "http://127.0.0.1:9", user={"token": "x"})
    assert run(HOMELESS, path).strip() == "ok"
