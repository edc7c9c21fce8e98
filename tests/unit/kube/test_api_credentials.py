"""TLS, tokens, certificates, plugins and proxies: who we are to the server and how that stays true."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import pathlib
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.unit.kube.fakeserver import FakeServer, Pki, inline, serving, status, write_kubeconfig
from zenlead.kube import credentials as module
from zenlead.kube import execplugin, userlogin
from zenlead.kube.api import ConfigError, HttpApi, connect
from zenlead.kube.errors import Unauthorized, Unreachable
from zenlead.kube.resources import PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

pytestmark = pytest.mark.usefixtures("quiet_environment")

SECRET = "s3cr3t-t0ken"


@pytest_asyncio.fixture
async def server(pki: Pki) -> AsyncIterator[FakeServer]:
    async with serving(pki.server_context()) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(kubeconfig: str | None) -> AsyncIterator[HttpApi]:
    api = await connect(kubeconfig=kubeconfig, context=None, request_timeout_s=5)
    try:
        yield api
    finally:
        await api.close()


@pytest.fixture
def kubeconfig(tmp_path: pathlib.Path, server: FakeServer, pki: Pki) -> Callable[..., str]:
    """Writes a kubeconfig that trusts the server, with the given user."""

    def write(user: dict[str, Any] | None = None, **cluster: Any) -> str:
        trusted = {"certificate-authority-data": inline(pki.ca)} | cluster
        return write_kubeconfig(tmp_path / "kubeconfig", server.url, user=user, **trusted)

    return write


def only(*good: str) -> Callable[[web.Request], Any]:
    """A server that takes these Authorization values and answers 401 to all others."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") in good:
            return status(200)
        return status(401, "Unauthorized", "Unauthorized")

    return answer


class Plugin:
    """An exec plugin: a script that prints its answers in turn, the last one for ever; counts its runs."""

    def __init__(self, folder: pathlib.Path, *answers: dict[str, Any] | str, then: str = "") -> None:
        self.runs = folder / "runs"
        self.runs.write_text("")
        for number, answer in enumerate(answers, 1):
            text = answer if isinstance(answer, str) else json.dumps(credential(**answer))
            (folder / f"answer{number}").write_text(text)
        self.script = folder / "plugin.sh"
        self.script.write_text(
            f"#!/bin/sh\ncd {folder}\necho x >> runs\nprintf '%s' \"$KUBERNETES_EXEC_INFO\" > info\n"
            f"n=$(wc -l < runs)\n[ $n -gt {len(answers)} ] && n={len(answers)}\n"
            f"{then}\ncat answer$((n))\n"
        )
        self.script.chmod(0o755)
        self.folder = folder

    def user(self, **extra: Any) -> dict[str, Any]:
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": str(self.script)} | extra}

    @property
    def count(self) -> int:
        return len(self.runs.read_text().split())


def credential(**granted: Any) -> dict[str, Any]:
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": granted,
    }


