"""The three that are compared, as processes of their own, and what the kernel says they use.

Knows command lines and /proc. Refuses to know what they do. Each is started with the limits of its client out
of the way, except zenlead, which runs with its defaults.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from benchmarks.floor import WATCHING
from tests.cluster import build
from tests.cluster.process import signal_group, spawn, stop
from tests.cluster.zenlead_process import ROOT, ZenleadProcess

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from tests.cluster.controlplane import ControlPlane

READY_TIMEOUT_S = 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(msgspec.Struct, frozen=True):
    """Memory in MB (10^6 bytes), processor time in seconds since the start of the process."""

    rss_mb: float
    peak_mb: float
    cpu_s: float


def usage(pid: int) -> Usage:
    """What a process uses now. Linux only."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    # The command in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        rss_mb=_kib(fields["VmRSS"]),
        peak_mb=_kib(fields["VmHWM"]),
        cpu_s=(int(stat[11]) + int(stat[12])) / TICKS_PER_S,
    )


def cpu_s(pid: int) -> float:
    """Processor time of all threads so far, finer than the ticks of ``usage``. Linux only."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it just ended
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def _kib(field: str) -> float:
    return int(field.split(maxsplit=1)[0]) * 1024 / 1e6


class Plane(Protocol):
    """Where zenlead can be started: a real control plane or a stored one."""

    folder: Path

    @property
    def logs(self) -> Path: ...

    def kubeconfig(self, path: Path) -> Path: ...


class Contestant:
    """One process. ``freeze`` and ``thaw`` take it out of the way of the others for a moment."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self._process.poll()}")

    def usage(self) -> Usage:
        return usage(self.pid)

    def freeze(self) -> None:
        signal_group(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        signal_group(self._process, signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        stop(self._process, timeout_s=5.0)


def start_native(plane: ControlPlane) -> Contestant:
    """kube-controller-manager with the EndpointSlice controller alone."""
    config = plane.kubeconfig(plane.folder / "native.kubeconfig")
    command = [
        str(build.binary("kube-controller-manager")),
        f"--kubeconfig={config}",
        "--controllers=endpointslice-controller",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=10000",
        "--kube-api-burst=10000",
    ]
    return Contestant("native", spawn(command, log=plane.logs / "native.log", cwd=plane.folder))


class Floor(Contestant):
    """The floor, which says when it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__("floor", process)
        self._log = log

    async def watching(self) -> None:
        """Returns once it watches; a failure before that is nobody's to react to."""
        async with asyncio.timeout(READY_TIMEOUT_S):
            while WATCHING not in self._log.read_text():
                self.check()
                await asyncio.sleep(0.05)


def start_floor(plane: ControlPlane, namespace: str) -> Floor:
    told = {
        "FLOOR_URL": plane.url,
        "FLOOR_TOKEN": plane.token,
        "FLOOR_CA": plane.ca.decode(),
        "FLOOR_NAMESPACE": namespace,
    }
    command = [sys.executable, "-m", "benchmarks.floor"]
    log = plane.logs / f"floor-{namespace}.log"
    return Floor(spawn(command, log=log, env={**os.environ, **told}, cwd=ROOT), log)


class Zenlead(ZenleadProcess):
    """``zenlead run`` with its defaults, but no election (there is nobody else).

    ``started`` and ``ready_at`` are perf_counter times: of its start and of its first 200 on /readyz.
    """

    def __init__(
        self,
        plane: Plane,
        arguments: Sequence[str] = (),
        *,
        module: str = "zenlead",
        env: Mapping[str, str] | None = None,
    ) -> None:
        config = plane.kubeconfig(plane.folder / "zenlead.kubeconfig")
        # Compiled modules are kept, as in any installation, wherever this shell wants to keep none.
        environ = {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(plane.folder / "pycache"),
            "PYTHONOPTIMIZE": "2",  # as in the image
            "POD_NAME": "zenlead-bench",
            "POD_NAMESPACE": "default",
            **(env or {}),
        }
        self.started = time.perf_counter()
        self.ready_at = 0.0
        flags = ["--leader-elect=false", *arguments]
        super().__init__(config, plane.logs / "zenlead.log", flags, environ, module=module)

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        await super().ready(timeout_s)
        self.ready_at = time.perf_counter()

    def usage(self) -> Usage:
        return usage(self.pid)

    async def wait_stopped(self) -> None:
        """Ends it as a kubelet would."""
        self.terminate()
        await self.wait()

    def check(self) -> None:
        if self.exit_code is not None:
            raise RuntimeError(f"zenlead ended with {self.exit_code}: {self.lines[-5:]}")


async def compile_modules(plane: ControlPlane) -> None:
    """One start whose only use is that the later ones find everything compiled, libraries too."""
    zenlead = Zenlead(plane)
    try:
        await zenlead.ready()
        await zenlead.wait_stopped()
    finally:
        zenlead.close()
