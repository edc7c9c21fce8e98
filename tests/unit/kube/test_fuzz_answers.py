"""Hostile answers and files: error bodies, Leases, kubeconfigs, tokens, plugins.

What cannot be used ends in a declared error of one line, without the secrets that were in it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.simulated.clock import run_virtual
from tests.unit.kube import hostile
from zenlead.kube.access import ConfigError, Tls
from zenlead.kube.credentials import check_authorization
from zenlead.kube.errors import ApiError, Invalid
from zenlead.kube.execplugin import granted_by
from zenlead.kube.leaseobject import decode_lease
from zenlead.kube.proxies import choose_proxy, goes_direct
from zenlead.kube.status import MESSAGE_LIMIT, error_of
from zenlead.kube.userlogin import log_in

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = b'{"metadata":{"x":' + b"[" * 1_200
NOW = 1_735_700_000.0
SECRET = "s3cr3t-of-the-user"
STATUS: dict[str, Any] = {
    "kind": "Status",
    "code": 429,
    "reason": "TooManyRequests",
    "message": "slow down",
    "details": {"retryAfterSeconds": 3, "causes": [{"reason": "x", "message": "y", "field": "z"}]},
}
LEASE: dict[str, Any] = {
    "metadata": {"name": "l", "resourceVersion": "12"},
    "spec": {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2025-01-01T00:00:00.000000Z",
        "renewTime": "2025-01-01T00:00:00.000000Z",
        "leaseTransitions": 2,
    },
}
RETRY_AFTER = (
    *("", " ", "0", "17", "-3", "1e9", "9" * 400, "inf", "nan", "²", "0x10", "1.5", "\x00", "Wed"),
    *("Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -2359"),
    *(
        "32 Foo 2015 99:99:99 +9999",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "1 Jan 2025 0:0:0 \ud800",
    ),
    *(",,,,", "Wed, 21 Oct 2015 07:28:00 +999999999999999", "Mon 1"),
)


@given(
    code=st.integers(100, 599),
    body=hostile.scrambled(hostile.mutated(STATUS)),
    retry_after=st.one_of(st.sampled_from(RETRY_AFTER), st.text(max_size=30)),
)
def test_any_refusal_is_one_declared_error(code: int, body: bytes, retry_after: str) -> None:
    error = error_of("get /x", code, {"Retry-After": retry_after}, body, NOW)
    assert isinstance(error, ApiError)
    assert error.status == code
    assert error.message.isprintable()
    assert len(error.message) <= MESSAGE_LIMIT + 40
    assert error.retry_after_s is None or error.retry_after_s >= 0
    assert all(isinstance(cause, str) for cause in error.causes)


@pytest.mark.parametrize("retry_after", RETRY_AFTER)
def test_no_retry_after_is_too_strange(retry_after: str) -> None:
    waits_s = error_of("get /x", 429, {"Retry-After": retry_after}, b"", NOW).retry_after_s
    assert waits_s is None or waits_s >= 0


@given(hostile.scrambled(hostile.mutated(LEASE)))
@example(DEEP)
@example(b'{"metadata":{"resourceVersion":"\xff"}}')
def test_a_lease_is_read_or_invalid(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert decode_lease(body).metadata.resource_version


CONFIG: dict[str, Any] = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "t1"}}],
    "clusters": [
        {
            "name": "k",
            "cluster": {
                "server": "https://api:6443",
                "certificate-authority-data": base64.b64encode(b"no PEM").decode(),
                "tls-server-name": "api",
                "insecure-skip-tls-verify": False,
                "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {}}],
            },
        }
    ],
    "users": [{"name": "u", "user": {"token": SECRET}}],
}
USERS: list[dict[str, Any]] = [
    {"token": SECRET},
    {"username": "joe", "password": SECRET},
    {"client-certificate-data": base64.b64encode(b"x").decode(), "client-key-data": SECRET},
    {"tokenFile": "/no/such/file"},
    {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/plugin", "env": []}},
    {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET, "idp-issuer-url": "x"}}},
]


@st.composite
def kubeconfigs(draw: st.DrawFn) -> bytes:
    user = draw(st.sampled_from(USERS))
    body = draw(hostile.mutated({**CONFIG, "users": [{"name": "u", "user": user}]}))
    if draw(st.booleans()):
        with contextlib.suppress(yaml.YAMLError):
            body = yaml.safe_dump(json.loads(body)).encode("utf-8", "surrogatepass")
    return draw(hostile.scrambled(st.just(body)))


@settings(max_examples=60)
@given(kubeconfigs())
@example(DEEP)
@example(b"a: &a [*a]\ncurrent-context: *a")
def test_a_kubeconfig_is_read_or_its_error_is_one_line_without_secrets(config: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "config")
        path.write_bytes(config)

        async def load() -> None:
            access = await log_in([path], None)
            access.tls.context()
            await access.configuration.get_api_key_with_prefix("BearerToken")

        said = problem_of(lambda: run_virtual(load))
    assert SECRET not in said
    assert said.isprintable()


def problem_of(act: Callable[[], object]) -> str:
    """The text of the ConfigError that ``act`` raised; empty when it raised nothing."""
    try:
        act()
    except ConfigError as error:
        return str(error)
    return ""


@given(st.one_of(st.text(max_size=40), st.sampled_from(hostile.TEXTS)))
@example(f"{SECRET}\r\nX-Injected: 1")
@example(f"Bearer {SECRET}\x00")
def test_a_token_fits_a_header_or_is_refused_unsaid(token: str) -> None:
    said = problem_of(lambda: check_authorization(token))
    assert SECRET not in said
    if not said:
        value = check_authorization(token)
        assert value.isascii()
        assert value.isprintable()


GRANT: dict[str, Any] = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {
        "token": SECRET,
        "clientCertificateData": "x",
        "clientKeyData": SECRET,
        "expirationTimestamp": "2025-01-01T00:00:00Z",
    },
}


@given(hostile.scrambled(hostile.mutated(GRANT)))
@example(DEEP)
def test_what_a_plugin_prints_is_read_or_refused_unsaid(output: bytes) -> None:
    said = problem_of(lambda: granted_by(output, "plugin"))
    assert SECRET not in said
    assert "\n" not in said


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_certificates_are_used_or_refused_unsaid(ca: bytes, certificate: bytes, key: bytes) -> None:
    said = problem_of(lambda: Tls(ca=ca, certificate=certificate, key=key + SECRET.encode()).context())
    assert SECRET not in said


@given(st.text(max_size=40), st.text(max_size=30))
@example("::::", "[::1]:99999,[,/,1.2.3.4/99,fe80::1%eth0")
@example("fe80::1%eth0", "fe80::/10")
def test_proxy_rules_are_only_rules(host: str, rules: str) -> None:
    assert goes_direct(host, 443, rules) in (True, False)
    environment = {"HTTPS_PROXY": f"http://joe:{SECRET}@{host}", "NO_PROXY": rules}
    said = ""
    try:
        choose_proxy("https://api:6443", None, environment)
    except ValueError as error:
        said = str(error)
    assert SECRET not in said