def stamp(seconds: float) -> str:
    """A time so many seconds from now, as plugins write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


# --- TLS ------------------------------------------------------------------------------------------


async def test_a_ca_inline_or_in_a_file_is_trusted(
    kubeconfig: Callable[..., str], pki: Pki, tmp_path: pathlib.Path, server: FakeServer
) -> None:
    async with connected(kubeconfig()) as api:
        await api.get(PODS, "t1", "a")
    (tmp_path / "my-ca.crt").write_bytes(pki.ca.read_bytes())
    relative = write_kubeconfig(tmp_path / "relative", server.url, **{"certificate-authority": "my-ca.crt"})
    async with connected(relative) as api:
        await api.get(PODS, "t1", "a")


async def test_an_unknown_ca_is_not_trusted(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    other = Pki(tmp_path, "other")
    async with connected(kubeconfig(**{"certificate-authority-data": inline(other.ca)})) as api:
        with pytest.raises(Unreachable, match=r"TLS with 127\.0\.0\.1") as caught:
            await api.get(PODS, "t1", "a")
        assert "SSLContext" not in str(caught.value)
    async with connected(write_kubeconfig(tmp_path / "system", server.url)) as api:
        with pytest.raises(Unreachable, match="TLS with"):
            await api.get(PODS, "t1", "a")
    assert server.requests == []


async def test_verification_can_be_turned_off(tmp_path: pathlib.Path, server: FakeServer) -> None:
    path = write_kubeconfig(tmp_path / "c", server.url, **{"insecure-skip-tls-verify": True})
    async with connected(path) as api:
        await api.get(PODS, "t1", "a")


async def test_the_servers_name_can_be_another(kubeconfig: Callable[..., str]) -> None:
    async with connected(kubeconfig(**{"tls-server-name": "api.test"})) as api:
        await api.get(PODS, "t1", "a")
    async with connected(kubeconfig(**{"tls-server-name": "wrong.test"})) as api:
        with pytest.raises(Unreachable, match=r"TLS .*wrong\.test"):
            await api.get(PODS, "t1", "a")


async def test_client_certificates_inline_or_in_files(
    kubeconfig: Callable[..., str], pki: Pki, server: FakeServer
) -> None:
    certificate, key = pki.sign("alice")
    data = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
    files = {"client-certificate": str(certificate), "client-key": str(key)}
    for user in (data, files):
        async with connected(kubeconfig(user)) as api:
            await api.get(PODS, "t1", "a")
            assert server.caller() == "alice"


async def test_ipv6(pki: Pki, tmp_path: pathlib.Path) -> None:
    received = []

    async def one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    listener = await asyncio.start_server(one_answer, "::1", 0, ssl=pki.server_context())
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        authority = {"certificate-authority-data": inline(pki.ca)}
        path = write_kubeconfig(tmp_path / "c", f"https://[::1]:{port}", **authority)
        async with connected(path) as api:
            assert await api.get(PODS, "t1", "a") == b"{}"
    assert f"Host: [::1]:{port}".encode() in received[0]


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        ({"token": SECRET}, f"Bearer {SECRET}"),
        ({"username": "joe", "password": "pw"}, f"Basic {base64.b64encode(b'joe:pw').decode()}"),
        ({}, None),
    ],
)
async def test_what_a_user_sends(
    kubeconfig: Callable[..., str], server: FakeServer, user: dict[str, str], sent: str | None
) -> None:
    async with connected(kubeconfig(user)) as api:
        await api.get(PODS, "t1", "a")
    assert server.sent("Authorization") == [sent]


async def test_a_token_file_is_read_again_each_minute(
    kubeconfig: Callable[..., str],
    server: FakeServer,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "token").write_text("one\n")
    async with connected(kubeconfig({"tokenFile": "token", "token": "ignored"})) as api:
        await api.get(PODS, "t1", "a")
        (tmp_path / "token").write_text("two\n")
        await api.get(PODS, "t1", "a")
        monkeypatch.setattr(userlogin, "TOKEN_FILE_PERIOD_S", 0.0)
        await api.get(PODS, "t1", "a")
        (tmp_path / "token").unlink()
        await api.get(PODS, "t1", "a")
    assert server.sent("Authorization") == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


@pytest.fixture
def pod(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, pki: Pki, server: FakeServer
) -> pathlib.Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("one\n")
    (folder / "ca.crt").write_bytes(pki.ca.read_bytes())
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    return folder


async def test_a_pods_token_rotates(pod: pathlib.Path, server: FakeServer) -> None:
    async with connected(None) as api:
        await api.get(PODS, "t1", "a")
        (pod / "token").write_text("two\n")
        server.answer = only("Bearer two")
        await api.get(PODS, "t1", "a")  # refused, read again, accepted
        assert server.sent("Authorization") == ["Bearer one", "Bearer one", "Bearer two"]


async def test_a_pods_token_is_read_again_without_a_refusal(
    pod: pathlib.Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes_asyncio.config import incluster_config

    monkeypatch.setattr(incluster_config, "TOKEN_REFRESH_PERIOD", incluster_config.datetime.timedelta(0))
    async with connected(None) as api:
        (pod / "token").write_text("two\n")
        await api.get(PODS, "t1", "a")
        (pod / "token").write_text("")  # being replaced right now
        await api.get(PODS, "t1", "a")
    assert server.sent("Authorization") == ["Bearer two", "Bearer two"]


async def test_a_pods_ca_rotates(
    pod: pathlib.Path, tmp_path: pathlib.Path, pki: Pki, server: FakeServer
) -> None:
    (pod / "ca.crt").write_bytes(Pki(tmp_path, "old").ca.read_bytes())
    async with connected(None) as api:
        (pod / "ca.crt").write_bytes(pki.ca.read_bytes())
        await api.get(PODS, "t1", "a")
    assert len(server.requests) == 1


async def test_a_refusal_that_lasts_is_unauthorized_and_no_storm(
    kubeconfig: Callable[..., str], server: FakeServer
) -> None:
    server.answer = only("Bearer other")
    async with connected(kubeconfig({"token": SECRET})) as api:
        for _ in range(3):
            with pytest.raises(Unauthorized):
                await api.patch(SERVICES, "t1", "web", b"{}")
        with pytest.raises(Unauthorized):
            await anext(api.watch(PODS, None, {}, deadline_s=5))
    assert len(server.requests) == 4  # the same token is not sent twice for one request


# --- exec plugins ---------------------------------------------------------------------------------


async def test_a_plugin_runs_once_and_not_per_request(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"})
    async with connected(kubeconfig(plugin.user())) as api:
        for _ in range(5):
            await api.get(PODS, "t1", "a")
    assert plugin.count == 1
    assert set(server.sent("Authorization")) == {"Bearer one"}


async def test_a_refused_token_is_fetched_again_once_by_all_who_need_it(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"}, {"token": "two"}, then="sleep 0.1")
    async with connected(kubeconfig(plugin.user())) as api:
        await api.get(PODS, "t1", "a")
        server.answer = only("Bearer two")
        clone = api.clone()
        await asyncio.gather(*(api.get(PODS, "t1", "a") for _ in range(10)), clone.get(PODS, "t1", "a"))
        assert plugin.count == 2
        await clone.close()


async def test_a_watch_gets_a_new_token_too(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"}, {"token": "two"})
    server.answer = only("Bearer two")
    async with connected(kubeconfig(plugin.user())) as api:
        assert b"".join([chunk async for chunk in api.watch(PODS, None, {}, deadline_s=5)])


async def test_a_plugin_is_not_run_again_too_soon(
    kubeconfig: Callable[..., str],
    tmp_path: pathlib.Path,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = Plugin(tmp_path, *({"token": f"t{number}"} for number in range(9)))
    server.answer = only("none of them")
    async with connected(kubeconfig(plugin.user())) as api:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await api.get(PODS, "t1", "a")
        assert plugin.count == 2
        assert len(server.requests) == 6
        monkeypatch.setattr(module, "MIN_RENEW_INTERVAL_S", 0.0)
        with pytest.raises(Unauthorized):
            await api.get(PODS, "t1", "a")
        assert plugin.count == 3


async def test_a_token_is_renewed_before_it_ends(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    ends = stamp(1000)
    plugin = Plugin(
        tmp_path,
        {"token": "one", "expirationTimestamp": ends},
        {"token": "two", "expirationTimestamp": stamp(9000)},
    )
    async with connected(kubeconfig(plugin.user())) as api:
        clock = api._credentials
        began = time.time()
        for at, expected in ((790, "one"), (801, None), (802, "two"), (5000, "two")):
            clock._now = lambda at=at: began + at  # type: ignore[misc]
            await api.get(PODS, "t1", "a")
            if expected is None:  # still valid: the request does not wait for the plugin
                assert server.sent("Authorization")[-1] == "Bearer one"
                await asyncio.wait_for(clock._renewal_over(), 5)
            else:
                assert server.sent("Authorization")[-1] == f"Bearer {expected}"
        assert plugin.count == 2


async def test_an_ended_token_is_renewed_before_the_request(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(
        tmp_path,
        {"token": "one", "expirationTimestamp": stamp(-5)},
        {"token": "two", "expirationTimestamp": stamp(-5)},  # a clock that is wrong must not make a fork bomb
    )
    async with connected(kubeconfig(plugin.user())) as api:
        for _ in range(5):
            await api.get(PODS, "t1", "a")
    assert server.sent("Authorization") == ["Bearer two"] * 5
    assert plugin.count == 2


async def test_a_plugins_certificate_is_used_and_replaced(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer, pki: Pki
) -> None:
    def granted(name: str) -> dict[str, str]:
        certificate, key = pki.sign(name)
        return {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}

    plugin = Plugin(tmp_path, granted("anna"), granted("berta"))
    hold = asyncio.Event()

    async def berta_only(request: web.Request) -> web.Response:
        if request.path.endswith("/slow"):
            await hold.wait()
            return status(200)
        return status(200) if server.caller() == "berta" else status(401, "Unauthorized")

    async with connected(kubeconfig(plugin.user())) as api:
        await api.get(PODS, "t1", "a")
        assert server.caller() == "anna"
        server.answer = berta_only
        slow = asyncio.create_task(api.get(PODS, "t1", "slow"))
        await asyncio.sleep(0.05)
        await api.get(PODS, "t1", "a")
        assert server.caller() == "berta"
        hold.set()
        assert await slow  # a request under way outlives the change
    assert plugin.count == 2


async def test_a_plugin_is_told_about_the_cluster_when_it_asks(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer, pki: Pki
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"})
    settings = {"name": execplugin.EXEC_EXTENSION, "extension": {"audience": "x"}}
    user = plugin.user(provideClusterInfo=True, args=["a", 7], env=[{"name": "STAGE", "value": "test"}])
    async with connected(kubeconfig(user, extensions=[settings])):
        info = json.loads((tmp_path / "info").read_text())
    assert info["spec"] == {
        "interactive": False,
        "cluster": {
            "server": server.url,
            "certificate-authority-data": inline(pki.ca),
            "config": {"audience": "x"},
        },
    }


async def test_a_command_with_a_path_is_relative_to_the_kubeconfig(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"})
    async with connected(kubeconfig(plugin.user(command="./plugin.sh"))):
        assert plugin.count == 1


@pytest.mark.parametrize(
    ("answer", "then", "expected"),
    [
        ("{}", "", "did not print an ExecCredential"),
        (SECRET, "", "did not print an ExecCredential"),
        ({}, "", "neither a token nor a certificate"),
        ({"clientCertificateData": SECRET}, "", "neither a token nor a certificate"),
        ({"token": SECRET, "expirationTimestamp": "soon"}, "", "expirationTimestamp is no time"),
        (
            {"token": SECRET},
            "echo 'log in\nfirst' >&2; cat answer1; exit 3",
            "ended with status 3: log in first",
        ),
        ({"token": SECRET}, "head -c 300000 /dev/zero >&2; exit 1", "ended with status 1"),
    ],
)
async def test_a_plugin_that_fails_is_one_line_without_what_it_printed(
    kubeconfig: Callable[..., str],
    tmp_path: pathlib.Path,
    answer: dict[str, Any] | str,
    then: str,
    expected: str,
) -> None:
    plugin = Plugin(tmp_path, answer, then=then)
    with pytest.raises(ConfigError, match=expected) as caught:
        await connect(kubeconfig=kubeconfig(plugin.user()), context=None)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_plugin_that_hangs_is_ended_with_its_children(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execplugin, "EXEC_TIMEOUT_S", 0.2)
    plugin = Plugin(tmp_path, {"token": SECRET}, then="sleep 60 & echo $! > child; sleep 60")
    started = time.monotonic()
    with pytest.raises(ConfigError, match="no answer within"):
        await connect(kubeconfig=kubeconfig(plugin.user()), context=None)
    assert time.monotonic() - started < 10
    child = (tmp_path / "child").read_text().strip()
    for _ in range(1000):  # the signal was sent; the kernel delivers it when it comes to it
        if has_ended(child):
            break
        await asyncio.sleep(0.01)
    assert has_ended(child)


def has_ended(pid: str) -> bool:
    """Whether a process is gone, or dead and not yet collected by whoever adopted it."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return state.rpartition(")")[2].split()[0] == "Z"


