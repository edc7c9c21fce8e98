"""A real control plane on this machine: etcd, kube-apiserver and kube-controller-manager on loopback ports.

Knows how to start, ask and stop them. Refuses to know tests and zenlead. There is no kubelet and no
scheduler: pods are created with a nodeName and somebody patches their status. The rule not to break: nothing
of it outlives its ``with`` block, neither processes nor files.

The programs come from build.py. Ready after some three seconds.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.cluster import build
from tests.cluster.pki import Authority, KeyPair, new_key, private_key_pem
from tests.cluster.process import free_port, spawn, stop, tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_TIMEOUT_S = 60.0  # it takes three seconds on two idle cores, and they are not always idle
POLL_INTERVAL_S = 0.05
START_ATTEMPTS = 3  # somebody may take a port between our looking and the server's binding
PREFIX = "zenlead-controlplane-"

# The controllers of kube-controller-manager that a test can notice: slices of ordinary Services,
# ownerReferences, namespaces that go away, and workloads that make pods.
CONTROLLERS = (
    "endpointslice-controller",
    "endpoints-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "statefulset-controller",
    "deployment-controller",
    "replicaset-controller",
)


class StartError(Exception):
    """The control plane did not start; the message holds the end of the log that says why."""


class ControlPlane:
    """etcd and an API server, and the controllers asked for. Use it as a context manager.

    ``url`` and ``ca`` (PEM) lead to the API server, ``token`` is an administrator's (group system:masters),
    ``logs`` is a folder with a file for each program.
    """

    def __init__(
        self,
        *,
        controllers: Sequence[str] = CONTROLLERS,
        apiserver_args: Sequence[str] = (),
        controller_manager_args: Sequence[str] = (),
    ) -> None:
        self._controllers = controllers
        self._apiserver_args = apiserver_args
        self._controller_manager_args = controller_manager_args
        self._authority = Authority()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.token = secrets.token_hex(16)
        self.ca = self._authority.certificate
        self.url = ""
        self.port = 0
        self.folder = Path()

    def __repr__(self) -> str:
        alive = [name for name, p in self._processes.items() if p.poll() is None]
        return f"ControlPlane({self.url or 'stopped'}, alive={alive})"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    # --- start and stop

    def __enter__(self) -> Self:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        (self.folder / "owner").write_text(str(os.getpid()))
        self.logs.mkdir()
        self._write_files()
        try:
            for attempt in range(1, START_ATTEMPTS + 1):
                try:
                    self._start()
                    break
                except StartError as error:
                    self._stop_processes()
                    if attempt == START_ATTEMPTS or "address already in use" not in str(error):
                        raise
            if self._controllers:
                self.start_controller_manager()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_processes()
        self.url = ""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_processes(self) -> None:
        # Clients first; etcd and the API server hold nothing worth a polite goodbye.
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            process = self._processes.pop(name, None)
            if process is not None:
                stop(process, timeout_s=2.0 if name == "kube-controller-manager" else 0.2)

    def _write_files(self) -> None:
        serving = self._authority.serving(("localhost", "kubernetes.default.svc"), ("127.0.0.1", "::1"))
        files = {
            "ca.crt": self.ca,
            "server.crt": serving.certificate,
            "server.key": serving.key,
            "service-account.key": private_key_pem(new_key()),
            "tokens.csv": f'{self.token},admin,admin,"system:masters"\n'.encode(),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def _start(self) -> None:
        self._etcd_port, self.port = free_port(), free_port()
        self._processes["etcd"] = self._spawn("etcd", self._etcd_command())
        self.start_apiserver()

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        return spawn([str(build.binary(name)), *command], log=self.logs / f"{name}.log", cwd=self.folder)

    def start_apiserver(self) -> None:
        """Starts the API server (again, on the port that it had); returns when it is ready."""
        self._processes["kube-apiserver"] = self._spawn("kube-apiserver", self._apiserver_command())
        self.url = f"https://127.0.0.1:{self.port}"
        self._await_ready()

    def stop_apiserver(self) -> None:
        """Kills the API server; etcd keeps what it has."""
        stop(self._processes.pop("kube-apiserver"), timeout_s=0.0)

    @contextlib.contextmanager
    def etcd_stopped(self) -> Iterator[Path]:
        """Inside, the API server and etcd are stopped; gives etcd's data folder, to be copied or replaced.

        Both are ready again afterwards, on the ports that they had.
        """
        self.stop_apiserver()
        stop(self._processes.pop("etcd"), timeout_s=2.0)
        yield self.folder / "etcd"
        self._processes["etcd"] = self._spawn("etcd", self._etcd_command())
        self.start_apiserver()

    def start_controller_manager(self) -> None:
        """Starts kube-controller-manager; returns at once, it works some two seconds later."""
        config = self.kubeconfig(self.folder / "controller-manager.kubeconfig")
        command = [
            f"--kubeconfig={config}",
            f"--controllers={','.join(self._controllers)}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
            *self._controller_manager_args,
        ]
        self._processes["kube-controller-manager"] = self._spawn("kube-controller-manager", command)

    def _etcd_command(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data is worth nothing after the run
            "--log-level=warn",
        ]

    def _apiserver_command(self) -> list[str]:
        folder = self.folder
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder}",
            f"--tls-cert-file={folder / 'server.crt'}",
            f"--tls-private-key-file={folder / 'server.key'}",
            f"--client-ca-file={folder / 'ca.crt'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'service-account.key'}",
            f"--service-account-signing-key-file={folder / 'service-account.key'}",
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the default ones
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",  # a loopback address is no valid endpoint
            "--profiling=false",
            *self._apiserver_args,
        ]

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        context = ssl.create_default_context(cadata=self.ca.decode())
        while time.monotonic() < deadline:
            for name in ("etcd", "kube-apiserver"):
                if self._processes[name].poll() is not None:
                    raise StartError(f"{name} ended while starting:\n{tail(self.logs / f'{name}.log')}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context)
                with contextlib.closing(connection):
                    connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {self.token}"})
                    if connection.getresponse().status == 200:
                        return
            time.sleep(POLL_INTERVAL_S)
        raise StartError(f"the API server was not ready after {START_TIMEOUT_S:.0f} s:\n{self.log_tails()}")

    # --- for clients

    def client_certificate(self, user: str, *groups: str) -> KeyPair:
        """A certificate for any user name and groups; RBAC says what it may do (nothing, to begin with)."""
        return self._authority.client(user, groups)

    def kubeconfig(
        self,
        path: Path,
        *,
        user: str | None = None,
        groups: Sequence[str] = (),
        token: str | None = None,
        namespace: str = "default",
    ) -> Path:
        """Writes a kubeconfig: of the administrator, of ``user`` by client certificate, or for ``token``."""
        if user is not None:
            pair = self.client_certificate(user, *groups)
            credentials = {
                "client-certificate-data": base64.b64encode(pair.certificate).decode(),
                "client-key-data": base64.b64encode(pair.key).decode(),
            }
        else:
            credentials = {"token": token or self.token}
        cluster = {"server": self.url, "certificate-authority-data": base64.b64encode(self.ca).decode()}
        context = {"cluster": "test", "user": user or "admin", "namespace": namespace}
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user or "admin", "user": credentials}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def kubectl(self, *arguments: str, timeout_s: float = 30.0) -> str:
        """Runs our kubectl as the administrator; returns its output, raises CalledProcessError."""
        config = self.folder / "kubectl.kubeconfig"
        if not config.exists():
            self.kubeconfig(config)
        command = [str(build.binary("kubectl")), f"--kubeconfig={config}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)
        return done.stdout

    def pid(self, name: str) -> int:
        """The process id of a program, e.g. to freeze it."""
        return self._processes[name].pid

    def log_tails(self, lines: int = 30) -> str:
        """The ends of all logs, for a person who looks at a failure."""
        return "\n".join(f"--- {log.name}\n{tail(log, lines)}" for log in sorted(self.logs.glob("*.log")))


def _sweep() -> None:
    """Removes folders of control planes whose owner was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            owner = int((folder / "owner").read_text())
            os.kill(owner, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue  # somebody else's, or just being made
