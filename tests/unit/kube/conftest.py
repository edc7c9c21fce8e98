"""A certificate authority, made once per session: keys take the longest of all that these tests do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.kube.fakeserver import Pki

if TYPE_CHECKING:
    import pathlib


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def pki_ca(pki: Pki) -> str:
    return pki.ca.read_text()


@pytest.fixture
def quiet_environment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without a kubeconfig, outside of any pod and behind no proxy."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