async def test_a_plugin_that_is_missing_comes_with_its_hint(kubeconfig: Callable[..., str]) -> None:
    user = {"exec": {"apiVersion": "v1", "command": "no-such-plugin", "installHint": "Install\nit."}}
    with pytest.raises(ConfigError, match=r"no-such-plugin cannot be run: No such file .*\. Install it\."):
        await connect(kubeconfig=kubeconfig(user), context=None)


async def test_when_the_plugin_fails_later_the_refusal_says_so(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(tmp_path, {"token": "one"}, "", then='[ "$n" = 2 ] && { echo session over >&2; exit 1; }')
    async with connected(kubeconfig(plugin.user())) as api:
        server.answer = only("none")
        with pytest.raises(Unauthorized, match="ended with status 1: session over"):
            await api.get(PODS, "t1", "a")


async def test_closing_ends_a_plugin_that_runs(
    kubeconfig: Callable[..., str], tmp_path: pathlib.Path, server: FakeServer
) -> None:
    plugin = Plugin(
        tmp_path, {"token": "one"}, {"token": "two"}, then='[ "$n" = 2 ] && echo $$ > pid && exec sleep 60'
    )
    api = await connect(kubeconfig=kubeconfig(plugin.user()), context=None)
    server.answer = only("Bearer two")
    request = asyncio.create_task(api.get(PODS, "t1", "a"))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    request.cancel()  # does not end the login that others may wait for
    with pytest.raises(asyncio.CancelledError):
        await request
    pid = (tmp_path / "pid").read_text().strip()
    assert not has_ended(pid)
    await api.close()
    assert has_ended(pid)


# --- proxies --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connect_proxy(target_port: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A CONNECT proxy that leads everybody to one port here; gives its own port and what it was asked."""
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, onward_writer), copy(onward_reader, writer))

    listener = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], asked


