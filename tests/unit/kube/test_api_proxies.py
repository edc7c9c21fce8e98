"""NO_PROXY and the proxy variables, as kubectl reads them."""

from __future__ import annotations

import base64

import pytest

from zenlead.kube.proxies import Proxy, choose_proxy, goes_direct

PROXY = Proxy("http://proxy.corp:3128")


@pytest.mark.parametrize(
    ("host", "rules", "direct"),
    [
        ("api.corp", "", False),
        ("api.corp", "api.corp", True),
        ("API.corp", "api.CORP", True),
        ("api.corp", "other.corp, api.corp", True),
        ("api.corp", "other.corp api.corp", True),
        ("api.corp", "corp", True),
        ("api.corp", ".corp", True),
        ("api.corp", "*.corp", True),
        ("corp", ".corp", False),
        ("corp", "*.corp", False),
        ("api.mycorp", "corp", False),
        ("api.corp", "api.corp:6443", True),
        ("api.corp", "api.corp:443", False),
        ("api.corp", "*", True),
        ("api.corp", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:6443", True),
        ("10.1.2.3", "10.1.2.3:443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.0/30", True),
        ("10.1.2.4", "10.1.2.0/30", False),
        ("10.1.2.3", "10.1.2.99/24", True),
        ("10.1.2.3", "3", False),
        ("10.1.2.3", "not/a/range", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "fd00:0::1", True),
        ("fd00::1", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:6443", True),
        ("fd00::1", "[fd00::1]:443", False),
        ("fd00::1", "10.0.0.0/8", False),
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("localhost", "", True),
    ],
)
def test_no_proxy(host: str, rules: str, direct: bool) -> None:
    assert goes_direct(host, 6443, rules) is direct


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        ("https://api.corp:6443", {}, None),
        ("https://api.corp:6443", {"HTTPS_PROXY": "http://proxy.corp:3128"}, PROXY),
        ("https://api.corp:6443", {"https_proxy": "http://proxy.corp:3128"}, PROXY),
        ("https://api.corp:6443", {"HTTPS_PROXY": "proxy.corp:3128"}, PROXY),
        ("https://api.corp:6443", {"HTTP_PROXY": "http://proxy.corp:3128"}, None),
        ("http://api.corp:6443", {"HTTP_PROXY": "http://proxy.corp:3128"}, PROXY),
        ("https://api.corp:6443", {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": "api.corp"}, None),
        ("https://api.corp:6443", {"HTTPS_PROXY": "http://proxy.corp:3128", "no_proxy": ".corp"}, None),
        ("https://10.9.8.7", {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": "fd00::/8"}, None),
        ("https://10.9.8.7", {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": "192.168.0.0/16"}, PROXY),
        ("https://api.corp", {"HTTPS_PROXY": "http://[fd00::9]:3128"}, Proxy("http://[fd00::9]:3128")),
        ("https://api.corp", {"HTTPS_PROXY": "http://proxy.corp"}, Proxy("http://proxy.corp:80")),
    ],
)
def test_the_proxy_of_the_environment(server: str, environment: dict[str, str], proxy: Proxy | None) -> None:
    assert choose_proxy(server, None, environment) == proxy


def test_an_explicit_proxy_wins_over_no_proxy() -> None:
    assert choose_proxy("https://api.corp", "http://proxy.corp:3128", {"NO_PROXY": "*"}) == PROXY


def test_a_password_is_kept_out_of_sight() -> None:
    proxy = choose_proxy("https://api.corp", "http://joe:p%40ss@proxy.corp:3128", {})
    assert proxy is not None
    assert proxy.url == PROXY.url
    assert proxy.authorization == f"Basic {base64.b64encode(b'joe:p@ss').decode()}"
    assert proxy.authorization not in repr(proxy)


@pytest.mark.parametrize(
    "value", ["socks5://joe:secret@p:1080", "https://joe:secret@p", "http://", "http://joe:secret@p:x"]
)
def test_what_cannot_be_used_is_said_without_the_password(value: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as caught:
        choose_proxy("https://api.corp", None, {"HTTPS_PROXY": value})
    assert "secret" not in str(caught.value)
