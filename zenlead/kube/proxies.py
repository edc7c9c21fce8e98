"""Which proxy, if any, stands between here and the API server; decided once, when a client is built.

Knows HTTPS_PROXY, HTTP_PROXY and NO_PROXY as kubectl reads them: exact hosts, suffixes, addresses, CIDR
ranges, ports, ``*``. Refuses to know connections. The rule: no name is resolved here, so a CIDR range matches
a server that the configuration names by address.
Source: kubectl's own rules (Go, golang.org/x/net/http/httpproxy).
"""

from __future__ import annotations

import base64
import ipaddress
import re
import urllib.parse
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORTS = {"http": 80, "https": 443}


class Proxy(msgspec.Struct, frozen=True):
    """A proxy without its password: ``authorization`` is apart so that ``url`` can be printed."""

    url: str
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.url}{', with a password' if self.authorization else ''})"


def choose_proxy(server: str, explicit: str | None, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for ``server`` (a URL): the kubeconfig's proxy-url, else what the environment says.

    ValueError, with a text that holds no password, when the value cannot be used.
    """
    if explicit:
        return _parse(explicit, "proxy-url")
    url = urllib.parse.urlsplit(server)
    name = f"{url.scheme}_proxy"
    value = environment.get(name.upper()) or environment.get(name)
    if not value:
        return None
    rules = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    port = url.port or DEFAULT_PORTS.get(url.scheme, 0)
    if goes_direct((url.hostname or "").rstrip("."), port, rules):
        return None
    return _parse(value, name.upper())


def goes_direct(host: str, port: int, rules: str) -> bool:
    """Whether ``host`` is reached without a proxy, by NO_PROXY's ``rules`` or because it is this machine."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(rule, host.lower(), address, port) for rule in re.split(r"[,\s]+", rules) if rule)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _matches(rule: str, host: str, address: Address | None, port: int) -> bool:
    if rule == "*":
        return True
    rule = rule.lower()
    if "/" in rule:
        return address is not None and _in_network(address, rule)
    rule, rule_port = _split_port(rule)
    if rule_port and rule_port != port:
        return False
    wanted = _address(rule)
    if wanted is not None or address is not None:
        return wanted == address
    if rule.startswith("*."):
        rule = rule[1:]
    if rule.startswith("."):
        return host.endswith(rule)
    return host == rule or host.endswith(f".{rule}")


def _in_network(address: Address, rule: str) -> bool:
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _split_port(rule: str) -> tuple[str, int]:
    """``host:6443`` and ``[fd00::1]:6443`` have a port; ``fd00::1`` is an address."""
    host, colon, port = rule.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return rule, 0


def _parse(value: str, where: str) -> Proxy:
    """The proxy that ``value`` names; ``where`` is what the error text calls it."""
    try:
        url = urllib.parse.urlsplit(value if "://" in value else f"http://{value}")
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"{where} is no URL; write http://host:port") from None
    if not host:
        raise ValueError(f"{where} names no host; write http://host:port")
    if url.scheme != "http":
        raise ValueError(f"{where}: proxies are spoken to by http://, not by {url.scheme}://")
    authorization = ""
    if url.username is not None:
        pair = f"{urllib.parse.unquote(url.username)}:{urllib.parse.unquote(url.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    shown = f"[{host}]" if ":" in host else host
    return Proxy(f"http://{shown}:{port or DEFAULT_PORTS['http']}", authorization)