async def test_requests_go_through_the_proxy_and_its_password_only_there(
    tmp_path: pathlib.Path, server: FakeServer, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = {"certificate-authority-data": inline(pki.ca)}
    path = write_kubeconfig(tmp_path / "c", "https://api.test:6443", user={"token": SECRET}, **authority)
    async with connect_proxy(server.port) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://joe:pw@127.0.0.1:{port}")
        async with connected(path) as api:
            await api.get(PODS, "t1", "a")
            await api.get(PODS, "t1", "b")
    assert len(asked) == 1
    assert asked[0].startswith(b"CONNECT api.test:6443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"joe:pw") in asked[0]
    assert SECRET.encode() not in asked[0]
    assert server.sent("Proxy-Authorization") == [None, None]


@pytest.mark.parametrize("rule", ["127.0.0.1", "127.0.0.0/8", "*"])
async def test_no_proxy_means_a_direct_connection(
    kubeconfig: Callable[..., str], server: FakeServer, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", rule)
    async with connected(kubeconfig()) as api:
        await api.get(PODS, "t1", "a")


async def test_a_proxy_that_is_down_is_named_without_its_password(
    kubeconfig: Callable[..., str], server: FakeServer
) -> None:
    async with connected(kubeconfig(**{"proxy-url": f"http://joe:{SECRET}@127.0.0.1:9"})) as api:
        with pytest.raises(Unreachable, match="cannot connect to the proxy") as caught:
            await api.get(PODS, "t1", "a")
    assert SECRET not in f"{caught.value!r}{caught.value.__dict__}"


# --- secrets --------------------------------------------------------------------------------------


async def test_no_secret_is_shown(
    kubeconfig: Callable[..., str], server: FakeServer, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    certificate, key = pki.sign("alice")
    user = {"token": SECRET, "client-certificate": str(certificate), "client-key": str(key)}
    server.answer = only("none")
    async with connected(kubeconfig(user)) as api:
        with pytest.raises(Unauthorized) as caught:
            await api.get(PODS, "t1", "a")
        shown = [repr(caught.value), str(caught.value), repr(api), repr(api._credentials)]
        access = api._credentials.access
        shown += [repr(access), repr(access.tls), caplog.text]
    body = key.read_text().splitlines()[1]
    assert not [text for text in shown if SECRET in text or body in text]
