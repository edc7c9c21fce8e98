"""Runs kubectl against the sandbox, in the loop that serves it.

Which kubectl: ``$ZENLEAD_KUBECTL``, else the one on PATH, else the one that ``make test`` builds. Where there
is none of them, the tests fail and say so; they are never skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cluster import build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TIMEOUT_S = 60.0  # kubectl takes 0.1 s; a machine that builds something else meanwhile takes longer


def program() -> str:
    """The path of kubectl; fails the test when there is none."""
    found = os.environ.get("ZENLEAD_KUBECTL") or shutil.which("kubectl")
    if found:
        return found
    if build.missing(["kubectl"]):
        pytest.fail(
            "no kubectl: install one, set ZENLEAD_KUBECTL, or run `make build-controlplane`", pytrace=False
        )
    return str(build.binary("kubectl"))


class Failed(Exception):
    """kubectl ended with an error; the message is what it said."""


class Kubectl:
    """One kubectl with one kubeconfig and a cache of its own."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        self._command = (program(), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}")

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it prints. Failed when it exits with an error."""
        async with self.running(*arguments, stdin=stdin) as process:
            out, told = await asyncio.wait_for(process.communicate(stdin.encode() or None), TIMEOUT_S)
        if process.returncode:
            raise Failed(told.decode())
        # Warnings mean that the sandbox is not what kubectl expects.
        assert not told.strip(), told.decode()
        return out.decode()

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str, stdin: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that may run on; it is killed at the end of the block."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            # Lets the loop close the pipes before it is closed itself.
            await asyncio.sleep(0)
