"""zenlead as users run it: a process of its own, seen through its ports, its log and its exit code.

Knows the command line and signals. Refuses to look inside. The rule not to break: whoever starts one closes
it; frozen or not, it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.cluster.process import free_port, signal_group, spawn, stop, tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.02
PROBE_TIMEOUT_S = 2.0

# What a run must not inherit from the shell that started the tests.
_FOREIGN = (
    "KUBECONFIG",
    "ZEN_LEAD_",
    "OTEL_",
    "POD_N",
    "WATCH_NAMESPACE",
    "LOG_LEVEL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a run has in its environment: ``more``, and nothing of the shell's that it would read."""
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(_FOREIGN)} | dict(more)


class ZenleadProcess:
    """One running ``zenlead run``. ``metrics_url`` and ``health_url`` are where it serves."""

    def __init__(
        self,
        kubeconfig: Path | None,
        log: Path,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        module: str = "zenlead",  # or one that runs it, and something beside it
    ) -> None:
        self.log = log
        metrics, health = free_port(), free_port()
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        command = [sys.executable, "-m", module, "run"]
        command += [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        command += [
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            "--log-format=json",
            *arguments,
        ]
        self._process = spawn(command, log=log, env=environment(env or {}), cwd=ROOT)

    def __repr__(self) -> str:
        code = self._process.poll()
        return f"ZenleadProcess(pid={self.pid}, {'running' if code is None else f'exit {code}'})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    # --- what it says

    @property
    def lines(self) -> list[str]:
        """Everything it printed so far."""
        return self.log.read_text(errors="replace").splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its log lines, decoded; what is no JSON object is left out."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    async def http(
        self, url: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = PROBE_TIMEOUT_S
    ) -> tuple[int, str]:
        """Status and body of a GET; status 0 when nobody answers."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.get(url) as response,
            ):
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def metrics(self, timeout_s: float = PROBE_TIMEOUT_S) -> dict[str, float]:
        """The samples of /metrics: ``name{label="value"}``, labels by the alphabet, to its value."""
        status, text = await self.http(self.metrics_url, timeout_s=timeout_s)
        assert status == 200, f"/metrics answered {status}"
        samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {_ordered(name): float(value) for name, _, value in samples}

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when /readyz says so; AssertionError with the log when it does not in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        answer = (0, "")
        while loop.time() < deadline:
            if self.exit_code is not None:
                raise AssertionError(f"zenlead ended with {self.exit_code}:\n{tail(self.log)}")
            answer = await self.http(f"{self.health_url}/readyz")
            if answer[0] == 200:
                return
            await asyncio.sleep(POLL_INTERVAL_S)
        raise AssertionError(f"not ready within {timeout_s} s: {answer}\n{tail(self.log)}")

    # --- what is done to it

    def terminate(self) -> None:
        """SIGTERM, as a kubelet ends a pod; ``wait`` for it."""
        signal_group(self._process, signal.SIGTERM)

    def kill(self) -> None:
        signal_group(self._process, signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: it stands still, as on a node that hangs."""
        signal_group(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        signal_group(self._process, signal.SIGCONT)

    async def wait(self, timeout_s: float = 10.0) -> int:
        """Its exit code; AssertionError when it has not ended in time."""
        try:
            return await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s:\n{tail(self.log)}") from None

    def close(self) -> None:
        """Makes sure that it is gone."""
        stop(self._process, timeout_s=2.0)


def _ordered(series: str) -> str:
    name, brace, labels = series.partition("{")
    found = sorted(re.findall(r'\w+="(?:[^"\\]|\\.)*"', labels))
    return f"{name}{{{','.join(found)}}}" if brace else name
