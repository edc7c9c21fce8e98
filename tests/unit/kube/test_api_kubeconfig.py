"""Which kubeconfig and context ``connect`` takes, and the one line it says when there is none to take."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.kube.fakeserver import write_kubeconfig
from zenlead.kube import credentials
from zenlead.kube.api import ConfigError, connect

if TYPE_CHECKING:
    import pathlib

SECRET = "s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, quiet_environment: None) -> pathlib.Path:
    return tmp_path


@pytest.fixture
def pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """As in a pod of namespace ``prod``; gives the service account's folder."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(SECRET)
    (folder / "ca.crt").write_text(CA)
    (folder / "namespace").write_text("prod\n")
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return folder


CA = """-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAt0ZXN0aW5n
-----END CERTIFICATE-----
"""


async def host_of(kubeconfig: str | None = None, context: str | None = None) -> tuple[str, str]:
    api = await connect(kubeconfig=kubeconfig, context=context)
    await api.close()
    return api.host, api.default_namespace


async def problem(kubeconfig: str | None = None, context: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        await connect(kubeconfig=kubeconfig, context=context)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    assert SECRET not in repr(caught.value.__dict__)
    return text


# --- which one ------------------------------------------------------------------------------------


async def test_the_flag_wins(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", write_kubeconfig(home / "env", "http://env:1"))
    flag = write_kubeconfig(home / "flag", "http://flag:1/", namespace="t1")
    assert await host_of(flag) == ("http://flag:1", "t1")
    assert await host_of() == ("http://env:1", "default")


async def test_home_is_the_last_resort(home: pathlib.Path) -> None:
    (home / ".kube").mkdir()
    write_kubeconfig(home / ".kube/config", "http://home:1")
    assert await host_of() == ("http://home:1", "default")


async def test_nothing_at_all() -> None:
    assert (
        await problem() == "no way to an API server: no --kubeconfig, no KUBECONFIG, no ~/.kube/config, "
        "and no service account of a pod; name a kubeconfig"
    )


async def test_a_named_file_that_is_missing(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await problem(str(home / "none")) == f"no kubeconfig at {home}/none; check --kubeconfig"
    monkeypatch.setenv("KUBECONFIG", f"{home}/a{os.pathsep}{home}/b")
    assert "KUBECONFIG names no file that exists" in await problem()


async def test_files_of_a_list_are_merged_and_the_first_wins(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_kubeconfig(home / "1", "http://first:1", name="one")
    second = write_kubeconfig(home / "2", "http://second:1", name="two")
    again = write_kubeconfig(home / "3", "http://third:1", name="one")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", first, str(home / "none"), second, again]))
    assert (await host_of())[0] == "http://first:1"
    assert (await host_of(context="two"))[0] == "http://second:1"


@pytest.mark.usefixtures("pod")
async def test_a_pod_uses_its_service_account(monkeypatch: pytest.MonkeyPatch, pki_ca: str) -> None:
    (credentials.SERVICE_ACCOUNT / "ca.crt").write_text(pki_ca)
    assert await host_of() == ("https://[fd00::1]:443", "prod")


@pytest.mark.usefixtures("pod")
async def test_in_a_pod_a_kubeconfig_or_a_context_still_counts(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no way to an API server" in await problem(context="x")
    monkeypatch.setenv("KUBECONFIG", write_kubeconfig(home / "env", "http://env:1"))
    assert (await host_of())[0] == "http://env:1"


async def test_a_pod_with_broken_files_says_so(pod: pathlib.Path) -> None:
    assert "CA certificate" in await problem()
    (pod / "token").write_text("")
    assert "service account" in await problem()


async def test_a_token_of_several_lines_is_no_token(pod: pathlib.Path, pki_ca: str) -> None:
    (pod / "ca.crt").write_text(pki_ca)
    (pod / "token").write_text(f"{SECRET}\n{SECRET}")
    assert "no HTTP header" in await problem()


# --- what can be wrong with it --------------------------------------------------------------------


async def test_an_unknown_context_is_answered_with_those_there_are(home: pathlib.Path) -> None:
    path = write_kubeconfig(home / "c", "http://x:1", name="prod")
    assert await problem(path, "nope") == f"{path}: no context 'nope'; there are prod"


def config(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api:6443"}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
    }
    return whole | changes


def with_user(**user: Any) -> dict[str, Any]:
    return config(users=[{"name": "u", "user": user}])


def with_cluster(**cluster: Any) -> dict[str, Any]:
    return config(clusters=[{"name": "k", "cluster": {"server": "https://api:6443"} | cluster}])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{token: s3cr3t-t0ken, [", "not valid YAML, line 1"),
        ("\x00", "not valid YAML"),
        ("- a\n", "should be a mapping"),
        ("", "no current-context; choose one of none at all"),
        (config(**{"current-context": None}), "no current-context; choose one of c"),
        (config(contexts="x"), "contexts should be a list"),
        (config(users=[SECRET]), "users should be a list of mappings"),
        (config(users=[{"name": "u", "user": SECRET}]), "an entry of users has no name or no mapping"),
        (config(users=[]), "names user 'u', which is not there"),
        (config(clusters=[]), "names cluster 'k', which is not there"),
        (config(clusters=[{"name": "k"}]), "has no server"),
        (with_cluster(server="api:6443"), "is no URL like https://host:6443"),
        (with_cluster(server="https://api:port"), "is no URL"),
        (with_cluster(server=f"https://joe:{SECRET}@api"), "contains a user name"),
        (with_cluster(**{"certificate-authority": "ca.crt"}), "ca.crt"),
        (with_cluster(**{"certificate-authority-data": "x"}), "certificate-authority-data is not base64"),
        (with_cluster(**{"certificate-authority-data": "eA=="}), "CA certificate"),
        (with_cluster(**{"certificate-authority": 7}), "entry is malformed"),
        (with_cluster(**{"proxy-url": f"socks5://joe:{SECRET}@p"}), "proxies are spoken to by http://"),
        (with_user(tokenFile="/no/such/file"), "/no/such/file"),
        (with_user(token=f"{SECRET}\nx"), "no HTTP header"),
        (with_user(**{"client-certificate-data": "x!", "client-key-data": "y"}), "not base64"),
        (with_user(**{"client-certificate": "/none", "client-key": "/none"}), "/none"),
        (
            with_user(**{"auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}}),
            "entry is malformed",
        ),
        (with_user(**{"auth-provider": {"name": "oidc"}}), "entry is malformed"),
        (with_user(exec={"command": "x"}), "malformed exec entry"),
        (with_user(exec={"apiVersion": "v1", "command": "/no/plugin"}), "cannot be run: No such file"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(
    home: pathlib.Path, document: str | dict[str, Any], expected: str
) -> None:
    path = home / "broken"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    assert expected in await problem(str(path))


async def test_certificate_and_key_must_belong_together(home: pathlib.Path, pki_ca: str) -> None:
    data = base64.b64encode(pki_ca.encode()).decode()
    path = home / "broken"
    path.write_text(json.dumps(with_user(**{"client-certificate-data": data, "client-key-data": data})))
    assert "cannot be used together" in await problem(str(path))


async def test_a_folder_is_no_kubeconfig(home: pathlib.Path) -> None:
    assert "no kubeconfig at" in await problem(str(home))


async def test_an_empty_ca_file_does_not_mean_the_systems_cas(home: pathlib.Path) -> None:
    (home / "ca.crt").write_text("")
    path = home / "c"
    path.write_text(json.dumps(with_cluster(**{"certificate-authority": "ca.crt"})))
    assert "ca.crt is empty" in await problem(str(path))
