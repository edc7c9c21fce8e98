"""What it takes to reach an API server, as a value: where it is, how to trust it, who we are.

Knows TLS contexts and the shape of a server URL. Refuses to know where credentials come from and how requests
are sent. The rule: no ``repr`` and no error text shows a token, a key or a password.
"""

from __future__ import annotations

import contextlib
import pathlib
import ssl
import tempfile
import urllib.parse
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes_asyncio.client.configuration import Configuration

    from zenlead.kube.proxies import Proxy


class ConfigError(Exception):
    """No way to the API server can be set up; one line that says what was sought and what to do."""


class Tls(msgspec.Struct, frozen=True):
    """Whom to trust and what to show, as PEM bytes. Equal values need no new connections."""

    ca: bytes = b""  # empty: the system's CA bundle
    certificate: bytes = b""
    key: bytes = b""
    verify: bool = True
    server_name: str = ""  # the name to ask for and to check, when it is not the URL's

    def context(self) -> ssl.SSLContext:
        """A client context; ConfigError when the PEM in it cannot be used."""
        try:
            context = ssl.create_default_context(cadata=self.ca.decode("ascii", "ignore") or None)
        except ssl.SSLError:
            raise ConfigError("the CA certificate is no PEM certificate that OpenSSL can read") from None
        # Python 3.13 adds this flag; certificates of older cluster CAs lack extensions that it asks for, and
        # kubectl takes them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            self._show_certificate(context)
        return context

    def _show_certificate(self, context: ssl.SSLContext) -> None:
        with _private_file(self.certificate) as certificate, _private_file(self.key) as key:
            try:
                # An encrypted key would make OpenSSL ask at the terminal; with an empty password it fails.
                context.load_cert_chain(certificate, key, password="")
            except (ssl.SSLError, ValueError):
                raise ConfigError("the client certificate and key cannot be used together") from None

    def __repr__(self) -> str:
        shown = "with a client certificate" if self.certificate else "without a client certificate"
        return f"Tls({'verified' if self.verify else 'NOT verified'}, {shown})"


class Access(msgspec.Struct, frozen=True):
    """One load of the credentials. ``configuration`` gives the Authorization value, renewed by its hook."""

    origin: str  # for people: "the service account", "kubeconfig /x, context y"
    host: str  # base URL without a slash at the end
    namespace: str
    configuration: Configuration
    tls: Tls
    proxy: Proxy | None = None
    expires_at: float | None = None  # Unix seconds, when the credentials say so
    loaded_at: float = 0.0  # Unix seconds

    def __repr__(self) -> str:
        return f"Access({self.host} by {self.origin})"


def check_server(url: str) -> str:
    """``url`` without a slash at the end; ConfigError when it is none that a client can talk to."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port_is_sane = parts.hostname, (parts.port or 1) > 0
    except ValueError:
        host, port_is_sane = None, False
        parts = urllib.parse.SplitResult("", "", "", "", "")
    if parts.username is not None:
        raise ConfigError("the server URL contains a user name; put credentials into the kubeconfig's user")
    if parts.scheme not in {"http", "https"} or not host or not port_is_sane:
        raise ConfigError(f"server {url!r} is no URL like https://host:6443")
    return url.rstrip("/")


@contextlib.contextmanager
def _private_file(content: bytes) -> Iterator[pathlib.Path]:
    """A file that only this user can read and that is gone afterwards: OpenSSL reads keys from files only."""
    with tempfile.TemporaryDirectory(prefix="zenlead-") as folder:
        path = pathlib.Path(folder, "pem")
        path.write_bytes(content)
        yield path
